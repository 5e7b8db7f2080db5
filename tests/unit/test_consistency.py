"""What a node's rows may not say."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cadnode.core.consistency import (
    STUCK_AFTER,
    DeliveryFacts,
    ExamFacts,
    ImageFacts,
    Kind,
    NodeFacts,
    ResultFacts,
    contradictions,
)

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()

EXAM = ExamFacts(
    id=1,
    study_instance_uid="1.2",
    revision=1,
    status="delivered",
    error_code=None,
    failed_from=None,
    finished_at=NOW,
    due_at=NOW,
    lease_until=None,
    superseded_by=None,
)
IMAGE = ImageFacts(1, "1.2.9", "analyzed", "images/1", 10, "a")
RESULT = ResultFacts(1, 1, "2.25.1", "results/1", 10, "b")
DELIVERY = DeliveryFacts(1, 1, 1, "pacs", "delivered", NOW, None)


def facts(*exams: ExamFacts, images=(IMAGE,), results=(RESULT,), deliveries=(DELIVERY,), **more):
    return NodeFacts({exam.id: exam for exam in exams}, images, results, deliveries, **more)


def found(node: NodeFacts, now: datetime = NOW, **destinations: bool) -> list[tuple[str, str]]:
    """Code and subject of everything that contradicts itself."""
    destinations = destinations or {"pacs": True}
    return [
        (item.kind.code, item.subject)
        for item in contradictions(node, destinations=destinations, now=now)
    ]


def exam(status: str, **changes: Any) -> ExamFacts:
    return replace(EXAM, status=status, **changes)


def waiting(**changes: Any) -> DeliveryFacts:
    return replace(DELIVERY, **{"status": "pending", **changes})


def test_every_code_is_in_the_operations_guide_in_its_own_words():
    rows = re.findall(r"^\| (F\d{3}) \| (.*?) \| (.*?) \| (.*?) \|$", OPERATIONS, re.MULTILINE)
    assert [row[:3] for row in rows] == [
        (kind.code, kind.text, "error" if kind.is_error else "note") for kind in Kind
    ]
    assert all(row[3] for row in rows)


def test_no_code_is_used_twice():
    assert len({kind.code for kind in Kind}) == len(Kind)


@pytest.mark.parametrize(
    "node",
    [
        facts(EXAM),
        facts(),
        facts(exam("receiving", finished_at=None), results=(), deliveries=()),
        facts(exam("reported", finished_at=None), deliveries=(waiting(),)),
        facts(exam("cancelled"), deliveries=(replace(DELIVERY, status="cancelled"),)),
        facts(exam("skipped"), results=(), deliveries=()),
        facts(exam("purged"), images=()),
        facts(
            exam("failed", finished_at=None, error_code="E602", failed_from="reported"),
            deliveries=(replace(DELIVERY, status="failed"),),
        ),
        # Its images belong to a later revision, and are purged with that.
        facts(EXAM, images=()),
        # Read again for a new model: no image of its own.
        facts(
            replace(EXAM, superseded_by=2),
            exam("receiving", id=2, revision=2, finished_at=None),
            images=(replace(IMAGE, state="received"),),
        ),
    ],
    ids=lambda node: "+".join(e.status for e in node.exams.values()) or "empty",
)
def test_what_the_node_does_is_no_contradiction(node: NodeFacts):
    if not node.exams:
        node = NodeFacts({}, (), (), ())
    assert found(node) == []


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (facts(exam("waiting")), ("F103", "exam 1")),
        (facts(EXAM, images=(replace(IMAGE, state="lost"),)), ("F103", "1.2.9")),
        (facts(EXAM, deliveries=(replace(DELIVERY, status="gone"),)), ("F103", "delivery 1")),
        (facts(EXAM, acknowledged=frozenset({"1.2.9", "1.2.8"})), ("F301", "1.2.8")),
        (
            facts(EXAM, images=(IMAGE, replace(IMAGE, sop_instance_uid="1.3", exam_id=7))),
            ("F301", "1.3"),
        ),
        (facts(exam("analyzed"), images=(), results=(), deliveries=()), ("F302", "exam 1")),
        (facts(EXAM, results=()), ("F303", "exam 1")),
        (facts(EXAM, deliveries=(waiting(),)), ("F304", "exam 1")),
        (facts(exam("superseded"), deliveries=(waiting(),)), ("F304", "exam 1")),
        (
            facts(exam("committed"), deliveries=(replace(DELIVERY, proof="asked"),)),
            ("F304", "exam 1"),
        ),
        (facts(exam("reported", finished_at=None)), ("F305", "exam 1")),
        (
            facts(exam("failed", finished_at=None, failed_from="receiving")),
            ("F306", "exam 1"),
        ),
        (facts(exam("failed", finished_at=None, error_code="E801")), ("F306", "exam 1")),
        (facts(replace(EXAM, finished_at=None)), ("F307", "exam 1")),
        (
            facts(
                EXAM,
                replace(EXAM, id=2, revision=2),
                results=(RESULT, replace(RESULT, id=2, exam_id=2)),
            ),
            ("F308", "exam 2"),
        ),
        (facts(replace(EXAM, superseded_by=9)), ("F309", "exam 1")),
        (facts(replace(EXAM, superseded_by=1)), ("F309", "exam 1")),
        (
            facts(
                exam("reported", finished_at=None), deliveries=(waiting(destination="old-pacs"),)
            ),
            ("F310", "delivery 1"),
        ),
        (
            facts(
                exam("delivered"), deliveries=(replace(DELIVERY, destination="old", proof="asked"),)
            ),
            ("F310", "delivery 1"),
        ),
        (facts(EXAM, images=(replace(IMAGE, state="received"),)), ("F312", "1.2.9")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_it_never_does_is_told(node: NodeFacts, expected: tuple[str, str]):
    assert found(node) == [expected]


def test_a_delivery_to_a_destination_that_is_not_enabled_is_worth_a_note():
    node = facts(exam("reported", finished_at=None), deliveries=(waiting(),))
    assert found(node, pacs=False) == [("F311", "delivery 1")]
    assert not Kind.DESTINATION_OFF.is_error


def test_two_revisions_with_results_are_well_when_the_older_is_superseded():
    node = facts(
        replace(EXAM, superseded_by=2),
        replace(EXAM, id=2, revision=2),
        results=(RESULT, replace(RESULT, id=2, exam_id=2)),
    )
    assert found(node) == []


def test_an_image_may_wait_while_a_revision_of_its_study_is_open_or_failed():
    image = replace(IMAGE, state="received")
    for status in ("receiving", "failed", "cancelled"):
        other = exam(status, id=2, revision=2, error_code="E801", failed_from="receiving")
        assert found(facts(EXAM, other, images=(image,))) == []


class TestStuck:
    late = NOW + STUCK_AFTER + SECOND

    def test_what_nobody_takes_for_an_hour_is_worth_a_note(self):
        node = facts(
            exam("receiving", finished_at=None), results=(), deliveries=(waiting(exam_id=2),)
        )
        assert found(node, NOW + STUCK_AFTER) == []
        assert found(node, self.late) == [("F313", "exam 1"), ("F313", "delivery 1")]
        assert not Kind.STUCK.is_error

    def test_a_lease_counts_until_it_ends(self):
        held = exam("analyzed", finished_at=None, lease_until=NOW + 2 * SECOND)
        node = facts(held, results=(), deliveries=())
        assert found(node, self.late) == []
        assert found(node, self.late + 2 * SECOND) == [("F313", "exam 1")]

    def test_what_waits_for_a_silent_destination_is_not_stuck(self):
        reported = exam("reported", finished_at=None)
        node = facts(reported, deliveries=(waiting(),), silent=frozenset({"pacs"}))
        assert found(node, self.late) == []
        assert found(replace(node, silent=frozenset()), self.late) == [("F313", "delivery 1")]

    def test_a_proof_that_nobody_asks_for_is_told(self):
        asked = replace(DELIVERY, proof="wanted", proof_due_at=NOW)
        assert found(facts(EXAM, deliveries=(asked,)), NOW) == []
        assert found(facts(EXAM, deliveries=(asked,)), self.late) == [("F313", "delivery 1")]
