"""The Storage SCU against an archive that misbehaves in every way we could think of."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom.dsutils import decode

from cadnode.core.ports import OutgoingObject
from cadnode.core.retry import SendCause, SendOutcome
from cadnode.dimse.scu import Destination, DicomSender, Timeouts
from cadnode.dimse.transport import AskingProvider
from tests.integration.fake_pacs import Behaviour, FakePacs, OnObject, OnRequest
from tests.peers import free_port

CAD_SR = "1.2.840.10008.5.1.4.1.1.88.50"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"

SHORT = Timeouts(connect=0.5, association=0.5, answer=0.5, delivery=2)
AT_MOST = 5.0
"""Seconds within which a delivery must have come back: its deadline, graces and a busy machine."""


def report(folder: Path, sop_class_uid: str = CAD_SR, *, size: int = 0) -> OutgoingObject:
    """A structured report; `size` bytes of private content make it as long as wanted."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class_uid, generate_uid(None)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(None), generate_uid(None)
    dataset.PatientName = "Test^Object"
    dataset.Modality = "SR"
    if size:
        block = dataset.private_block(0x0099, "TEST", create=True)
        block.add_new(0x01, "OB", bytes(size))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return OutgoingObject(sop_class_uid, str(dataset.SOPInstanceUID), path)


def deliver(
    port: int, objects: Sequence[OutgoingObject], timeouts: Timeouts = SHORT
) -> Sequence[SendOutcome]:
    """Send within the hard limit, and leave no thread behind."""
    begun = time.monotonic()
    outcomes = DicomSender(
        Destination("fake", "PACS", "127.0.0.1", port), "CADNODE", timeouts
    ).send(objects)
    assert time.monotonic() - begun < AT_MOST
    return outcomes


@contextmanager
def _full_backlog() -> Iterator[int]:
    """A port whose queue of connections is full: further ones get no answer at all."""
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield port


def causes(outcomes: Sequence[SendOutcome]) -> list[SendCause]:
    return [outcome.cause for outcome in outcomes]


def test_the_file_goes_out_byte_for_byte(tmp_path: Path) -> None:
    sent = report(tmp_path)
    with FakePacs() as pacs:
        deliver(pacs.port, [sent])

    (received,) = pacs.received
    meta = read_file_meta_info(sent.path)
    data_set = sent.path.read_bytes()[132 + 12 + meta.FileMetaInformationGroupLength :]
    assert received.data_set == data_set
    assert received.sop_instance_uid == sent.sop_instance_uid
    assert received.transfer_syntax_uid == ExplicitVRLittleEndian


def test_an_archive_that_only_knows_implicit_gets_the_same_content(tmp_path: Path) -> None:
    sent = report(tmp_path)
    with FakePacs(Behaviour(refused=(ExplicitVRLittleEndian,))) as pacs:
        outcomes = deliver(pacs.port, [sent])

    assert causes(outcomes) == [SendCause.ANSWERED]
    (received,) = pacs.received
    assert received.transfer_syntax_uid == ImplicitVRLittleEndian
    assert decode(BytesIO(received.data_set), True, True) == dcmread(sent.path)


def test_all_objects_go_over_one_association(tmp_path: Path) -> None:
    with FakePacs() as pacs:
        deliver(pacs.port, [report(tmp_path) for _ in range(4)])

        assert pacs.associations == 1
        assert len(pacs.received) == 4


def test_each_object_has_the_status_it_was_answered(tmp_path: Path) -> None:
    statuses = (0x0000, 0xA700, 0xB000, 0xC123, 0x0111)
    with FakePacs(Behaviour(statuses=statuses)) as pacs:
        outcomes = deliver(pacs.port, [report(tmp_path) for _ in statuses])

    assert causes(outcomes) == [SendCause.ANSWERED] * 5
    assert tuple(outcome.status for outcome in outcomes) == statuses


@pytest.mark.parametrize(
    ("rejection", "cause"),
    [
        ((1, 1, 7), SendCause.REJECTED_PERMANENTLY),  # called AE title not recognized
        ((1, 1, 3), SendCause.REJECTED_PERMANENTLY),  # calling AE title not recognized
        ((1, 2, 2), SendCause.REJECTED_PERMANENTLY),  # protocol version not supported
        ((2, 3, 1), SendCause.REJECTED_FOR_NOW),  # temporary congestion
        ((2, 1, 1), SendCause.REJECTED_FOR_NOW),  # transient, no reason given
        ((1, 3, 2), SendCause.REJECTED_FOR_NOW),  # a local limit passes whatever the result says
    ],
)
def test_a_rejection_is_told_apart_by_result_and_source(
    rejection: tuple[int, int, int], cause: SendCause, tmp_path: Path
) -> None:
    with FakePacs(Behaviour(reject=rejection)) as pacs:
        outcomes = deliver(pacs.port, [report(tmp_path), report(tmp_path)])

    assert causes(outcomes) == [cause] * 2
    assert outcomes[0].detail.startswith("result {}, source {}, reason {}".format(*rejection))


def test_a_rejection_that_comes_with_the_hang_up_is_still_a_rejection(tmp_path: Path) -> None:
    """Many times, because it is a race: pynetdicom takes some for connections never made."""
    sent = report(tmp_path)
    with FakePacs(Behaviour(reject=(2, 3, 1))) as pacs:
        seen = {deliver(pacs.port, [sent])[0].cause for _ in range(100)}

    assert seen == {SendCause.REJECTED_FOR_NOW}


def test_a_refused_class_leaves_the_others_alone(tmp_path: Path) -> None:
    with FakePacs(Behaviour(refused=(CAD_SR,))) as pacs:
        outcomes = deliver(pacs.port, [report(tmp_path), report(tmp_path, COMPREHENSIVE_SR)])

    assert causes(outcomes) == [SendCause.CONTEXT_REJECTED, SendCause.ANSWERED]


def test_all_classes_refused_is_a_refused_context_for_each(tmp_path: Path) -> None:
    with FakePacs(Behaviour(refused=(CAD_SR,))) as pacs:
        outcomes = deliver(pacs.port, [report(tmp_path), report(tmp_path)])

    assert causes(outcomes) == [SendCause.CONTEXT_REJECTED] * 2


def test_a_port_without_a_listener_is_unreachable(tmp_path: Path) -> None:
    assert causes(deliver(free_port(), [report(tmp_path)])) == [SendCause.UNREACHABLE]


def test_a_host_name_that_does_not_exist_is_unreachable(tmp_path: Path) -> None:
    sender = DicomSender(Destination("x", "PACS", "no-such-host.invalid", 104), "CADNODE", SHORT)

    assert causes(sender.send([report(tmp_path)])) == [SendCause.UNREACHABLE]


def test_a_full_backlog_is_unreachable_after_the_connection_time(tmp_path: Path) -> None:
    with _full_backlog() as port:
        assert causes(deliver(port, [report(tmp_path)])) == [SendCause.UNREACHABLE]


@pytest.mark.parametrize(
    ("on_request", "cause"),
    [
        (OnRequest.SAY_NOTHING, SendCause.NO_ANSWER),
        (OnRequest.HALF_AN_ACCEPT, SendCause.NO_ANSWER),
        (OnRequest.CLOSE, SendCause.ABORTED),
        (OnRequest.ABORT, SendCause.ABORTED),
    ],
)
def test_a_request_that_is_not_answered_ends_in_time(
    on_request: OnRequest, cause: SendCause, tmp_path: Path
) -> None:
    with FakePacs(Behaviour(on_request=on_request)) as pacs:
        outcomes = deliver(pacs.port, [report(tmp_path), report(tmp_path)])

    assert causes(outcomes) == [cause] * 2


@pytest.mark.parametrize(
    ("on_object", "cause"),
    [
        (OnObject.ABORT_MIDWAY, SendCause.ABORTED),
        (OnObject.CLOSE_MIDWAY, SendCause.ABORTED),
        (OnObject.NO_ANSWER, SendCause.NO_ANSWER),
        (OnObject.HALF_AN_ANSWER, SendCause.NO_ANSWER),
        (OnObject.DRIP_THE_ANSWER, SendCause.NO_ANSWER),
        (OnObject.STOP_READING, SendCause.NO_ANSWER),
    ],
)
def test_trouble_with_one_object_keeps_the_answers_before_it(
    on_object: OnObject, cause: SendCause, tmp_path: Path
) -> None:
    # Larger than what the two sockets hold, so that a peer that stops reading blocks us.
    size = 12 << 20 if on_object is OnObject.STOP_READING else 1 << 20
    objects = [report(tmp_path), report(tmp_path, size=size), report(tmp_path)]
    with FakePacs(Behaviour(on_object={1: on_object})) as pacs:
        outcomes = deliver(pacs.port, objects)

    assert causes(outcomes) == [SendCause.ANSWERED, cause, SendCause.ABORTED]


def test_an_archive_that_keeps_us_busy_meets_the_deadline(tmp_path: Path) -> None:
    """Each byte of the answer comes within the time for an answer; the whole never would."""
    patient = Timeouts(connect=1, association=1, answer=60, delivery=1)
    with FakePacs(Behaviour(on_object={0: OnObject.DRIP_THE_ANSWER})) as pacs:
        outcomes = deliver(pacs.port, [report(tmp_path), report(tmp_path)], patient)

    assert SendCause.ANSWERED not in causes(outcomes)


def test_a_release_that_is_not_confirmed_costs_no_outcome(tmp_path: Path) -> None:
    with FakePacs(Behaviour(confirm_release=False)) as pacs:
        outcomes = deliver(pacs.port, [report(tmp_path)])

    assert causes(outcomes) == [SendCause.ANSWERED]


def test_an_answer_goes_to_who_asked_and_to_no_other_thread() -> None:
    asker: Any = SimpleNamespace(dimse_timeout=1)
    provider = AskingProvider(asker)
    answer: Any = (1, "answer")
    provider.msg_queue.put(answer)

    assert provider.get_msg(block=False) == (None, None)
    assert provider.get_msg(block=True) == answer


def test_no_thread_is_left_behind_by_a_silent_archive(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with FakePacs(Behaviour(on_object={0: OnObject.HALF_AN_ANSWER})) as pacs:
        deliver(pacs.port, [report(tmp_path)])

    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(2)
    assert not [thread.name for thread in left if thread.is_alive()]


def test_the_check_says_what_is_refused_and_what_is_wrong() -> None:
    with FakePacs(Behaviour(refused=(CAD_SR,))) as pacs:
        sender = DicomSender(Destination("fake", "PACS", "127.0.0.1", pacs.port), "ME", SHORT)
        check = sender.check([CAD_SR, COMPREHENSIVE_SR])
        pacs.behaviour = Behaviour(reject=(1, 1, 7))
        rejected = sender.check([CAD_SR])
        pacs.behaviour = Behaviour(on_request=OnRequest.SAY_NOTHING)
        silent = sender.check([CAD_SR])

    assert (check.reachable, dict(check.accepted)) == (
        True,
        {CAD_SR: False, COMPREHENSIVE_SR: True},
    )
    assert not rejected.reachable
    assert "reason 7" in rejected.detail
    assert not silent.reachable
