"""`cadnode fetch` from real archives, by C-GET and by C-MOVE."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, JPEGLosslessSV1, generate_uid
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import P_DATA

from cadnode.checks import run_checks
from cadnode.cli import main
from cadnode.core.audit import InstancesTransferred, Queried
from cadnode.dimse import transport
from cadnode.dimse.find import StudyQuery
from cadnode.dimse.scu import Destination
from cadnode.dimse.tls import ClientTls
from cadnode.fetching import Fetcher
from tests.certificates import SiteCa
from tests.integration import archives, pdus
from tests.integration.archives import ARCHIVES, fill
from tests.integration.fake_archive import CANCEL, UNABLE, FakeArchive
from tests.integration.fetching_node import (
    OTHER_STUDY,
    STUDY,
    Site,
    beside,
    exam,
    site,
)
from tests.integration.modality import Modality
from tests.integration.test_audit_watch import Recorder
from tests.objects import four_views, mammogram, secondary_capture
from tests.peers import free_port, orthanc


@pytest.fixture(params=[(name, how) for name in ARCHIVES for how in ("get", "move")], ids=str)
def at_archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A node beside a real archive."""
    name, retrieve = request.param
    port = free_port()
    with (
        ARCHIVES[name](tmp_path / "archive", port) as archive,
        site(tmp_path, archive, port, retrieve) as found,
    ):
        found.name = name, retrieve
        yield found


@pytest.mark.peers
def test_an_exam_is_fetched_once_and_without_what_is_no_mammogram(
    at_archive: Site, tmp_path: Path
) -> None:
    exam = four_views(study_uid=STUDY, series_uid=generate_uid(None))
    if at_archive.name != ("dcmqrscp", "move"):
        # By C-MOVE dcmqrscp sends in one syntax, whatever it holds.
        exam[0] = mammogram(study_uid=STUDY, transfer_syntax_uid=JPEGLosslessSV1)
    printed = secondary_capture(study_uid=STUDY, modality="OT")
    other = mammogram(study_uid=OTHER_STUDY)
    fill(at_archive.archive, [*exam, printed, other], tmp_path / "files")

    listed = at_archive.fetched("--study", STUDY, "--dry-run")
    assert at_archive.kept() == {}
    first = at_archive.fetched("--study", STUDY)
    second = at_archive.fetched("--study", STUDY)
    again = at_archive.fetched("--study", STUDY, "--again")

    assert set(listed["studies"][0]["wanted"]) == {str(image.SOPInstanceUID) for image in exam}
    assert [s["studies"][0]["fetched"] for s in (first, second, again)] == [4, 0, 4]
    kept = at_archive.kept()
    assert set(kept) == {str(image.SOPInstanceUID) for image in exam}
    for image in exam:
        stored = dcmread(kept[str(image.SOPInstanceUID)])
        assert (stored.pixel_array == image.pixel_array).all()
    assert at_archive.events().count("4 images were fetched from archive.") == 1


@pytest.mark.peers
@pytest.mark.parametrize(("name", "status"), [("orthanc", 0xC000), ("dcmqrscp", 0xA801)])
def test_a_real_archive_that_does_not_know_us_is_told_what_to_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, status: int
) -> None:
    monkeypatch.setattr(archives, "OWN_AE_TITLE", "OTHER")
    port = free_port()
    with ARCHIVES[name](tmp_path / "archive", port) as archive:
        fill(archive, exam(1), tmp_path / "files")
        with site(tmp_path, archive, port, "move") as node:
            (trouble,) = node.fetched("--study", STUDY, status=3)["problems"]

    assert f"0x{status:04X}" in trouble
    assert f"AE title CADNODE, host 127.0.0.1, port {port}" in trouble


@pytest.mark.peers
def test_an_exam_is_fetched_over_tls(tmp_path: Path) -> None:
    ca = SiteCa(tmp_path / "ca")
    ours, theirs = ca.issue("node"), ca.issue("orthanc")
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(theirs.certificate),
        "DicomTlsPrivateKey": str(theirs.key),
        "DicomTlsTrustedCertificates": str(theirs.ca),
        "DicomAlwaysAllowGet": True,
    }
    image = mammogram(study_uid=STUDY)
    with orthanc(tmp_path, settings=settings) as peer:
        way = ClientTls(ours, "localhost")
        archive = Destination("archive", peer.ae_title, "127.0.0.1", peer.port, way)
        fill(archive, [image], tmp_path / "files")
        more = (
            'tls = true\ncertificate_host = "localhost"\n'
            f'[tls]\ncertificate = "{ours.certificate}"\nkey = "{ours.key}"\nca = "{ours.ca}"\n'
        )
        with site(tmp_path, archive, free_port(), "get", more) as node:
            node.fetched("--study", STUDY)

            assert list(node.kept()) == [str(image.SOPInstanceUID)]


@pytest.mark.peers
def test_a_large_image_is_not_held_in_memory(tmp_path: Path) -> None:
    large = mammogram(study_uid=STUDY)
    large.Rows = large.Columns = 4000
    large.PixelData = bytes(2 * 4000 * 4000)
    port = free_port()
    with ARCHIVES["dcmqrscp"](tmp_path / "archive", port) as archive:
        fill(archive, [large], tmp_path / "files")
        with site(tmp_path, archive, port, "get") as node:
            tracemalloc.start()
            try:
                node.fetched("--study", STUDY)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()

            (kept,) = node.kept().values()
            assert kept.stat().st_size > 32_000_000
            assert peak < 16 << 20


@pytest.mark.parametrize(
    ("retrieve", "status", "says"),
    [
        ("get", UNABLE, "0xA702: out of resources"),
        ("get", CANCEL, "0xFE00: it cancelled"),
        ("move", UNABLE, "0xA702: out of resources"),
        ("move", CANCEL, "0xFE00: it cancelled"),
        ("move", 0xC123, "0xC123"),
    ],
)
def test_what_came_before_a_failure_is_kept_and_the_rest_is_named(
    tmp_path: Path, retrieve: str, status: int, says: str
) -> None:
    images = exam()
    archive = FakeArchive(images, before_image=lambda _event, number: status if number else None)
    with beside(tmp_path, archive, retrieve) as found:
        (study,) = found.site.fetched("--study", STUDY, status=3)["studies"]

        assert study["fetched"] == 1
        assert set(study["failed"]) == {str(image.SOPInstanceUID) for image in images[1:]}
        assert all(says in reason for reason in study["failed"].values())
        assert set(found.site.kept()) == {str(images[0].SOPInstanceUID)}


def test_an_exam_that_was_fetched_is_one_audit_message(tmp_path: Path) -> None:
    with beside(tmp_path, FakeArchive(exam(3))) as found:
        app, trail = found.site.app, Recorder()
        app.audit = trail
        source = app.settings.source("archive")
        fetcher = Fetcher(app, source, found.site.store, app.spool(), threading.Event())
        (study,) = fetcher.find(StudyQuery(study_instance_uid=STUDY), 10)
        fetcher.fetch(fetcher.plan(study, "MG"), lambda _done, _failed: None)

    queried, transferred = trail.events
    assert isinstance(queried, Queried)
    assert isinstance(transferred, InstancesTransferred)
    assert len(transferred.instances) == 3


def test_what_failed_is_all_that_the_next_fetch_asks_for(tmp_path: Path) -> None:
    archive = FakeArchive(exam(), before_image=lambda _event, number: CANCEL if number else None)
    with beside(tmp_path, archive) as found:
        found.site.fetched("--study", STUDY, status=3)
        archive.before_image = lambda _event, _number: None
        (study,) = found.site.fetched("--study", STUDY)["studies"]

        assert study["fetched"] == 2
        levels = [identifier.QueryRetrieveLevel for identifier in archive.asked]
        assert (levels[0], levels[-1]) == ("SERIES", "IMAGE")
        assert len(archive.asked[-1].SOPInstanceUID) == 2
        assert len(found.site.kept()) == 3


@pytest.mark.parametrize("retrieve", ["get", "move"])
def test_an_image_that_is_here_and_fails_when_it_is_fetched_again_has_failed(
    tmp_path: Path, retrieve: str
) -> None:
    archive = FakeArchive(exam())
    with beside(tmp_path, archive, retrieve) as found:
        found.site.fetched("--study", STUDY)
        archive.before_image = lambda _event, _number: UNABLE
        (study,) = found.site.fetched("--study", STUDY, "--again", status=3)["studies"]

        assert study["fetched"] == 0
        assert len(study["failed"]) == 3


@pytest.mark.parametrize("retrieve", ["get", "move"])
def test_an_archive_that_hangs_in_mid_retrieve_is_left_at_the_deadline(
    tmp_path: Path, retrieve: str
) -> None:
    archive = FakeArchive(exam())
    archive.before_image = archive.hang
    with beside(tmp_path, archive, retrieve, "deadline_seconds = 1.5\n") as found:
        begun = time.monotonic()
        reasons = found.reasons()

        assert time.monotonic() - begun < 8
        assert len(reasons) == 1
        assert len(found.site.kept()) == 1


def test_an_archive_that_breaks_off_leaves_what_is_kept(tmp_path: Path) -> None:
    def abort(event: Event, number: int) -> None:
        if number == 1:
            event.assoc.abort()

    with beside(tmp_path, FakeArchive(exam(), before_image=abort)) as found:
        assert found.reasons() == {"C-GET: the peer ended the association"}
        assert len(found.site.kept()) == 1
        assert list((tmp_path / "data/incoming/fetch").iterdir()) == []


@pytest.mark.parametrize("retrieve", ["get", "move"])
def test_an_archive_that_breaks_the_rules_is_left_at_once(tmp_path: Path, retrieve: str) -> None:
    def babble(event: Event, number: int) -> int | None:
        if number == 0:
            return None
        message = P_DATA()
        message.presentation_data_value_list.append((97, b"\x03no command set"))
        event.assoc.dul.send_pdu(message)
        # Else C-MOVE goes on, and all of it may have come before we look.
        return UNABLE

    with beside(tmp_path, FakeArchive(exam(), before_image=babble), retrieve) as found:
        begun = time.monotonic()
        (reason,) = found.reasons()

        assert reason.startswith(f"C-{retrieve.upper()}: ")
        assert time.monotonic() - begun < 10


def test_an_archive_that_does_not_know_us_is_told_what_to_set_up(tmp_path: Path) -> None:
    with beside(tmp_path, FakeArchive(exam(), knows_us=False), "move") as found:
        (reason,) = found.reasons()

        port = found.archive.our_port
        assert "0xA801" in reason
        assert f"AE title CADNODE, host 127.0.0.1, port {port}" in reason


def test_an_archive_that_says_success_without_sending_is_not_believed(tmp_path: Path) -> None:
    with beside(tmp_path, FakeArchive(exam(), sends_nothing=True)) as found:
        assert found.reasons() == {"archive says that all was sent, but it did not come"}


def test_an_image_of_another_study_is_refused(tmp_path: Path) -> None:
    stranger = mammogram(study_uid=OTHER_STUDY, rows=16, columns=16)
    with beside(tmp_path, FakeArchive(exam(), also_sends=[stranger])) as found:
        found.site.fetch("--study", STUDY)

        assert str(stranger.SOPInstanceUID) not in found.site.kept()
        assert len(found.site.kept()) == 3


def test_an_image_of_a_class_that_was_not_offered_is_not_taken(tmp_path: Path) -> None:
    stranger = mammogram(study_uid=STUDY, sop_uid="1.2.3", rows=16, columns=16)
    stranger.SOPClassUID = CTImageStorage
    stranger.file_meta.MediaStorageSOPClassUID = CTImageStorage
    with beside(tmp_path, FakeArchive(exam(), also_sends=[stranger])) as found:
        assert found.site.fetch("--study", STUDY).exit_code == 0

        assert len(found.site.kept()) == 3


def test_an_archive_without_c_get_is_said_to_need_c_move(tmp_path: Path) -> None:
    with beside(tmp_path, FakeArchive(exam(), accepts_get=False)) as found:
        assert found.reasons() == {"archive does not take C-GET"}


def test_an_archive_that_answers_no_optional_key_is_fetched_from(tmp_path: Path) -> None:
    with beside(tmp_path, FakeArchive(exam(), answers_optional_keys=False)) as found:
        (study,) = found.site.fetched("--study", STUDY)["studies"]

        assert study["fetched"] == 3


@pytest.mark.parametrize("padding", [b"\x00", b"\x00\x00", b" ", b" \x00"])
def test_uids_are_understood_however_they_are_padded(tmp_path: Path, padding: bytes) -> None:
    with beside(tmp_path, FakeArchive(exam(1), padding=padding)) as found:
        (study,) = found.site.fetched("--study", STUDY)["studies"]

        assert (study["study_instance_uid"], study["fetched"]) == (STUDY, 1)


def test_a_query_that_is_not_answered_ends_at_the_deadline(tmp_path: Path) -> None:
    archive = FakeArchive(exam())
    archive.before_find = lambda _event: 0 if archive.stopping.wait(30) else None
    with beside(tmp_path, archive, more="deadline_seconds = 1.0\n") as found:
        begun = time.monotonic()
        result = found.site.fetch("--study", STUDY)

        assert result.exit_code == 3
        assert "E601" in result.output
        assert time.monotonic() - begun < 8


def test_the_progress_is_shown_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with beside(tmp_path, FakeArchive(exam())) as found:
        result = found.site.fetch("--study", STUDY, "--json")

        assert "3 done, 0 left, 0 failed" in result.stderr
        assert json.loads(result.stdout)["studies"][0]["fetched"] == 3


def test_an_archive_that_ignores_the_keys_is_not_fetched_empty(tmp_path: Path) -> None:
    others = [mammogram(study_uid=OTHER_STUDY, rows=16, columns=16)]
    with beside(tmp_path, FakeArchive(others, matches_keys=False)) as found:
        content = found.site.fetched("--study", STUDY, status=3)
        by_date = found.site.fetched("--date", "20200101-20200131")

        assert content["studies"] == by_date["studies"] == []
        assert "holds no such exam" in content["problems"][0]


def test_too_many_matches_are_said_and_nothing_is_fetched(tmp_path: Path) -> None:
    with beside(tmp_path, FakeArchive(exam(), endless=True)) as found:
        content = found.site.fetched("--date", "today", "--limit", "50", status=3)

        assert content["studies"] == []
        assert "E205 more than 50 answers" in content["problems"][0]


def test_answers_without_end_are_not_heaped_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MOST_BYTES", 1 << 20)
    with beside(tmp_path, FakeArchive(exam(1), bulk=2 << 20)) as found:
        content = found.site.fetched("--study", STUDY, status=3)

        assert "MB of answers" in content["problems"][0]


def test_an_archive_that_refuses_the_query_is_named_with_its_answer(tmp_path: Path) -> None:
    with beside(tmp_path, FakeArchive(exam(), before_find=lambda _event: 0xA700)) as found:
        result = found.site.fetch("--study", STUDY)

        assert result.exit_code == 3
        assert "E602 C-FIND answered 0xA700" in result.stderr
        assert result.stdout == ""


def test_an_archive_that_is_down_is_named(tmp_path: Path) -> None:
    nobody = Destination("archive", "GONE", "127.0.0.1", free_port())
    with site(tmp_path, nobody, free_port(), "get") as node:
        result = node.fetch("--study", STUDY)

        assert result.exit_code == 3
        assert "E601" in result.output


def test_a_full_spool_is_answered_and_named(tmp_path: Path) -> None:
    with beside(tmp_path, FakeArchive(exam())) as found:
        text = found.site.config.read_text()
        found.site.config.write_text(text.replace("reserve_mb = 1", "reserve_mb = 1000000000"))

        (reason,) = found.reasons()
        assert "0xA700" in reason
        assert found.site.kept() == {}


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--date", "2026-01-31"),
        ("--date", "20260201-20260101"),
        ("--study", "1.2.*"),
        ("--accession", "A1", "--from", "nobody"),
    ],
)
def test_a_fetch_that_does_not_say_what_ends_with_2(
    tmp_path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = Destination("archive", "GONE", "127.0.0.1", free_port())
    with site(tmp_path, nobody, free_port(), "get") as node:
        monkeypatch.setattr("sys.argv", ["cadnode", "fetch", *arguments, "-c", str(node.config)])
        with pytest.raises(SystemExit) as ended:
            main()

        assert ended.value.code == 2


def test_the_table_says_what_was_fetched(tmp_path: Path) -> None:
    with beside(tmp_path, FakeArchive(exam())) as found:
        listed = found.site.fetch("--study", STUDY, "--dry-run").output
        fetched = found.site.fetch("--study", STUDY).output
        nothing = found.site.fetch("--date", "20200101").output

        assert "to fetch" in listed
        assert fetched.splitlines()[-1].split() == [STUDY, "20240102", "MG", "3", "0", "3", "0"]
        assert nothing == "Nothing at archive matches.\n"


def test_an_archive_that_sends_to_our_port_is_let_in_and_one_that_answers_c_get_is_not(
    tmp_path: Path,
) -> None:
    nobody = Destination("archive", "GONE", "127.0.0.1", free_port())
    for retrieve, answer in (("move", pdus.ASSOCIATE_AC), ("get", pdus.ASSOCIATE_RJ)):
        folder = tmp_path / retrieve
        folder.mkdir()
        port = free_port()
        with site(folder, nobody, port, retrieve, always_listens=True):
            with Modality(port, calling="GONE") as archive:
                assert archive.associate()[0] == answer
            with Modality(port, calling="STRANGER") as stranger:
                assert stranger.associate()[0] == pdus.ASSOCIATE_RJ


def test_the_check_says_whether_a_source_can_be_fetched_from(tmp_path: Path) -> None:
    no_model = '[model]\nfolder = "nowhere"\n'
    with beside(tmp_path, FakeArchive(exam(), accepts_get=False), more=no_model) as found:
        checks = {check.name: check for check in run_checks(found.site.app)}

    assert checks["source archive"].well is False
    assert checks["source archive"].detail == "answers, but does not take C-GET"
    assert checks["senders"].well is None
