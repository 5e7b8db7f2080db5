"""What exams are found by: from the data set to the table, in any character set, or not at all."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from cadnode.app import App
from cadnode.config import load_settings
from cadnode.core.identifiers import NO_IDENTIFIERS, ExamIdentifiers
from cadnode.core.search import ExamSearch
from cadnode.dimse.identifier_text import day_of, text_of
from cadnode.storage.identifiers import note_identifiers
from cadnode.store import Store
from tests.contract.exams import T0
from tests.integration.modality import FOR_PRESENTATION, Modality, element
from tests.integration.receiver import receiver
from tests.objects import mammogram, write
from tests.peers import require

JAPANESE = b"\x1b$B;3ED\x1b(B-7"


@pytest.mark.parametrize(
    ("raw", "terms", "text"),
    [
        (b"P-4711 ", b"", "P-4711"),
        (b"  P 1\x00", b"ISO_IR 100", "P 1"),
        ("Über-1".encode("latin-1"), b"ISO_IR 100", "Über-1"),
        ("Über-1".encode(), b"ISO_IR 192", "Über-1"),
        ("Щ-12".encode("iso8859_5"), b"ISO_IR 144", "Щ-12"),
        ("王-7".encode("gb18030"), b"GB18030", "王-7"),
        (JAPANESE, b"\\ISO 2022 IR 87", "山田-7"),
        (b"\x1b$)C\xb1\xe8-7", b"\\ISO 2022 IR 149", "김-7"),
        # What cannot be read in the character set that the object names is left out.
        ("Über-1".encode(), b"ISO_IR 6", ""),
        ("Über".encode("latin-1"), b"", ""),
        ("Über".encode("latin-1"), b"ISO_IR 192", ""),
        ("Über".encode("latin-1"), b"ISO_IR 4711", ""),
        (JAPANESE[:-5], b"ISO_IR 100", ""),
        (b"\x1b$B\xff\xff", b"\\ISO 2022 IR 87", ""),
        (b"\x1b[31mred", b"", ""),
        (b"two\\values", b"", ""),
        (b"a\nb", b"", ""),
        (b"a\x00b", b"", ""),
        (b"x" * 65, b"", ""),
        (b"", b"", ""),
        (b"\x00 ", b"ISO_IR 192", ""),
    ],
)
def test_a_value_is_read_in_its_character_set_or_left_out(raw: bytes, terms: bytes, text: str):
    assert text_of(raw, terms) == text


def test_a_value_is_left_out_whether_or_not_warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert text_of(b"\x1b$B\xff\xff", b"\\ISO 2022 IR 87") == ""


@pytest.mark.parametrize(
    ("raw", "day"),
    [
        (b"20260131", date(2026, 1, 31)),
        (b"2026.01.31", date(2026, 1, 31)),
        (b"20260131 ", date(2026, 1, 31)),
        (b"20261331", None),
        (b"2026013", None),
        (b"Doe^Jane", None),
        ("\uff12026013".encode(), None),
        (b"", None),
    ],
)
def test_a_day_is_a_day_or_left_out(raw: bytes, day: date | None):
    assert day_of(raw) == day


@pytest.mark.peers
@pytest.mark.parametrize(
    ("character_set", "patient", "proposed"),
    [
        ("ISO_IR 100", "Prüf-4711", "-xi"),
        ("ISO_IR 192", "試験-4711", "-xe"),
        ("ISO_IR 144", "Щ-4711", "-xd"),
    ],
)
def test_what_a_real_sender_sends_is_read_in_every_transfer_syntax(
    tmp_path: Path, character_set: str, patient: str, proposed: str
):
    dataset = mammogram()
    dataset.SpecificCharacterSet = character_set
    dataset.PatientID, dataset.AccessionNumber = patient, "A-17"
    dataset.StudyDate = "20260301"
    file = write(dataset, tmp_path / "image.dcm")
    with receiver(tmp_path) as node:
        program = [require("storescu", "dcmtk"), "-R", proposed, "-aec", "CADNODE"]
        subprocess.run(
            [*program, "127.0.0.1", str(node.port), str(file)],
            check=True,
            capture_output=True,
            timeout=60,
        )
    (incoming,) = node.objects
    assert incoming.identifiers == ExamIdentifiers(patient, "A-17", date(2026, 3, 1))
    assert "4711" not in repr(incoming)


def object_with(values: dict[int, bytes], uid: str = "1.2.3") -> bytes:
    """A small image in implicit little endian with these values too."""
    known = {0x00080016: FOR_PRESENTATION.encode(), 0x00080018: uid.encode()}
    known |= {0x0020000D: b"1.2.3.4", 0x0020000E: b"1.2.3.4.5", 0x7FE00010: b"\x12\x34" * 500}
    return b"".join(element(tag, value) for tag, value in sorted((known | values).items()))


FILLED = {0x00080020: b"20260301", 0x00080050: b"A-1", 0x00100020: b"P-1"}


@pytest.mark.parametrize(
    "odd",
    [
        {0x00080005: b"NO SUCH SET", 0x00100020: b"\xff\xfe"},
        {0x00080005: b"\\" * 500, 0x00100020: b"\xff\xfe"},
        {0x00080005: b"\\ISO 2022 IR 87", 0x00100020: b"\x1b$B\xff\xff"},
        {0x00080020: b"Doe^Jane", 0x00080050: b"\x1b" * 9},
        {0x00080050: b"x" * 100_000, 0x00100020: b"y" * 100_000},
        {0x00100020: b"a\\b", 0x00080020: b"99999999"},
        {},
    ],
)
# As in the running node: the library warns of a character set that it does not know.
@pytest.mark.filterwarnings("ignore:Unknown encoding")
def test_no_object_is_refused_for_what_it_would_be_found_by(tmp_path: Path, odd: dict[int, bytes]):
    with receiver(tmp_path) as node, Modality(node.port) as modality:
        modality.associate()
        assert modality.store("1.2.3", object_with(odd))[0] == 0x0000
    (incoming,) = node.objects
    assert incoming.identifiers == NO_IDENTIFIERS


@contextmanager
def node_that_keeps(folder: Path, identifiers: bool) -> Iterator[tuple[Store, int]]:
    """The receiver of a whole node, its job database, and its port."""
    config = folder / "cadnode.toml"
    config.write_text(
        '[node]\ndata_dir = "data"\nhost = "127.0.0.1"\nport = 0\naccept_unknown = true\n'
        f"keep_identifiers = {str(identifiers).lower()}\n[retention]\nreserve_mb = 1\n"
    )
    app = App(load_settings(config, {}))
    store = app.open_store(create=True)
    scp = app.storage_scp(store.exams, app.spool())
    scp.start()
    try:
        yield store, scp.port
    finally:
        scp.stop()
        store.close()


def send(port: int, uid: str, values: dict[int, bytes]) -> None:
    with Modality(port) as modality:
        modality.associate()
        assert modality.store(uid, object_with(values, uid))[0] == 0x0000


def database_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in (folder / "data").glob("cadnode.db*"))


def test_an_exam_is_found_by_what_its_images_said(tmp_path: Path):
    with node_that_keeps(tmp_path, identifiers=True) as (store, port):
        send(port, "1.2.3.4.1", {0x00080050: b"A-1"})
        send(port, "1.2.3.4.2", FILLED | {0x00080050: b"A-2"})
        found = store.search.find(ExamSearch(patient_id="P-1"), limit=5).exams
        assert [(one.exam.id, one.exam.images) for one in found] == [(1, 2)]
        assert found[0].identifiers == ExamIdentifiers("P-1", "A-1", date(2026, 3, 1))


def test_a_site_that_keeps_none_has_none_in_its_database(tmp_path: Path):
    with node_that_keeps(tmp_path, identifiers=False) as (store, port):
        send(port, "1.2.3.4.1", FILLED | {0x00100020: b"GEHEIM-4711"})
        assert store.search.find(ExamSearch(), limit=5).exams[0].identifiers == NO_IDENTIFIERS
    assert b"GEHEIM" not in database_bytes(tmp_path)


def test_a_site_that_keeps_none_any_more_has_none_left(tmp_path: Path):
    with node_that_keeps(tmp_path, identifiers=True) as (store, port):
        for number in range(40):
            send(port, f"1.2.3.4.{number}", FILLED | {0x00100020: b"GEHEIM-4711"})
            store.exams.cancel(number + 1, why="a test", by="anna", now=T0)
        assert store.search.identifiers(40)
    assert b"GEHEIM" in database_bytes(tmp_path)
    with node_that_keeps(tmp_path, identifiers=False) as (store, _):
        assert len(store.search.find(ExamSearch(), limit=50).exams) == 40
        assert not store.search.find(ExamSearch(patient_id="GEHEIM-4711"), limit=5).exams
        assert b"GEHEIM" not in database_bytes(tmp_path)


def test_an_error_of_the_database_does_not_tell_the_values(tmp_path: Path):
    with node_that_keeps(tmp_path, identifiers=True) as (store, _):
        with pytest.raises(IntegrityError) as caught, store.database.write() as connection:
            note_identifiers(connection, 99, T0, ExamIdentifiers("GEHEIM-4711"))
        assert "GEHEIM" not in str(caught.value)
