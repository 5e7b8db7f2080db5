"""A marked patient goes every way through the node, faults included: who says the name?

Allowed are the DICOM files themselves, the Patient ID in audit messages, and Patient ID and
accession number in one table of the job database. Everything else that the node prints, writes or
shows about itself is searched, bytes and all.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    MammographyCADSRStorage,
    StudyRootQueryRetrieveInformationModelFind,
)

from cadnode.core.uids import derive_uid
from tests.audit_schema import checked
from tests.integration.modality import Modality, element, image
from tests.node.running import PATIENCE, Node, Target, running_node, wait_until, write_all
from tests.objects import breast_phantom, four_views, mammogram
from tests.peers import orthanc
from tests.rsyslog import rsyslog

pytestmark = [pytest.mark.node, pytest.mark.peers]

NAME, PATIENT_ID, BIRTH_DATE = "Geheime^Marke", "GEHEIM-4711", "19410203"
ACCESSION, OTHER_ID = "GEHEIM-A17", "GEHEIM-0815"
FORBIDDEN = re.compile(rb"geheim|marke|19410203|1941-02-03", re.IGNORECASE)

BROKEN_ANALYSIS = f"""
import sys
if sys.orig_argv[-1:] and "work" in sys.orig_argv:
    from cadnode.dicom.reader import DicomReader
    read = DicomReader.mammogram
    def mammogram(self, path, header):
        if header.sop_instance_uid.endswith(".999"):
            raise KeyError("{NAME} born {BIRTH_DATE}")
        return read(self, path, header)
    DicomReader.mammogram = mammogram
"""
"""A fault in the worker whose text quotes the patient, loaded when Python starts."""


ONE_AFTER_ANOTHER = """
import json, sys
import cadnode.cli
for arguments in json.loads(sys.argv[1]):
    print("$", *arguments, flush=True)
    sys.argv = ["cadnode", *arguments]
    try:
        cadnode.cli.main()
    except SystemExit:
        continue
"""
"""Commands in one process: each start of Python and its libraries takes a second."""


def marked(dataset: Dataset) -> Dataset:
    """The same image, with the marked patient wherever an image may name one."""
    dataset.PatientName, dataset.PatientID = NAME, PATIENT_ID
    dataset.PatientBirthDate = BIRTH_DATE
    dataset.AccessionNumber = ACCESSION
    dataset.OtherPatientNames = dataset.ReferringPhysicianName = NAME
    for keyword in ("PatientComments", "ImageComments", "StudyID", "StudyDescription"):
        setattr(dataset, keyword, "Geheim")
    dataset.SeriesDescription = dataset.ProtocolName = dataset.InstitutionName = "Geheim"
    return dataset


def exam(name: str) -> list[Dataset]:
    pictures = {
        view: breast_phantom(300, 240, 0.1, seed, view[0]) * 0.7
        for seed, view in enumerate(("RCC", "LCC"))
    }
    return [
        marked(dataset)
        for dataset in four_views(
            study_uid=derive_uid(name),
            pictures=pictures,
            views=[("R", "CC"), ("L", "CC")],
            spacing_mm=0.1,
        )
    ]


def faulty() -> list[Dataset]:
    """Images that fail in many ways, each in an exam of its own, and a mix-up."""
    truncated, other, broken = exam("cut short")[0], exam("mixed up"), exam("broken")[0]
    truncated.PixelData = truncated.PixelData[:1000]
    other[1].PatientID, other[1].PatientName = OTHER_ID, "Marke^Andere"
    broken.SOPInstanceUID = f"{derive_uid('broken')[:50]}.999"
    broken.file_meta.MediaStorageSOPInstanceUID = broken.SOPInstanceUID
    return [truncated, *other[:2], broken]


def odd_values(folder: Path) -> list[Path]:
    """Files in which a name stands where a number, a date or a code should be."""
    files = []
    name = NAME.encode()
    for keyword in ("ImagerPixelSpacing", "InstanceNumber", "StudyDate", "ImageLaterality"):
        dataset = marked(mammogram(study_uid=derive_uid(f"odd {keyword}")))
        (file,) = write_all([dataset], folder / keyword)
        found = dataset[keyword]
        head = struct.pack("<HH", found.tag.group, found.tag.element) + found.VR.encode()
        content = file.read_bytes()
        at = content.index(head) + 6
        (length,) = struct.unpack("<H", content[at : at + 2])
        odd = struct.pack("<H", len(name)) + name
        file.write_bytes(content[:at] + odd + content[at + 2 + length :])
        files.append(file)
    return files


@contextmanager
def talkative_archive() -> Iterator[int]:
    """An archive that refuses everything and names the patient in its comment; its port."""

    def refuse(_event: evt.Event) -> Dataset:
        answer = Dataset()
        answer.Status = 0xC000
        answer.ErrorComment = f"{NAME} {PATIENT_ID} is not known"
        return answer

    ae = AE("TALKS")
    ae.add_supported_context(MammographyCADSRStorage)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    handlers: list[Any] = [
        (evt.EVT_C_STORE, refuse),
        (evt.EVT_C_FIND, lambda event: iter([(refuse(event), None)])),
    ]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def hostile(node: Node) -> None:
    """Objects that are refused: a stranger's, half of one, a name for a UID, no data set."""
    with Modality(node.port, calling="STRANGER") as modality:
        modality.associate()
    bad = element(0x00080018, b"1.2.3") + element(0x00100010, NAME.encode())
    for data_set in (
        image("1.2.3", study=NAME),
        image("1.2.3", series=PATIENT_ID),
        bad + element(0x0020000D, NAME.encode()),
        bad[:-3],
        NAME.encode() * 40,
    ):
        with Modality(node.port, calling="MG1") as modality:
            modality.associate()
            modality.store("1.2.3", data_set)
    with Modality(node.port, calling="MG1") as modality:
        modality.associate()
        half = image("1.2.4", size=200_000)
        modality.store("1.2.4", half.replace(b"Test^Object", b"Geheim^Mark"), only=0.5)
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as connection:
        connection.sendall(NAME.encode() * 100)


def processes(root: int) -> list[int]:
    """`root` and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def without_ids(content: bytes) -> bytes:
    """Without what may stand where Patient ID and accession number may."""
    for known in (PATIENT_ID, OTHER_ID, ACCESSION):
        content = content.replace(known.encode(), b"")
    return content


def titles(root: int) -> dict[str, bytes]:
    """What any user of the machine can see of the node's processes."""
    seen = {}
    for pid in processes(root):
        for name in ("cmdline", "comm"):
            try:
                seen[f"/proc/{pid}/{name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:
                continue
        for comm in Path(f"/proc/{pid}/task").glob("*/comm"):
            try:
                seen[str(comm)] = comm.read_bytes()
            except OSError:
                continue
    return seen


def without_identifiers(file: Path, scratch: Path) -> bytes:
    """The job database as it would be without the one table that may say who the patient is."""
    with (
        closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=30)) as source,
        closing(sqlite3.connect(scratch / "copy.db", isolation_level=None)) as copy,
    ):
        source.backup(copy)
        known = set(copy.execute("SELECT patient_id, accession_number FROM exam_identifiers"))
        assert (PATIENT_ID, ACCESSION) in known
        assert known <= {(PATIENT_ID, ACCESSION), (OTHER_ID, ACCESSION), (None, None)}
        copy.execute("DELETE FROM exam_identifiers")
        copy.execute("VACUUM")
    return (scratch / "copy.db").read_bytes()


def open_to_others(folder: Path) -> list[str]:
    """Files that are not 0600, and folders and sockets that are not 0700."""
    found = []
    for path in (folder, *folder.rglob("*")):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        # A socket gets its rights when it is bound, from the process's umask.
        allowed = 0o700 if stat.S_ISDIR(mode) or stat.S_ISSOCK(mode) else 0o600
        if stat.S_IMODE(mode) != allowed:
            found.append(f"{path.relative_to(folder)}: {stat.S_IMODE(mode):o}")
    return found


def commands(node: Node, folder: Path) -> bytes:
    """The output of every command that an administrator may ask, faults and all."""
    uids = {uid for exam in node.exams() for uid in (exam["study_instance_uid"],)}
    for listed in node.exams():
        detail = node.detail(listed["id"])
        uids |= {item["sop_instance_uid"] for item in (*detail["images"], *detail["results"])}
    some_file = next((node.folder / "data" / "results").rglob("*.dcm"))
    asked = [
        ["check"],
        ["config", "show"],
        ["echo", "talks"],
        ["jobs", "list"],
        ["jobs", "list", "--json"],
        ["send", str(some_file), "--to", "talks"],
        ["fsck"],
        ["fsck", "--archive"],
        ["db", "backup", str(folder / "backup.db")],
        ["fetch", "--study", derive_uid("elsewhere"), "--from", "archive", "--modality", ""],
        ["fetch", "--accession", "A-4711", "--from", "talks"],
        ["destinations", "list"],
        ["jobs", "retry", "--code", "E602"],
        ["jobs", "cancel", "1", "--why", "a test"],
        *(["jobs", "show", str(exam["id"])] for exam in node.exams()),
        *(["explain", uid] for uid in sorted(uids)[:6]),
    ]
    config = ["--config", str(node.config)]
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_ANOTHER, json.dumps([[*a, *config] for a in asked])],
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    said = done.stdout + done.stderr
    (folder / "commands.txt").write_bytes(said)
    assert done.stdout.count(b"$ ") == len(asked)
    assert derive_uid("elsewhere") in {exam["study_instance_uid"] for exam in node.exams()}
    return said


@pytest.fixture
def _generous_umask() -> Iterator[None]:
    """What the node starts with; the modes of its files are its own business."""
    before = os.umask(0o000)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_generous_umask")
def test_nothing_but_the_objects_and_the_audit_messages_says_who_the_patient_is(
    tmp_path, monkeypatch
):
    scratch, hooks = tmp_path / "scratch", tmp_path / "hooks"
    for folder in (scratch, hooks):
        folder.mkdir()
    (hooks / "sitecustomize.py").write_text(BROKEN_ANALYSIS)
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(hooks), str(Path.cwd())]))
    monkeypatch.chdir(scratch)
    good = write_all(exam("good"), tmp_path / "good")
    elsewhere = write_all(exam("elsewhere"), tmp_path / "elsewhere")
    bad = [*write_all(faulty(), tmp_path / "bad"), *odd_values(tmp_path / "odd")]
    with (
        rsyslog(tmp_path / "syslog") as repository,
        orthanc(tmp_path, settings={"DicomAlwaysAllowGet": True}) as archive,
        talkative_archive() as talking,
        running_node(
            tmp_path / "node",
            [Target("pacs", "ORTHANC", archive.port), Target("talks", "TALKS", talking)],
            quiet_seconds=1.0,
            extra=f'[audit]\nhost = "127.0.0.1"\ntransport = "udp"\nport = {repository.port}\n'
            f'[[sources]]\nname = "archive"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\n'
            f"port = {archive.port}\n"
            f'[[sources]]\nname = "talks"\nae_title = "TALKS"\nhost = "127.0.0.1"\n'
            f"port = {talking}\n",
        ) as node,
    ):
        for file in elsewhere:
            archive.post("/instances", file.read_bytes())
        node.storescu(*good)
        node.storescu(*good, calling="STRANGER")
        for file in bad:
            node.storescu(file)
        node.kill("work")
        hostile(node)
        node.kill("receive")
        wait_until(
            lambda: any(
                event.get("detail", "").startswith("unexpected KeyError") for event in node.events()
            ),
            "the fault in the worker has been met",
            node,
        )
        wait_until(
            lambda: any(exam["status"] == "failed" for exam in node.exams()),
            "the talkative archive has refused",
            node,
        )
        seen = titles(node.process.pid)
        exposed = open_to_others(node.folder / "data")
        seen["commands"] = commands(node, tmp_path)
        database = {
            f"database {file.name}": without_ids(file.read_bytes())
            for file in (*(node.folder / "data").glob("cadnode.db*"), *tmp_path.glob("*.db*"))
        }
        copied = without_identifiers(node.folder / "data" / "cadnode.db", tmp_path)
        database["database without its table of identifiers"] = copied
        exposed += open_to_others(node.folder / "data")
        exposed += [
            f"{file.name}: {stat.S_IMODE(file.stat().st_mode):o}"
            for file in tmp_path.glob("backup.db*")
            if stat.S_IMODE(file.stat().st_mode) != 0o600
        ]
        names = "\n".join(map(str, (node.folder / "data").rglob("*")))
        audit = b"\n".join(repository.wait_for(lambda found: any(b"110104" in m for m in found)))
    seen |= database | {"log": node.log.encode(), "file names": names.encode()}
    seen |= {
        f"left behind: {file.name}": file.name.encode() + file.read_bytes()
        for file in scratch.rglob("*")
        if file.is_file()
    }
    seen["audit trail"] = without_ids(audit)

    said = {
        where: [content[max(0, m.start() - 80) : m.end() + 40] for m in FORBIDDEN.finditer(content)]
        for where, content in seen.items()
    }
    assert {where: hits[:3] for where, hits in said.items() if hits} == {}
    assert exposed == []
    for message in audit.splitlines():
        checked(message)
    assert f'ParticipantObjectID="{PATIENT_ID}"'.encode() in audit
    assert b"110126" in audit, "the stranger's association is a security alert"
    assert database, "the database was looked at"
    (image_file, *_) = (node.folder / "data" / "images").rglob("*.dcm")
    assert FORBIDDEN.search(image_file.read_bytes()), "the search finds what is there"
