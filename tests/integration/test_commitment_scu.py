"""Deliveries with proof: real archives, and one that misbehaves, reporting to our real port."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from cadnode.core.jobs import ExamStatus
from cadnode.core.proof import ProofWish
from cadnode.core.retry import RetryRules
from cadnode.dimse import transport
from cadnode.dimse.admission import Peer
from cadnode.dimse.destination import Destination
from tests.integration.committing_archive import (
    BEFORE,
    LATER,
    NEVER,
    NEW,
    SAME,
    CommittingArchive,
    committing_archive,
)
from tests.integration.proof_node import RULES, SECOND, ProofNode, proof_node
from tests.integration.test_scu_find import _dcmqrscp as dcmqrscp
from tests.peers import orthanc, storescp

GUESTS = tuple(Peer(ae_title, ae_title, may_store=False) for ae_title in ("PACS", "ORTHANC"))
PATIENCE = 20.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ProofNode]:
    with proof_node(tmp_path, guests=GUESTS) as node:
        yield node


@contextmanager
def delivered(
    node: ProofNode, objects: int = 2, **behaviour: object
) -> Iterator[CommittingArchive]:
    """An exam delivered to the archive, its proofs due."""
    with committing_archive(node.port, **behaviour) as archive:  # type: ignore[arg-type]
        node.exam(objects)
        assert node.deliver(archive.destination) == objects
        assert node.proofs() == ["wanted"] * objects
        yield archive


def wait_until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.02)


def ask(node: ProofNode, archive: CommittingArchive, **how: object) -> None:
    assert node.lane(archive.destination, **how).run_once()  # type: ignore[arg-type]


class TestOrthanc:
    def test_it_commits_on_an_association_of_its_own(self, node: ProofNode, tmp_path: Path):
        with orthanc(tmp_path, modalities={"cadnode": ("CADNODE", "127.0.0.1", node.port)}) as peer:
            pacs = Destination("pacs", peer.ae_title, "127.0.0.1", peer.port)
            node.exam(2)
            node.deliver(pacs)
            assert node.lane(pacs).run_once()
            wait_until(lambda: node.proofs() == ["committed"] * 2)
        assert node.exams() == [ExamStatus.COMMITTED]
        assert len(set(node.transactions())) == 1

    def test_what_it_has_lost_is_delivered_again_and_then_committed(
        self, node: ProofNode, tmp_path: Path
    ):
        with orthanc(tmp_path, modalities={"cadnode": ("CADNODE", "127.0.0.1", node.port)}) as peer:
            pacs = Destination("pacs", peer.ae_title, "127.0.0.1", peer.port)
            node.exam(2)
            node.deliver(pacs)
            peer.delete(f"/instances/{peer.get('/instances')[0]}")
            lane = node.lane(pacs)
            assert lane.run_once()
            wait_until(lambda: sorted(map(str, node.proofs())) == ["committed", "refused"])
            assert lane.run_once()
            assert sorted(node.deliveries()) == ["delivered", "pending"]
            assert node.exams() == [ExamStatus.REPORTED]
            node.now += 10 * SECOND
            assert node.deliver(pacs) == 1
            assert node.exams() == [ExamStatus.DELIVERED]
            assert lane.run_once()
            wait_until(lambda: node.proofs() == ["committed"] * 2)
            assert len(peer.get("/instances")) == 2
        assert node.exams() == [ExamStatus.COMMITTED]


class TestWithoutCommitment:
    def test_dcmqrscp_is_asked_with_c_find(self, node: ProofNode, tmp_path: Path):
        with dcmqrscp(tmp_path) as pacs:
            node.exam(2)
            node.deliver(pacs)
            assert node.lane(pacs).run_once()
        assert node.proofs() == ["verified", "verified"]
        assert node.exams() == [ExamStatus.COMMITTED]

    def test_what_c_find_does_not_name_is_delivered_again_after_three_looks(
        self, node: ProofNode, tmp_path: Path
    ):
        with dcmqrscp(tmp_path) as pacs:
            node.exam(1)
            node.deliver(None)
            lane = node.lane(pacs)
            for _ in range(2):
                assert lane.run_once()
                assert node.proofs() == ["wanted"]
                node.now += timedelta(minutes=1)
            assert lane.run_once()
            assert node.deliveries() == ["pending"]
            node.now += timedelta(minutes=1)
            assert node.deliver(pacs) == 1
            assert lane.run_once()
        assert node.proofs() == ["verified"]

    def test_answers_on_and_on_prove_nothing(
        self, node: ProofNode, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(transport, "MOST_BYTES", 1 << 20)
        with delivered(node, 1, commits=False, bulk=2 << 20) as archive:
            assert node.lane(archive.destination).run_once()
            assert node.proofs() == ["wanted"]

    def test_an_archive_that_only_stores_proves_nothing_and_is_not_asked_again(
        self, node: ProofNode, tmp_path: Path
    ):
        with storescp(tmp_path) as scp:
            pacs = Destination("pacs", scp.ae_title, "127.0.0.1", scp.port)
            node.exam(2)
            node.deliver(pacs)
            lane = node.lane(pacs)
            assert lane.run_once()
            assert not lane.run_once()
        assert node.proofs() == ["not provable here"] * 2
        assert node.exams() == [ExamStatus.DELIVERED]
        assert node.events() == ["proof-not-possible"] * 2
        assert node.records.list_exams()[0].waits_for == "the end of its retention time"

    def test_where_a_commitment_is_required_the_delivery_has_failed(
        self, node: ProofNode, tmp_path: Path
    ):
        with storescp(tmp_path) as scp:
            pacs = Destination("pacs", scp.ae_title, "127.0.0.1", scp.port)
            node.exam(1)
            node.deliver(pacs)
            assert node.lane(pacs, ProofWish.REQUIRE).run_once()
        (exam,) = node.records.list_exams()
        assert (exam.status, exam.error_code) == (ExamStatus.FAILED, "E604")
        assert "does not offer storage commitment" in str(exam.error_text)

    def test_an_archive_that_refuses_n_action_as_unsupported_is_asked_with_c_find(
        self, node: ProofNode
    ):
        with delivered(node, status=0x0211) as archive:
            ask(node, archive)
        assert node.proofs() == ["verified"] * 2


class TestReports:
    @pytest.mark.parametrize("when", [SAME, BEFORE, NEW])
    @pytest.mark.parametrize("role", [True, False])
    def test_a_report_counts_on_whatever_association_it_comes(
        self, node: ProofNode, when: str, role: bool
    ):
        with delivered(node, when=when, role=role) as archive:
            ask(node, archive)
            wait_until(lambda: bool(archive.answers))
        assert archive.answers == [0x0000]
        assert node.proofs() == ["committed"] * 2
        assert node.exams() == [ExamStatus.COMMITTED]

    def test_objects_of_several_exams_go_into_one_transaction(self, node: ProofNode):
        with delivered(node) as archive:
            node.exam(3)
            node.deliver(archive.destination)
            ask(node, archive)
            wait_until(lambda: bool(archive.answers))
            assert len(archive.asked) == 1
            assert len(archive.asked[0].ReferencedSOPSequence) == 5
        assert node.exams() == [ExamStatus.COMMITTED] * 2

    def test_silence_is_asked_again_with_a_new_transaction(self, node: ProofNode):
        with delivered(node, when=NEVER, finds=False) as archive:
            lane = node.lane(archive.destination, linger=0.1)
            for _ in range(2):
                assert lane.run_once()
                assert node.proofs() == ["asked"] * 2
                node.now += RULES.report_within - SECOND
                assert not lane.run_once()
                node.now += SECOND
            # It does not answer C-FIND either: commitment remains the only way.
            assert lane.run_once()
            node.now += timedelta(minutes=1)
            assert lane.run_once()
            uids = [asked.TransactionUID for asked in archive.asked]
        assert len(set(uids)) == 3

    def test_after_two_silent_requests_c_find_decides(self, node: ProofNode):
        with delivered(node, when=NEVER) as archive:
            lane = node.lane(archive.destination, linger=0.1)
            for _ in range(3):
                assert lane.run_once()
                node.now += RULES.report_within
        assert len(archive.asked) == 2
        assert node.proofs() == ["verified"] * 2

    def test_a_late_report_of_the_first_transaction_still_commits(self, node: ProofNode):
        with delivered(node, when=LATER) as archive:
            lane = node.lane(archive.destination, linger=0.1)
            assert lane.run_once()
            node.now += RULES.report_within
            assert lane.run_once()
            assert archive.report(0) == 0x0000
        assert node.proofs() == ["committed"] * 2

    def test_a_late_report_of_failure_says_nothing_about_the_newer_request(self, node: ProofNode):
        with delivered(node, when=LATER, objects=1) as archive:
            lane = node.lane(archive.destination, linger=0.1)
            assert lane.run_once()
            node.now += RULES.report_within
            assert lane.run_once()
            archive.lost = set(archive.held)
            assert archive.report(0) == 0x0000
            assert node.proofs() == ["asked"]
            assert archive.report(1) == 0x0000
        assert node.proofs() == ["refused"]

    def test_a_report_from_before_the_second_delivery_says_nothing_about_it(self, node: ProofNode):
        with delivered(node, when=LATER, objects=1) as archive:
            lane = node.lane(archive.destination, linger=0.1)
            assert lane.run_once()
            node.now += RULES.report_within
            assert lane.run_once()
            archive.lost = set(archive.held)
            archive.report(1)
            assert lane.run_once()
            node.now += timedelta(minutes=1)
            node.deliver(archive.destination)
            archive.lost = set()
            assert archive.report(0) == 0x0000
        assert node.proofs() == ["wanted"]

    def test_a_report_that_comes_twice_is_answered_twice_and_counts_once(self, node: ProofNode):
        with delivered(node, when=LATER) as archive:
            ask(node, archive, linger=0.1)
            assert [archive.report(), archive.report()] == [0x0000, 0x0000]
        assert node.events().count("proof-committed") == 2

    def test_a_report_of_a_transaction_nobody_asked_for_changes_nothing(self, node: ProofNode):
        with delivered(node, when=LATER) as archive:
            ask(node, archive, linger=0.1)
            assert archive.report(TransactionUID=generate_uid()) == 0x0000
        assert node.proofs() == ["asked"] * 2

    def test_an_object_the_request_did_not_name_is_not_committed(self, node: ProofNode):
        with delivered(node, when=LATER, objects=1) as archive:
            ask(node, archive, linger=0.1)
            node.exam(1)
            node.deliver(archive.destination)
            ask(node, archive, linger=0.1)
            both = [asked.ReferencedSOPSequence[0] for asked in archive.asked]
            assert archive.report(0, ReferencedSOPSequence=both) == 0x0000
        assert node.proofs() == ["committed", "asked"]

    def test_a_report_without_its_transaction_is_answered_with_failure(self, node: ProofNode):
        with delivered(node, when=LATER) as archive:
            ask(node, archive, linger=0.1)
            assert archive.report(TransactionUID="") == 0x0115
        assert node.proofs() == ["asked"] * 2


class TestFailures:
    def test_what_is_not_held_is_sent_again_and_fails_after_the_fourth_delivery(
        self, node: ProofNode
    ):
        with delivered(node, objects=1) as archive:
            archive.lost = set(archive.held)
            lane = node.lane(archive.destination)
            for _ in range(RULES.most_failures):
                assert lane.run_once()
                wait_until(lambda: node.proofs() == ["refused"])
                assert lane.run_once()
                assert node.exams() == [ExamStatus.REPORTED]
                node.now += timedelta(minutes=1)
                assert node.deliver(archive.destination) == 1
            assert lane.run_once()
            wait_until(lambda: node.proofs() == ["refused"])
            assert lane.run_once()
            (exam,) = node.records.list_exams()
            assert (exam.status, exam.error_code) == (ExamStatus.FAILED, "E604")
            assert "0x0112 (no such object instance); delivered 4 times" in str(exam.error_text)
            archive.lost = set()
            node.store.retry(exam.id, by="a person", now=node.now)
            node.deliver(archive.destination)
            assert lane.run_once()
            wait_until(lambda: node.exams() == [ExamStatus.COMMITTED])

    def test_an_archive_that_is_down_is_asked_later_and_nothing_is_lost(self, node: ProofNode):
        with delivered(node) as archive:
            gone = archive.destination
        lane = node.lane(gone)
        assert lane.run_once()
        assert node.proofs() == ["wanted"] * 2
        assert not lane.run_once()
        assert node.records.list_exams()[0].waits_for == "proof from pacs"
        with committing_archive(node.port) as archive:
            node.now += timedelta(hours=1)
            ask(node, archive)
            wait_until(lambda: node.exams() == [ExamStatus.COMMITTED])

    def test_an_archive_that_stays_down_fails_the_delivery_after_the_give_up_time(
        self, node: ProofNode
    ):
        with delivered(node) as archive:
            gone = archive.destination
        node.now += RetryRules().give_up_after
        assert node.lane(gone).run_once()
        (exam,) = node.records.list_exams()
        assert (exam.status, exam.error_code) == (ExamStatus.FAILED, "E604")

    def test_a_lane_killed_after_asking_leaves_the_rest_to_the_next_one(
        self, node: ProofNode, monkeypatch: pytest.MonkeyPatch
    ):
        with delivered(node, when=LATER) as archive:
            killed = node.lane(archive.destination, linger=0.1)
            with monkeypatch.context() as patched:
                patched.setattr(killed, "_write", lambda _decisions: None)
                assert killed.run_once()
            assert archive.report() == 0x0000
        assert node.exams() == [ExamStatus.COMMITTED]

    def test_commitment_switched_off_ends_what_was_wanted(self, node: ProofNode):
        with delivered(node) as archive:
            ask(node, archive, wish=ProofWish.OFF)
            assert not archive.asked
        assert node.proofs() == ["given up"] * 2
        assert node.exams() == [ExamStatus.DELIVERED]


class TestGuests:
    def test_a_destination_that_is_no_peer_may_report_but_not_store(
        self, node: ProofNode, tmp_path: Path
    ):
        (result,) = node.exam(1)
        as_pacs = Destination("us", "CADNODE", "127.0.0.1", node.port)
        from cadnode.core.ports import OutgoingObject
        from cadnode.dimse.scu import DicomSender

        (outcome,) = DicomSender(as_pacs, "PACS").send(
            [
                OutgoingObject(
                    result.sop_class_uid, result.sop_instance_uid, node.folder / result.path
                )
            ]
        )
        assert outcome.status is None
        assert DicomSender(as_pacs, "PACS").check(()).reachable

    def test_a_stranger_may_not_report(self, node: ProofNode):
        with delivered(node, when=LATER) as archive:
            ask(node, archive, linger=0.1)
            from pynetdicom import AE

            from cadnode.dimse.commitment_messages import commitment_context

            stranger = AE("STRANGER").associate(
                "127.0.0.1", node.port, [commitment_context()], ae_title="CADNODE"
            )
            assert stranger.is_rejected
