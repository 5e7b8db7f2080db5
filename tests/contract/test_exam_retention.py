"""Which exams every ExamStore lets go, and with which files."""

from __future__ import annotations

import pytest

from cadnode.core.errors import IllegalMove, NotFound
from cadnode.core.exam import ImageState
from cadnode.core.jobs import Acceptance, ExamStatus
from cadnode.core.ports import ExamStore
from cadnode.core.retention import Purgeable
from tests.contract.exams import (
    DAY,
    FINDING,
    SECOND,
    T0,
    TICK,
    claim,
    deliver,
    new_image,
    over,
    report,
    result,
    snapshot,
    statuses,
)


class TestRetention:
    def test_an_image_that_comes_back_after_it_was_purged_is_a_new_revision(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        exam = claim(store)
        store.record_image(exam, 1, state=ImageState.ANALYZED, findings=[FINDING], now=T0)
        store.move_exam(exam, ExamStatus.SKIPPED, text="Nothing.", now=T0)
        store.mark_purged(1, now=T0 + DAY)
        assert store.accept(new_image(1), now=T0 + DAY) is Acceptance.NEW
        again = claim(store, now=T0 + DAY)
        assert again.revision == 2
        (image,) = again.images
        assert (image.state, image.tries, image.findings) == (ImageState.RECEIVED, 0, ())
        assert (image.revision, image.received_at) == (2, T0 + DAY)
        store.move_exam(again, ExamStatus.SKIPPED, text="Nothing.", now=T0 + DAY)
        assert over(store, T0 + DAY * 2) == [2]

    def test_a_delivered_exam_is_purged_after_its_time_with_all_its_files(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        assert not store.purgeable(finished_before=T0, limit=9)
        assert store.purgeable(finished_before=T0 + TICK, limit=9) == [
            Purgeable(1, "1.2.3", finished_at=T0, size=1001 + 77)
        ]
        files = ["images/1.2.3-1", result(1).path]
        assert list(store.mark_purged(1, now=T0 + DAY)) == files
        after = snapshot(store)
        store.mark_purged(1, now=T0 + DAY)
        assert snapshot(store) == after
        assert statuses(store) == ["purged"]
        assert not store.purgeable(finished_before=T0 + DAY, limit=9)

    def test_an_exam_that_no_destination_ever_got_is_kept(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        report(store)
        assert statuses(store) == ["delivered"]
        assert not store.purgeable(finished_before=T0 + DAY, limit=9)

    def test_skipped_and_cancelled_exams_are_purged_too(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        store.move_exam(claim(store), ExamStatus.SKIPPED, text="Nothing to read.", now=T0)
        store.accept(new_image(1, "1.2"), now=T0)
        store.cancel(2, why="a test", by="anna", now=T0 + TICK)
        assert over(store, T0 + DAY) == [1, 2]
        assert len(store.purgeable(finished_before=T0 + DAY, limit=1)) == 1

    def test_an_exam_that_somebody_still_needs_is_never_purged(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        store.accept(new_image(1, "1.2"), now=T0)
        report(store, "A")
        store.accept(new_image(1, "1.3"), now=T0)
        store.move_exam(claim(store), ExamStatus.FAILED, text="No.", now=T0)
        assert not store.purgeable(finished_before=T0 + DAY, limit=9)
        for exam_id in (1, 2, 3):
            with pytest.raises(IllegalMove):
                store.mark_purged(exam_id, now=T0 + DAY)
        with pytest.raises(NotFound):
            store.mark_purged(4, now=T0 + DAY)

    def test_no_file_goes_that_a_later_revision_refers_to(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        store.accept(new_image(2), now=T0 + SECOND)
        assert not store.purgeable(finished_before=T0 + DAY, limit=9)
        deliver(store, now=T0 + SECOND)
        assert over(store, T0 + DAY) == [2]
        store.mark_purged(2, now=T0 + DAY)
        assert over(store, T0 + DAY) == [1]

    def test_an_exam_that_got_an_image_since_it_was_named_is_not_purged(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        deliver(store)
        assert over(store, T0 + DAY) == [1]
        store.accept(new_image(2), now=T0 + DAY)
        with pytest.raises(IllegalMove):
            store.mark_purged(1, now=T0 + DAY)
        assert statuses(store) == ["delivered", "receiving"]

    def test_an_exam_delivered_to_nobody_is_not_marked_either(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        report(store)
        with pytest.raises(IllegalMove):
            store.mark_purged(1, now=T0 + DAY)

    def test_an_exam_after_the_purge_does_not_name_images_whose_files_are_gone(
        self, store: ExamStore
    ):
        store.accept(new_image(1), now=T0)
        deliver(store)
        store.mark_purged(1, now=T0 + DAY)
        store.accept(new_image(2), now=T0 + DAY)
        exam = claim(store, now=T0 + DAY)
        assert (exam.revision, len(exam.images)) == (2, 1)
