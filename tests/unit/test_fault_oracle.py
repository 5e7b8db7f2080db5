"""The oracle of the fault harness can fail: each thing it looks for is found in a doctored site."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.archive import Held
from tests.faults.ledger import SentImage
from tests.faults.oracle import ExamRow, ImageRow, ResultRow, Seen, is_settled, judge

CAD_SR, TID_1500 = "1.2.840.10008.5.1.4.1.1.88.50", "1.2.840.10008.5.1.4.1.1.88.33"
SENT = SentImage("1.1", "1.2.840.10008.5.1.4.1.1.1.2", "1", b"pixels")
EXAM = ExamRow(1, "1", 1, "delivered", None)
IMAGE = ImageRow("1.1", 1, "analyzed", None, SENT.sha256, SENT.sha256)
BOTH = frozenset({"first", "second"})
RESULTS = (
    ResultRow("1.8", 1, CAD_SR, frozenset(), whole=True, delivered_to=BOTH),
    ResultRow("1.9", 1, TID_1500, frozenset(), whole=True, delivered_to=BOTH),
)


def held(*results: ResultRow, study: str = "1") -> dict[str, Held]:
    """An archive that holds these."""
    return {
        r.sop_instance_uid: Held(
            r.sop_class_uid, r.sop_instance_uid, study, r.predecessors, frozenset({"a"})
        )
        for r in results
    }


GOOD = Seen([SENT], [EXAM], [IMAGE], RESULTS, {"first": held(*RESULTS), "second": held(*RESULTS)})
LATE = ExamRow(2, "1", 2, "delivered", None)
LATE_RESULTS = (
    ResultRow("2.8", 2, CAD_SR, frozenset({"1.8", "1.9"}), whole=True, delivered_to=BOTH),
    ResultRow("2.9", 2, TID_1500, frozenset({"1.8", "1.9"}), whole=True, delivered_to=BOTH),
)
ALL_RESULTS = (*RESULTS, *LATE_RESULTS)
REVISED = Seen(
    [SENT],
    [EXAM, LATE],
    [IMAGE],
    ALL_RESULTS,
    {"first": held(*ALL_RESULTS), "second": held(*ALL_RESULTS)},
)


def test_a_good_site_is_found_good():
    assert judge(GOOD).good
    assert judge(REVISED).good


@pytest.mark.parametrize(
    ("doctored", "sentence"),
    [
        (replace(GOOD, images=[]), "is not in the database"),
        (replace(GOOD, images=[replace(IMAGE, sha256="other")]), "with other bytes"),
        (replace(GOOD, images=[replace(IMAGE, sha256_on_disk=None)]), "its file is gone"),
        (replace(GOOD, images=[replace(IMAGE, sha256_on_disk="x")]), "its file is damaged"),
        (replace(GOOD, archives={"first": {}, "second": held(*RESULTS)}), "first has it not"),
        (replace(GOOD, results=[replace(RESULTS[0], whole=False), RESULTS[1]]), "gone or damaged"),
        (replace(GOOD, results=[], archives={"first": {}, "second": {}}), "without a result"),
    ],
)
def test_what_is_lost_is_found(doctored: Seen, sentence: str):
    assert any(sentence in line for line in judge(doctored).lost)


def test_a_purged_exam_needs_no_files():
    exam = replace(EXAM, status="purged")
    results = [replace(result, whole=False) for result in RESULTS]
    gone = replace(IMAGE, sha256_on_disk=None)
    assert judge(replace(GOOD, exams=[exam], images=[gone], results=results)).good


def _twice(uid: str) -> Seen:
    """A second set at the first archive that names no predecessor."""
    second = ResultRow(uid, 2, CAD_SR, frozenset(), whole=True, delivered_to=frozenset({"first"}))
    archives = {"first": held(*RESULTS, second), "second": held(*RESULTS)}
    return replace(REVISED, results=[*RESULTS, second], archives=archives, exams=[EXAM, LATE])


@pytest.mark.parametrize(
    ("doctored", "sentence"),
    [
        (
            replace(GOOD, archives={**GOOD.archives, "first": held(*RESULTS, LATE_RESULTS[0])}),
            "which no exam knows",
        ),
        (_twice("3.8"), "several current results"),
        (
            replace(GOOD, results=[*RESULTS, replace(RESULTS[0], sop_instance_uid="1.7")]),
            "several results of class",
        ),
        (
            replace(
                GOOD,
                archives={
                    **GOOD.archives,
                    "first": {
                        uid: replace(item, contents=frozenset({"a", "b"}))
                        for uid, item in held(*RESULTS).items()
                    },
                },
            ),
            "with different bytes",
        ),
        (
            replace(
                REVISED,
                results=[*RESULTS, *(replace(r, predecessors=frozenset()) for r in LATE_RESULTS)],
            ),
            "of an older revision as current",
        ),
    ],
)
def test_what_is_there_twice_is_found(doctored: Seen, sentence: str):
    assert any(sentence in line for line in judge(doctored).duplicated)


@pytest.mark.parametrize(
    ("doctored", "sentence"),
    [
        (replace(GOOD, exams=[replace(EXAM, status="receiving")]), "still receiving"),
        (replace(GOOD, exams=[replace(EXAM, status="reported")]), "still reported"),
        (replace(GOOD, exams=[replace(EXAM, status="failed")]), "failed without a reason"),
        (replace(GOOD, images=[replace(IMAGE, state="received")]), "still received"),
        (
            replace(GOOD, results=[replace(RESULTS[0], unproved_at=BOTH), RESULTS[1]]),
            "still unproved at second",
        ),
        (replace(GOOD, images=[replace(IMAGE, state="failed")]), "failed without a reason"),
        (
            replace(GOOD, acknowledged=[SENT, replace(SENT, study_instance_uid="9")]),
            "acknowledged images and no exam",
        ),
    ],
)
def test_what_is_stuck_is_found(doctored: Seen, sentence: str):
    assert any(sentence in line for line in judge(doctored).stuck)


def test_an_exam_that_failed_with_a_reason_is_not_stuck():
    exam = replace(EXAM, status="failed", error_code="E602")
    assert judge(replace(GOOD, exams=[exam])).good


@pytest.mark.parametrize("field", ["partial_files", "orphans", "fsck"])
def test_what_is_left_over_is_found(field: str):
    left = {field: ["something"]}
    assert judge(replace(GOOD, **left)).other  # type: ignore[arg-type]


def test_a_site_settles_when_nothing_is_under_way():
    waiting = replace(IMAGE, state="received")
    assert is_settled([EXAM], [IMAGE])
    assert not is_settled([EXAM], [waiting])
    assert not is_settled([replace(EXAM, status="reported")], [IMAGE])
    assert is_settled([replace(EXAM, status="failed")], [waiting])
