"""What every `Sender` must do, run on the real one against three archives, and on the fake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from cadnode.core.errors import NotFound
from cadnode.core.ports import OutgoingObject, Sender
from cadnode.core.retry import SendCause, is_success
from cadnode.dimse.archive import Archive
from cadnode.dimse.scu import Destination, DicomSender, Timeouts
from tests.contract.fake_sender import FakeSender
from tests.peers import orthanc, storescp

CAD_SR = "1.2.840.10008.5.1.4.1.1.88.50"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
NOBODY_TAKES = "1.2.826.0.1.3680043.2.1143.107.104.103.115"

QUICK = Timeouts(connect=2, association=5, answer=10, delivery=20)


@dataclass
class Way:
    """A sender with a look into what the destination holds."""

    sender: Sender
    held: Callable[[], dict[str, Dataset]]
    """By SOP Instance UID: what the destination holds."""
    take_down: Callable[[], None] = lambda: None


def _dicom(port: int, ae_title: str) -> DicomSender:
    return DicomSender(Destination("archive", ae_title, "127.0.0.1", port), "CADNODE", QUICK)


def _read_all(folder: Path) -> dict[str, Dataset]:
    found = [dcmread(path) for path in sorted(folder.iterdir()) if path.is_file()]
    return {str(dataset.SOPInstanceUID): dataset for dataset in found}


@contextmanager
def _to_the_fake(tmp_path: Path) -> Iterator[Way]:
    fake = FakeSender(refused_classes=frozenset({NOBODY_TAKES}))

    def held() -> dict[str, Dataset]:
        folder = tmp_path / "fake"
        folder.mkdir(exist_ok=True)
        for uid, content in fake.held.items():
            (folder / uid).write_bytes(content)
        return _read_all(folder)

    yield Way(fake, held, lambda: setattr(fake, "trouble", SendCause.UNREACHABLE))


@contextmanager
def _to_our_archive(tmp_path: Path) -> Iterator[Way]:
    archive = Archive(tmp_path / "archive")
    archive.start()
    try:
        yield Way(_dicom(archive.port, "ARCHIVE"), lambda: _read_all(archive.folder), archive.stop)
    finally:
        archive.stop()


@contextmanager
def _to_dcmtk(tmp_path: Path) -> Iterator[Way]:
    with storescp(tmp_path) as peer:
        yield Way(_dicom(peer.port, peer.ae_title), lambda: _read_all(peer.folder))


@contextmanager
def _to_orthanc(tmp_path: Path) -> Iterator[Way]:
    with orthanc(tmp_path, settings={"UnknownSopClassAccepted": False}) as peer:

        def held() -> dict[str, Dataset]:
            folder = tmp_path / "fetched"
            folder.mkdir(exist_ok=True)
            for instance in peer.get("/instances"):
                (folder / instance).write_bytes(peer.get_bytes(f"/instances/{instance}/file"))
            return _read_all(folder)

        yield Way(_dicom(peer.port, peer.ae_title), held)


WAYS = {
    "fake": _to_the_fake,
    "our archive": _to_our_archive,
    "dcmtk storescp": _to_dcmtk,
    "orthanc": _to_orthanc,
}


@pytest.fixture(
    scope="module",
    params=[
        "fake",
        "our archive",
        pytest.param("dcmtk storescp", marks=pytest.mark.peers),
        pytest.param("orthanc", marks=pytest.mark.peers),
    ],
)
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    with WAYS[request.param](tmp_path_factory.mktemp("way")) as way:
        yield way


def report(folder: Path, sop_class_uid: str = CAD_SR) -> OutgoingObject:
    """A small structured report as a file."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class_uid, generate_uid(None)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(None), generate_uid(None)
    dataset.PatientName, dataset.PatientID = "Test^Öbject", "TEST-0001"
    dataset.Modality, dataset.SeriesDescription = "SR", "odd"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return OutgoingObject(sop_class_uid, str(dataset.SOPInstanceUID), path)


def test_there_is_one_outcome_per_object_in_order(way: Way, tmp_path: Path) -> None:
    objects = [report(tmp_path), report(tmp_path, COMPREHENSIVE_SR), report(tmp_path)]

    outcomes = way.sender.send(objects)

    assert [outcome.sop_instance_uid for outcome in outcomes] == [
        item.sop_instance_uid for item in objects
    ]
    assert {outcome.cause for outcome in outcomes} == {SendCause.ANSWERED}
    assert {outcome.status for outcome in outcomes} == {0x0000}


def test_what_arrives_is_what_was_sent(way: Way, tmp_path: Path) -> None:
    sent = report(tmp_path)

    way.sender.send([sent])

    assert way.held()[sent.sop_instance_uid] == dcmread(sent.path)


def test_the_same_object_may_be_sent_again(way: Way, tmp_path: Path) -> None:
    sent = report(tmp_path)

    outcomes = [way.sender.send([sent])[0] for _ in range(2)]

    assert all(outcome.status is not None and is_success(outcome.status) for outcome in outcomes)
    assert sent.sop_instance_uid in way.held()


def test_nothing_to_send_gives_no_outcome(way: Way) -> None:
    assert list(way.sender.send([])) == []


def test_a_class_that_is_not_taken_stops_only_its_own_objects(way: Way, tmp_path: Path) -> None:
    objects = [report(tmp_path), report(tmp_path, NOBODY_TAKES), report(tmp_path)]

    outcomes = way.sender.send(objects)

    assert [outcome.cause for outcome in outcomes] == [
        SendCause.ANSWERED,
        SendCause.CONTEXT_REJECTED,
        SendCause.ANSWERED,
    ]
    assert objects[2].sop_instance_uid in way.held()


def test_the_check_tells_which_classes_are_taken(way: Way) -> None:
    check = way.sender.check([CAD_SR, NOBODY_TAKES])

    assert check.reachable
    assert dict(check.accepted) == {CAD_SR: True, NOBODY_TAKES: False}


def test_a_stored_file_that_is_gone_is_our_own_trouble(way: Way, tmp_path: Path) -> None:
    gone = report(tmp_path)
    gone.path.unlink()

    with pytest.raises(NotFound):
        way.sender.send([gone])


@pytest.mark.parametrize("name", ["fake", "our archive"])
def test_a_destination_that_is_down_is_an_outcome_not_an_error(name: str, tmp_path: Path) -> None:
    with WAYS[name](tmp_path) as way:
        way.take_down()

        outcomes = way.sender.send([report(tmp_path), report(tmp_path)])
        check = way.sender.check([CAD_SR])

    assert [outcome.cause for outcome in outcomes] == [SendCause.UNREACHABLE] * 2
    assert not check.reachable
    assert not check.accepted[CAD_SR]
