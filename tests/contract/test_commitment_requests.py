"""What every ExamStore knows of commitment to senders."""

from __future__ import annotations

import pytest

from cadnode.core.commitment import CommitmentItem, NewRequest, RequestStatus
from cadnode.core.errors import LeaseLost
from cadnode.core.ports import ExamStore
from cadnode.core.proof import CommitmentReport
from tests.contract.exams import DAY, LEASE, SECOND, T0, TICK, kinds, new_image

ASKED = NewRequest("7.1", "MG1", "10.0.0.1", (CommitmentItem("1.1", "1.2.3.9.1"),))


class TestRequests:
    def test_a_request_is_held_by_who_took_it_in(self, store: ExamStore):
        request = store.accept_request(ASKED, owner="r1", now=T0, lease=LEASE)
        assert (request.transaction_uid, request.items, request.tries) == ("7.1", ASKED.items, 1)
        assert store.claim_request("w1", now=T0 + LEASE - TICK, lease=LEASE) is None
        claimed = store.claim_request("w1", now=T0 + LEASE, lease=LEASE)
        assert claimed is not None
        assert (claimed.id, claimed.owner, claimed.tries) == (request.id, "w1", 2)
        assert (claimed.items, claimed.calling_host) == (ASKED.items, "10.0.0.1")
        with pytest.raises(LeaseLost):
            store.end_request(request, RequestStatus.GIVEN_UP, now=T0 + LEASE)

    def test_the_same_transaction_of_the_same_sender_takes_the_place_of_the_first(
        self, store: ExamStore
    ):
        first = store.accept_request(ASKED, owner="r1", now=T0, lease=LEASE)
        second = store.accept_request(ASKED, owner="r1", now=T0 + SECOND, lease=LEASE)
        other = NewRequest("7.1", "MG2", "10.0.0.2", ASKED.items)
        third = store.accept_request(other, owner="r1", now=T0, lease=LEASE)
        assert (second.id, second.tries) == (first.id, 2)
        assert third.id != first.id
        with pytest.raises(LeaseLost):
            store.end_request(first, RequestStatus.ANSWERED, now=T0)

    def test_released_it_is_due_then_and_ended_never(self, store: ExamStore):
        request = store.accept_request(ASKED, owner="r1", now=T0, lease=LEASE)
        store.release_request(request, due_at=T0 + SECOND, text="no answer", now=T0)
        assert store.claim_request("w1", now=T0 + SECOND - TICK, lease=LEASE) is None
        claimed = store.claim_request("w1", now=T0 + SECOND, lease=LEASE)
        assert claimed is not None
        told = CommitmentReport("7.1", (), {"1.2.3.9.1": 0x0112})
        store.end_request(claimed, RequestStatus.ANSWERED, report=told, now=T0 + SECOND)
        assert store.claim_request("w1", now=T0 + DAY, lease=LEASE) is None

    def test_the_history_of_an_image_says_that_it_was_committed_to(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        request = store.accept_request(ASKED, owner="r1", now=T0, lease=LEASE)
        told = CommitmentReport("7.1", ("1.2.3.9.1",))
        store.end_request(request, RequestStatus.ANSWERED, report=told, now=T0)
        assert kinds(store)[-1] == "image-committed"

    def test_kept_are_the_images_that_are_not_purged(self, store: ExamStore):
        image = new_image()
        store.accept(image, now=T0)
        kept = store.kept_images([image.sop_instance_uid, "1.2.99"])
        assert list(kept) == [image.sop_instance_uid]
        assert kept[image.sop_instance_uid].sop_class_uid == image.sop_class_uid
        assert (kept[image.sop_instance_uid].path, kept[image.sop_instance_uid].size) == (
            image.path,
            image.size,
        )
        store.cancel(1, why="a test", by="anna", now=T0)
        store.mark_purged(1, now=T0)
        assert store.kept_images([image.sop_instance_uid]) == {}

    def test_a_request_may_name_more_than_a_database_takes_at_once(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        uids = [f"1.2.3.9.{number}" for number in range(40_000)]
        assert list(store.kept_images(uids)) == ["1.2.3.9.1"]
