"""What every ExamStore does with an image that comes in."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from cadnode.core.exam import ImageState
from cadnode.core.identifiers import ExamIdentifiers
from cadnode.core.jobs import Acceptance, ExamStatus
from cadnode.core.ports import ExamStore
from tests.contract.exams import KNOWN, SECOND, T0, claim, new_image, report, snapshot


class TestReceiving:
    def test_the_first_image_makes_an_exam_and_the_next_one_joins_it(self, store: ExamStore):
        assert store.accept(new_image(1), now=T0) is Acceptance.NEW
        assert store.accept(new_image(2), now=T0 + SECOND) is Acceptance.NEW
        exam = claim(store, now=T0 + SECOND)
        assert [image.sop_instance_uid for image in exam.images] == ["1.2.3.9.1", "1.2.3.9.2"]
        assert (exam.revision, exam.status) == (1, ExamStatus.RECEIVING)
        assert (exam.created_at, exam.last_image_at) == (T0, T0 + SECOND)

    def test_the_same_bytes_again_leave_an_event_and_nothing_else(self, store: ExamStore):
        store.accept(new_image(), now=T0)
        before = snapshot(store)
        assert store.accept(new_image(), now=T0 + SECOND) is Acceptance.SAME
        after = snapshot(store)
        assert after["events"].pop()[2] == "image-received-again"
        assert after == before

    def test_two_studies_are_two_exams(self, store: ExamStore):
        store.accept(new_image(1, "1.1"), now=T0)
        store.accept(new_image(1, "1.2"), now=T0)
        assert [job[1] for job in snapshot(store)["jobs"]] == ["1.1", "1.2"]

    def test_an_image_after_the_exam_was_closed_makes_a_new_revision(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        report(store, "A")
        store.accept(new_image(2), now=T0 + SECOND)
        exam = claim(store, now=T0 + SECOND)
        assert exam.revision == 2
        assert [image.revision for image in exam.images] == [1, 2]
        assert exam.images[0].state is ImageState.ANALYZED

    def test_an_image_after_a_failure_makes_a_new_revision_with_all_images(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        store.move_exam(claim(store), ExamStatus.FAILED, text="It failed.", now=T0)
        store.accept(new_image(2), now=T0)
        assert len(claim(store).images) == 2


class TestIdentifiers:
    def test_a_later_image_adds_what_was_lacking_and_changes_nothing(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        assert snapshot(store)["identifiers"] == []
        store.accept(new_image(2, identifiers=ExamIdentifiers(patient_id="P-1")), now=T0 + SECOND)
        store.accept(
            new_image(3, identifiers=ExamIdentifiers("P-2", "A-1", date(2026, 3, 1))),
            now=T0 + SECOND,
        )
        assert snapshot(store)["identifiers"] == [(1, T0, "P-1", "A-1", date(2026, 3, 1))]

    def test_the_same_image_again_adds_nothing(self, store: ExamStore):
        store.accept(new_image(1), now=T0)
        assert store.accept(new_image(1, identifiers=KNOWN), now=T0) is Acceptance.SAME
        assert snapshot(store)["identifiers"] == []

    def test_a_revision_knows_what_its_own_images_say(self, store: ExamStore):
        store.accept(new_image(1, identifiers=KNOWN), now=T0)
        report(store, "A")
        put_right = replace(KNOWN, patient_id="P-7")
        store.accept(new_image(1, content="b", identifiers=put_right), now=T0 + SECOND)
        assert [line[:3] for line in snapshot(store)["identifiers"]] == [
            (1, T0, "P-1"),
            (2, T0 + SECOND, "P-7"),
        ]

    def test_an_exam_still_received_is_found_by_what_its_first_image_says_now(
        self, store: ExamStore
    ):
        for number in (1, 2):
            store.accept(new_image(number, identifiers=KNOWN), now=T0)
        other = ExamIdentifiers("P-8", "A-8")
        store.accept(new_image(2, content="b", identifiers=other), now=T0)
        assert snapshot(store)["identifiers"] == [(1, T0, "P-1", "A-1", date(2026, 3, 1))]
        put_right = ExamIdentifiers("P-7", "A-7")
        store.accept(new_image(1, content="b", identifiers=put_right), now=T0)
        assert snapshot(store)["identifiers"] == [(1, T0, "P-7", "A-7", date(2026, 3, 1))]

    def test_what_is_read_again_keeps_what_it_is_found_by(self, store: ExamStore):
        store.accept(new_image(1, identifiers=KNOWN), now=T0)
        report(store, "A")
        store.reanalyze(1, by="anna", now=T0 + SECOND)
        assert snapshot(store)["identifiers"][1] == (2, T0 + SECOND, "P-1", "A-1", date(2026, 3, 1))

    def test_no_event_tells_them(self, store: ExamStore):
        store.accept(new_image(1, identifiers=KNOWN), now=T0)
        report(store, "A")
        assert "P-1" not in str(snapshot(store)["events"])
