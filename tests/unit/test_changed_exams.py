"""Late, changed and repeated input, and exams read again: a whole node on fakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cadnode.core.errors import LeaseLost, ResultInvalid, StaleExam
from cadnode.core.jobs import Acceptance, ExamStatus
from cadnode.core.mammogram import Intent
from cadnode.core.retry import SendCause
from cadnode.core.uids import derive_uid
from tests.unit.bench import LEASE, MG_PROCESSING, Bench

VIEWS = {"rcc": "RCC", "lcc": "LCC", "rmlo": "RMLO", "lmlo": "LMLO"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def change(bench: Bench, name: str, to: str, **changes: object) -> Acceptance:
    """Other bytes of the image called `name` arrive; their file is called `to`."""
    return bench.send(to, VIEWS[name], sop_instance_uid=derive_uid(name), **changes)


def read(bench: Bench) -> None:
    """Analyze, wait out the quiet time, analyze."""
    bench.analyze()
    bench.wait(60)
    bench.analyze()


def read_and_deliver(bench: Bench) -> None:
    read(bench)
    bench.deliver()


def purge(bench: Bench) -> None:
    for number in reversed(bench.store.jobs):
        bench.store.mark_purged(number, now=bench.now)


def current(bench: Bench) -> list[str]:
    """The result objects that nothing has superseded."""
    return [
        result.sop_instance_uid
        for number, result in bench.store.results
        if bench.store.jobs[number].superseded_by is None
    ]


def test_an_image_whose_bytes_change_makes_a_corrected_result(bench):
    bench.send_four()
    read_and_deliver(bench)
    (first,) = bench.files.kept
    assert change(bench, "rcc", "rcc again") is Acceptance.CHANGED
    read_and_deliver(bench)
    report = bench.builder.reports[-1]
    assert report.revision == 2
    assert sorted(image.path.name for image in report.images) == [
        "lcc",
        "lmlo",
        "rcc again",
        "rmlo",
    ]
    assert [named.sop_instance_uid for named in report.predecessors] == [first]
    assert bench.statuses() == ["delivered", "delivered"]
    assert len(bench.senders["pacs"].held) == 2
    assert current(bench) == [uid for uid in bench.files.kept if uid != first]
    # Only what is new was read again.
    assert bench.reader.decoded.count("lcc") == 1


def test_new_bytes_that_are_not_to_be_read_still_correct_the_result(bench):
    bench.send_four()
    read_and_deliver(bench)
    change(bench, "rcc", "capture", sop_class_uid="1.2.840.10008.5.1.4.1.1.7")
    read_and_deliver(bench)
    assert bench.statuses() == ["delivered", "delivered"]
    assert len(bench.builder.reports[-1].images) == 3
    assert len(current(bench)) == 1


def test_images_of_another_patient_than_the_corrected_one_are_not_mixed_into_its_result(bench):
    bench.send_four()
    read_and_deliver(bench)
    change(bench, "rcc", "rcc of two", patient_key="two")
    read_and_deliver(bench)
    (left,) = bench.builder.reports[-1].images
    assert left.path.name == "rcc of two"
    assert sorted(bench.reasons().values()) == ["N112", "N112", "N112", "analyzed"]
    change(bench, "lcc", "lcc of two", patient_key="two")
    read_and_deliver(bench)
    assert len(bench.builder.reports[-1].images) == 2
    change(bench, "rcc", "rcc again")
    change(bench, "lcc", "lcc again")
    read_and_deliver(bench)
    assert len(bench.builder.reports[-1].images) == 4
    assert len(current(bench)) == 1


def test_a_processing_image_is_read_when_its_presentation_image_is_replaced_by_something_else(
    bench,
):
    bench.send("raw", "RCC", intent=Intent.PROCESSING, sop_class_uid=MG_PROCESSING)
    bench.send("rcc", "RCC")
    read_and_deliver(bench)
    assert bench.reasons() == {"raw": "N103", "rcc": "analyzed"}
    change(bench, "rcc", "capture", sop_class_uid="1.2.840.10008.5.1.4.1.1.7")
    read_and_deliver(bench)
    assert bench.reasons() == {"raw": "analyzed", "capture": "N110"}
    assert bench.statuses() == ["delivered", "delivered"]


def test_when_nothing_is_left_to_read_of_what_was_reported_a_person_decides(bench):
    bench.send("rcc", "RCC")
    read_and_deliver(bench)
    change(bench, "rcc", "capture", sop_class_uid="1.2.840.10008.5.1.4.1.1.7")
    read_and_deliver(bench)
    assert bench.statuses() == ["delivered", "failed"]
    assert bench.store.jobs[2].problem.code == "E202"


def test_when_nothing_was_reported_and_nothing_can_be_read_the_exam_is_skipped(bench):
    bench.send("rcc", "RCC")
    change(bench, "rcc", "capture", sop_class_uid="1.2.840.10008.5.1.4.1.1.7")
    read(bench)
    assert bench.statuses() == ["skipped"]


def test_bytes_that_change_while_the_exam_is_read_are_in_its_result(bench):
    bench.send_four()
    exam = bench.claim()
    change(bench, "rcc", "rcc again")
    with pytest.raises(StaleExam):
        bench.pipeline.advance(exam, lambda: None)
    bench.store.release_exam(exam, due_at=bench.now, now=bench.now)
    read_and_deliver(bench)
    assert bench.statuses() == ["delivered"]
    assert "rcc again" in {image.path.name for image in bench.builder.reports[-1].images}


def test_bytes_that_change_between_closing_and_reporting_are_in_the_only_result(bench):
    bench.send_four()
    bench.pipeline.advance(bench.claim(), lambda: None)
    closed = bench.claim()
    assert closed.status is ExamStatus.ANALYZED
    change(bench, "rcc", "rcc again")
    with pytest.raises(LeaseLost):
        bench.pipeline.advance(closed, lambda: None)
    read_and_deliver(bench)
    assert bench.statuses() == ["superseded", "delivered"]
    assert len(bench.senders["pacs"].held) == 1
    assert len(current(bench)) == 1


def test_a_corrected_result_that_cannot_be_built_leaves_the_older_one_to_be_delivered(
    bench, monkeypatch
):
    bench.send_four()
    bench.analyze()
    change(bench, "rcc", "rcc again")
    with monkeypatch.context() as patch:

        def refuse(report):
            raise ResultInvalid("an outline is open")

        patch.setattr(bench.builder, "objects", refuse)
        exam = bench.claim()
        bench.pipeline.advance(exam, lambda: None)
        closed = bench.claim()
        with pytest.raises(ResultInvalid):
            bench.pipeline.advance(closed, lambda: None)
    bench.deliver()
    assert bench.statuses() == ["delivered", "analyzed"]


def test_a_result_on_its_way_while_the_next_is_built_is_named_in_it(bench, monkeypatch):
    bench.send_four()
    bench.analyze()
    bench.send("late", "RCC")
    bench.pipeline.advance(bench.claim(), lambda: None)
    closed = bench.claim()
    assert closed.status is ExamStatus.ANALYZED
    build = bench.builder.objects

    def claimed_meanwhile(report):
        bench.store.claim_deliveries("pacs", "sender", now=bench.now, lease=LEASE, limit=9)
        return build(report)

    with monkeypatch.context() as patch:
        patch.setattr(bench.builder, "objects", claimed_meanwhile)
        with pytest.raises(StaleExam):
            bench.pipeline.advance(closed, lambda: None)
    bench.store.release_exam(closed, due_at=bench.now, now=bench.now)
    bench.analyze()
    assert len(bench.builder.reports[-1].predecessors) == 1
    assert len(current(bench)) == 1


def test_an_exam_sent_again_unchanged_after_it_was_purged_makes_no_second_result(bench):
    bench.send_four()
    read_and_deliver(bench)
    purge(bench)
    bench.send_four()
    read_and_deliver(bench)
    assert bench.statuses() == ["purged", "skipped"]
    assert set(bench.reasons().values()) == {"N113"}
    assert len(bench.files.kept) == 1
    assert bench.reader.decoded.count("rcc") == 1


def test_what_came_back_after_the_purge_is_read_with_an_image_that_is_new(bench):
    bench.send_four()
    read_and_deliver(bench)
    purge(bench)
    bench.send_four()
    read(bench)
    bench.send("late", "RCC")
    read_and_deliver(bench)
    assert bench.statuses() == ["purged", "skipped", "delivered"]
    report = bench.builder.reports[-1]
    assert (len(report.images), len(report.predecessors)) == (5, 1)


def test_a_purged_exam_that_nobody_got_is_read_again_when_it_comes_back(bench):
    bench.send_four()
    bench.analyze()
    bench.store.cancel(1, why="a test", by="anna", now=bench.now)
    purge(bench)
    bench.send_four()
    read_and_deliver(bench)
    assert bench.statuses() == ["purged", "delivered"]


def test_a_person_has_an_unchanged_exam_read_again_with_an_unchanged_model(bench):
    bench.send_four()
    read_and_deliver(bench)
    (first,) = bench.files.kept
    bench.wait(3600)
    bench.store.reanalyze(1, by="anna", now=bench.now)
    # The quiet time of its images is long over.
    bench.analyze()
    bench.deliver()
    assert bench.statuses() == ["delivered", "delivered"]
    assert [named.sop_instance_uid for named in bench.builder.reports[-1].predecessors] == [first]
    assert bench.reader.decoded.count("rcc") == 2
    assert first not in current(bench)
    assert len(current(bench)) == 1


def test_an_exam_with_too_few_views_is_read_again_without_waiting_for_more(bench):
    bench.send("rcc", "RCC")
    read_and_deliver(bench)
    bench.store.reanalyze(1, by="anna", now=bench.now)
    bench.analyze()
    assert bench.statuses() == ["delivered", "reported"]


def test_what_came_back_after_the_purge_is_read_again_when_a_person_asks(bench):
    bench.send_four()
    read_and_deliver(bench)
    purge(bench)
    bench.send_four()
    read(bench)
    bench.store.reanalyze(1, by="anna", now=bench.now)
    bench.analyze()
    bench.deliver()
    assert bench.statuses() == ["purged", "skipped", "delivered"]


STEPS = (
    "send",
    "change",
    "late",
    "read",
    "deliver",
    "fail",
    "reanalyze",
    "retry",
    "cancel",
    "wait",
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(st.sampled_from(STEPS), st.sampled_from(list(VIEWS)), st.integers(1, 3)),
        max_size=25,
    )
)
def test_in_any_order_every_image_is_accounted_for_in_at_most_one_current_set(tmp_path, steps):
    bench = Bench(tmp_path)
    sent: dict[str, str] = {}
    for number, (step, name, exam_id) in enumerate(steps):
        _do(bench, step, name, exam_id, number, sent)
        assert len(current(bench)) <= 1
    bench.senders["pacs"].trouble = None
    bench.wait(3600)
    read_and_deliver(bench)
    kept = {image.value.sop_instance_uid: image for image in bench.store.images.values()}
    assert {uid: image.value.sha256 for uid, image in kept.items()} == sent
    assert len(current(bench)) <= 1
    ended = {"delivered", "superseded", "cancelled", "failed"}
    assert set(bench.statuses()) <= ended
    newest = bench.store.jobs[len(bench.store.jobs)] if bench.store.jobs else None
    if newest and newest.status is ExamStatus.DELIVERED:
        # What the archive has of the newest revision is made of the bytes that came last.
        read_from = {image.path.name for image in bench.builder.reports[-1].images}
        assert read_from == set(sent.values())


def _do(
    bench: Bench, step: str, name: str, exam_id: int, number: int, sent: dict[str, str]
) -> None:
    known = {image.value.sop_instance_uid for image in bench.store.images.values()}
    match step:
        case "send" if derive_uid(name) not in known:
            bench.send(name, VIEWS[name])
            sent[derive_uid(name)] = name
        case "change" if derive_uid(name) in known:
            change(bench, name, f"{name} {number}")
            sent[derive_uid(name)] = f"{name} {number}"
        case "late":
            bench.send(f"late {number}", VIEWS[name])
            sent[derive_uid(f"late {number}")] = f"late {number}"
        case "read":
            bench.analyze()
        case "deliver" | "fail":
            bench.senders["pacs"].trouble = SendCause.UNREACHABLE if step == "fail" else None
            bench.deliver()
        case "reanalyze" | "retry" | "cancel" if exam_id in bench.store.jobs:
            _ask(bench, step, exam_id)
        case "wait":
            bench.wait(60)


def _ask(bench: Bench, step: str, exam_id: int) -> None:
    status = bench.store.jobs[exam_id].status
    busy = {"receiving", "analyzed"} & set(bench.statuses())
    if step == "reanalyze" and not busy:
        bench.store.reanalyze(exam_id, by="anna", now=bench.now)
    elif step == "retry" and status is ExamStatus.REPORTED:
        bench.store.retry(exam_id, by="anna", now=bench.now)
    elif step == "cancel" and status is ExamStatus.REPORTED:
        bench.store.cancel(exam_id, why="a test", by="anna", now=bench.now)
