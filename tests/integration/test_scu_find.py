"""C-FIND against three archives, and the small archive as a peer of DCMTK."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from cadnode.core.errors import Refused, Unreachable
from cadnode.core.ports import OutgoingObject
from cadnode.dimse.archive import Archive
from cadnode.dimse.find import FoundInstance, find_instances
from cadnode.dimse.scu import Destination, DicomSender, Timeouts
from tests import objects
from tests.integration.fake_pacs import Behaviour, FakePacs, OnRequest
from tests.peers import free_port, orthanc, require, running

SHORT = Timeouts(connect=0.5, association=0.5, answer=0.5, delivery=2)
QUICK = Timeouts(connect=2, association=5, answer=10, delivery=20)


@contextmanager
def _our_archive(tmp_path: Path) -> Iterator[Destination]:
    archive = Archive(tmp_path / "archive")
    archive.start()
    try:
        yield Destination("ours", "ARCHIVE", "127.0.0.1", archive.port)
    finally:
        archive.stop()


@contextmanager
def _dcmqrscp(tmp_path: Path) -> Iterator[Destination]:
    program, port = require("dcmqrscp", "dcmtk"), free_port()
    (tmp_path / "db").mkdir()
    configuration = tmp_path / "dcmqrscp.cfg"
    configuration.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        "HostTable BEGIN\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQR {tmp_path / 'db'} RW (50, 100mb) ANY\nAETable END\n"
    )
    with running([program, "-c", configuration], port, tmp_path / "dcmqrscp.log"):
        yield Destination("dcmtk", "QR", "127.0.0.1", port)


@contextmanager
def _orthanc(tmp_path: Path) -> Iterator[Destination]:
    with orthanc(tmp_path) as peer:
        yield Destination("orthanc", peer.ae_title, "127.0.0.1", peer.port)


ARCHIVES = {"ours": _our_archive, "dcmqrscp": _dcmqrscp, "orthanc": _orthanc}


def archive(name: str, tmp_path: Path) -> AbstractContextManager[Destination]:
    return ARCHIVES[name](tmp_path)


@pytest.mark.peers
@pytest.mark.parametrize("name", list(ARCHIVES))
def test_a_study_is_found_with_every_object_and_no_other(name: str, tmp_path: Path) -> None:
    study = generate_uid(None)
    images = [
        objects.mammogram(study_uid=study, laterality=side, series_uid=generate_uid(None))
        for side in "RL"
    ]
    other = objects.mammogram(study_uid=generate_uid(None))
    files = [
        objects.write(dataset, tmp_path / f"{number}.dcm")
        for number, dataset in enumerate([*images, other])
    ]
    outgoing = [
        OutgoingObject(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), path)
        for dataset, path in zip([*images, other], files, strict=True)
    ]
    with archive(name, tmp_path) as destination:
        outcomes = DicomSender(destination, "CADNODE", QUICK).send(outgoing)
        found = find_instances(destination, "CADNODE", study, QUICK)
        nothing = find_instances(destination, "CADNODE", generate_uid(None), QUICK)

    assert {outcome.status for outcome in outcomes} == {0x0000}
    assert nothing == []
    expected = {(str(image.SOPInstanceUID), str(image.SeriesInstanceUID), "MG") for image in images}
    assert {
        (one.sop_instance_uid, one.series_instance_uid, one.modality) for one in found
    } == expected
    assert {one.sop_class_uid for one in found} <= {None, str(images[0].SOPClassUID)}


def test_an_archive_that_is_not_there_is_unreachable() -> None:
    nobody = Destination("nobody", "QR", "127.0.0.1", free_port())

    with pytest.raises(Unreachable):
        find_instances(nobody, "CADNODE", "1.2.3", SHORT)


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(on_request=OnRequest.SAY_NOTHING),
        Behaviour(reject=(1, 1, 7)),
        Behaviour(refused=("1.2.840.10008.5.1.4.1.2.2.1",)),
    ],
    ids=["silent", "rejected", "no C-FIND"],
)
def test_an_archive_that_does_not_answer_raises_ours(behaviour: Behaviour) -> None:
    with FakePacs(behaviour) as pacs, pytest.raises((Unreachable, Refused)):
        find_instances(Destination("x", "QR", "127.0.0.1", pacs.port), "CADNODE", "1.2.3", SHORT)


def test_the_archive_knows_after_a_restart_what_it_held(tmp_path: Path) -> None:
    image = objects.mammogram()
    objects.write(image, tmp_path / "archive" / f"{image.SOPInstanceUID}.dcm")
    with _our_archive(tmp_path) as destination:
        found = find_instances(destination, "CADNODE", str(image.StudyInstanceUID), QUICK)

    assert found == [
        FoundInstance(
            str(image.SOPInstanceUID), str(image.SeriesInstanceUID), "MG", str(image.SOPClassUID)
        )
    ]


@pytest.mark.peers
def test_findscu_and_storescu_get_on_with_the_archive(tmp_path: Path) -> None:
    image = objects.mammogram()
    path = objects.write(image, tmp_path / "image.dcm")
    store, find = require("storescu", "dcmtk"), require("findscu", "dcmtk")
    with _our_archive(tmp_path) as destination:
        there = ["-aec", "ARCHIVE", "127.0.0.1", str(destination.port)]
        stored = subprocess.run([store, *there, path], check=False, timeout=20)
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "-k", "Modality=MG"]
        found = subprocess.run(
            [find, "-S", *keys, *there], check=False, timeout=20, capture_output=True, text=True
        )

    assert stored.returncode == found.returncode == 0
    assert str(image.StudyInstanceUID) in found.stdout + found.stderr
    kept = dcmread(tmp_path / "archive" / f"{image.SOPInstanceUID}.dcm")
    assert kept.PixelData == image.PixelData
