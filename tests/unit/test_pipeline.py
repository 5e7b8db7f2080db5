"""The life of an exam, on fakes that pass the same contracts as the real parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cadnode.core.mammogram import Intent
from cadnode.core.reasons import Reason
from cadnode.core.retry import SendCause
from cadnode.core.uids import derive_uid
from tests.contract.fake_classifier import FakeClassifier
from tests.unit.bench import LEASE, MG_PROCESSING, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_four_views_are_reported_at_once_and_delivered(bench):
    bench.send_four()
    bench.analyze()
    assert bench.statuses() == ["reported"]
    bench.deliver()
    assert bench.statuses() == ["delivered"]
    assert list(bench.senders["pacs"].held) == list(bench.files.kept)


def test_images_are_analyzed_as_they_arrive(bench):
    bench.send("rcc")
    bench.analyze()
    assert bench.reader.decoded == ["rcc"]
    assert bench.statuses() == ["receiving"]


@pytest.mark.parametrize("views", [["RCC"], ["RCC", "LCC", "RMLO"]])
def test_an_exam_without_all_views_is_closed_after_the_quiet_time(bench, views):
    for view in views:
        bench.send(view, view)
    bench.analyze()
    bench.wait(59.9)
    bench.analyze()
    assert bench.statuses() == ["receiving"]
    bench.wait(0.1)
    bench.analyze()
    assert bench.statuses() == ["reported"]
    assert len(bench.builder.reports[0].images) == len(views)


def test_each_image_starts_the_quiet_time_anew(bench):
    bench.send("rcc", "RCC")
    bench.wait(50)
    bench.send("lcc", "LCC")
    bench.wait(50)
    bench.analyze()
    assert bench.statuses() == ["receiving"]


@pytest.mark.parametrize("extra", [1, 5])
def test_an_exam_of_more_than_four_images_holds_all_of_them(bench, extra):
    for number in range(extra):
        bench.send(f"again {number}", "RCC")
    bench.send_four()
    bench.analyze()
    assert len(bench.builder.reports[-1].images) == 4 + extra


def test_a_late_image_makes_a_revision_that_names_its_predecessor(bench):
    bench.send_four()
    bench.analyze()
    bench.deliver()
    bench.send("late", "RCC")
    bench.analyze()
    bench.wait(60)
    bench.analyze()
    bench.deliver()
    assert bench.statuses() == ["delivered", "delivered"]
    first, second = bench.builder.reports
    assert second.revision == 2
    assert len(second.images) == 5
    assert [d.sop_instance_uid for d in second.predecessors] == list(bench.files.kept)[:1]
    assert bench.reader.decoded.count("rcc") == 1
    assert not first.predecessors


def test_a_result_that_was_never_sent_is_replaced_and_not_named(bench):
    bench.send_four()
    bench.analyze()
    bench.send("late", "RCC")
    bench.wait(60)
    bench.analyze()
    bench.deliver()
    assert len(bench.senders["pacs"].held) == 1
    assert bench.builder.reports[-1].predecessors == ()


def test_a_late_image_that_is_not_read_makes_no_second_result(bench):
    bench.send_four()
    bench.analyze()
    bench.deliver()
    bench.send("capture", "RCC", sop_class_uid="1.2.840.10008.5.1.4.1.1.7")
    bench.wait(60)
    bench.analyze()
    assert bench.statuses() == ["delivered", "skipped"]
    assert len(bench.builder.reports) == 1


def test_an_exam_with_nothing_to_read_is_skipped_with_the_reason(bench):
    bench.send("capture", sop_class_uid="1.2.840.10008.5.1.4.1.1.7")
    bench.send("ml", "RML")
    bench.wait(60)
    bench.analyze()
    assert bench.statuses() == ["skipped"]
    assert bench.reasons() == {"capture": "N110", "ml": "N107"}


def test_an_image_that_fails_leaves_the_others_alone(bench):
    bench.reader.failures["lcc"] = Reason.DECODING_FAILED
    bench.send_four()
    bench.analyze()
    report = bench.builder.reports[0]
    failed = [image for image in report.images if image.failure]
    assert [image.failure for image in failed] == [Reason.DECODING_FAILED]
    assert len(report.images) == 4


def test_an_exam_in_which_every_image_failed_is_still_reported(bench):
    for view in ("RCC", "LCC", "RMLO", "LMLO"):
        bench.reader.failures[view.lower()] = Reason.PIXEL_DATA_TRUNCATED
    bench.send_four()
    bench.analyze()
    assert bench.statuses() == ["reported"]
    assert all(image.failure for image in bench.builder.reports[0].images)


def test_an_image_that_keeps_taking_the_worker_down_is_given_up_alone(bench):
    bench.send_four()
    for _ in range(3):
        exam = bench.claim()
        bench.store.begin_image(exam, exam.images[0].id, now=bench.now)
        bench.wait(LEASE.total_seconds())  # the worker died: its lease runs out
    bench.analyze()
    assert bench.reasons()["rcc"] == "N211"
    assert bench.statuses() == ["reported"]


def test_a_step_that_ends_badly_too_often_is_given_up_with_its_code(bench):
    bench.send_four()
    for _ in range(4):
        bench.claim()
        bench.wait(LEASE.total_seconds())
    bench.analyze()
    assert bench.statuses() == ["failed"]
    (job,) = bench.store.jobs.values()
    assert job.problem.code == "E801"


def test_an_image_of_another_patient_is_set_aside(bench):
    bench.send_four()
    bench.send("stray", "RCC", patient_key="another")
    bench.analyze()
    assert bench.reasons()["stray"] == "N112"


def test_the_presentation_image_is_read_and_its_processing_image_is_not(bench):
    raw = {"sop_class_uid": MG_PROCESSING, "intent": Intent.PROCESSING}
    bench.send("raw rcc", "RCC", **raw)
    bench.analyze()
    assert bench.reader.decoded == []
    bench.send("rcc", "RCC", source_uids=(derive_uid("raw rcc"),))
    bench.wait(60)
    bench.analyze()
    assert bench.reasons() == {"raw rcc": "N103", "rcc": "analyzed"}


def test_a_presentation_image_that_comes_late_takes_the_place_of_its_processing_image(bench):
    bench.send("raw rcc", "RCC", sop_class_uid=MG_PROCESSING, intent=Intent.PROCESSING)
    bench.wait(60)
    bench.analyze()
    bench.deliver()
    bench.send("rcc", "RCC", source_uids=(derive_uid("raw rcc"),))
    bench.wait(60)
    bench.analyze()
    assert bench.reasons() == {"raw rcc": "N103", "rcc": "analyzed"}
    late = bench.builder.reports[-1]
    assert [image.sop_instance_uid for image in late.images] == [derive_uid("rcc")]


def test_a_processing_image_that_failed_does_not_mar_its_presentation_image(bench):
    raw = {"sop_class_uid": MG_PROCESSING, "intent": Intent.PROCESSING, "bits_stored": 8}
    bench.send("raw rcc", "RCC", **raw)
    bench.send("rcc", "RCC", source_uids=(derive_uid("raw rcc"),))
    bench.wait(60)
    bench.analyze()
    assert bench.reasons() == {"raw rcc": "N103", "rcc": "analyzed"}


def test_an_exam_closed_before_a_model_update_is_read_again_by_the_model_it_names(bench):
    bench.send_four()
    bench.pipeline.advance(bench.claim(), lambda: None)
    spec = replace(FakeClassifier().spec, version="next")
    bench.pipeline._classifier = lambda: FakeClassifier(spec)
    bench.analyze()
    assert bench.builder.reports[-1].algorithm.version == "next"
    assert {image.value.model for image in bench.store.images.values()} == {f"{spec.name} next"}


def test_an_exam_cancelled_while_it_is_sent_leaves_the_outcome_of_the_others(bench):
    bench.send_four()
    bench.send("another", "RCC", study_instance_uid="1.2.4")
    bench.wait(60)
    bench.analyze()
    due = bench.store.claim_deliveries("pacs", "worker", now=bench.now, lease=LEASE, limit=10)
    bench.store.cancel(due[0].exam_id, why="a test object", by="anna", now=bench.now)
    bench.pipeline.deliver("pacs", due)
    assert sorted(bench.statuses()) == ["cancelled", "delivered"]


def test_a_processing_image_alone_is_read_when_the_quiet_time_is_over(bench):
    bench.send("raw", "RCC", sop_class_uid=MG_PROCESSING, intent=Intent.PROCESSING)
    bench.analyze()
    bench.wait(60)
    bench.analyze()
    assert bench.reader.decoded == ["raw"]
    assert bench.statuses() == ["reported"]


def test_a_processing_image_of_another_exposure_is_read_too(bench):
    bench.send("raw", "RCC", sop_class_uid=MG_PROCESSING, intent=Intent.PROCESSING)
    bench.send("rcc", "RCC", source_uids=(derive_uid("some other image"),))
    bench.wait(60)
    bench.analyze()
    assert sorted(bench.reader.decoded) == ["raw", "rcc"]


def test_a_dead_destination_does_not_hold_up_another(tmp_path):
    bench = Bench(tmp_path, ("dead", "alive"))
    bench.senders["dead"].trouble = SendCause.UNREACHABLE
    bench.send_four()
    bench.analyze()
    bench.deliver()
    assert len(bench.senders["alive"].held) == 1
    assert bench.statuses() == ["reported"]
    bench.senders["dead"].trouble = None
    bench.wait(1)
    bench.deliver()
    assert bench.statuses() == ["delivered"]


def test_a_refusal_for_good_fails_the_exam_and_a_person_can_start_it_again(bench):
    bench.senders["pacs"].refused_classes = frozenset({"1.2.88.50"})
    bench.send_four()
    bench.analyze()
    bench.deliver()
    assert bench.statuses() == ["failed"]
    bench.senders["pacs"].refused_classes = frozenset()
    bench.store.retry(1, by="somebody", now=bench.now)
    bench.deliver()
    assert bench.statuses() == ["delivered"]


def test_transient_trouble_is_given_up_only_after_the_give_up_time(bench):
    bench.senders["pacs"].trouble = SendCause.UNREACHABLE
    bench.send_four()
    bench.analyze()
    bench.deliver()
    for _ in range(5):
        bench.wait(15 * 60)
        bench.deliver()
    assert bench.statuses() == ["reported"]
    bench.wait(72 * 3600)
    bench.deliver()
    assert bench.statuses() == ["failed"]


def test_a_lost_result_file_is_said_and_holds_up_nothing_else(bench):
    bench.send_four()
    bench.analyze()
    (uid,) = bench.files.kept
    bench.files.remove(uid)
    bench.deliver()
    assert bench.statuses() == ["failed"]
    assert [d.code for d in bench.store.deliveries.values()] == ["E703"]


def test_a_worker_that_died_after_sending_sends_the_same_object_again(bench):
    bench.send_four()
    bench.analyze()
    due = bench.store.claim_deliveries("pacs", "dead", now=bench.now, lease=LEASE, limit=10)
    assert due  # it was sent, and the worker died before it could write that down
    bench.wait(LEASE.total_seconds())
    bench.deliver()
    assert bench.statuses() == ["delivered"]
    assert len(bench.senders["pacs"].held) == 1


def test_a_worker_that_died_after_writing_the_results_writes_the_same_ones_again(bench):
    bench.send_four()
    exam = bench.claim()
    bench.pipeline.advance(exam, lambda: None)
    exam = bench.claim()
    record = bench.store.record_results
    bench.store.record_results = lambda *_args, **_kwargs: None  # killed just before the commit
    bench.pipeline.advance(exam, lambda: None)
    bench.store.record_results = record
    bench.wait(LEASE.total_seconds())
    bench.analyze()
    assert bench.statuses() == ["reported"]
    assert len(bench.files.kept) == 1
    assert bench.builder.reports[0] == bench.builder.reports[1]


def test_an_image_that_comes_while_the_exam_is_read_is_in_the_same_result(bench):
    bench.send_four()
    exam = bench.claim()
    bench.send("fifth", "RCC")
    with pytest.raises(Exception, match="E705"):
        bench.pipeline.advance(exam, lambda: None)
    bench.store.release_exam(exam, due_at=bench.now, now=bench.now)
    bench.analyze()
    assert bench.statuses() == ["reported"]
    assert len(bench.builder.reports[0].images) == 5
