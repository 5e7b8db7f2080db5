"""What the lanes ask the database every second, and the receiver for each image, stays quick with
years of exams in it: no statement reads a whole table.

SQLite plans without statistics, so an empty database shows the plans of a full one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from cadnode.core.jobs import ExamStatus
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.hints import HintRecords
from cadnode.storage.tables import metadata
from tests.contract.exams import (
    DAY,
    DONE,
    LEASE,
    T0,
    claim,
    new_image,
    report,
    sent,
)


class Plans:
    """Says how SQLite goes about every statement while it listens."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def __call__(self, _connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any):
        if statement.split()[0] not in ("SELECT", "UPDATE", "DELETE", "WITH"):
            return
        explaining = cursor.connection.cursor()
        for line in explaining.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall():
            self.seen.append((statement, line[3]))
        explaining.close()

    @property
    def slow(self) -> list[tuple[str, str]]:
        """Every step that grows with the number of exams."""
        # All that is at one destination, in any state, is the history of the node.
        history = "(destination=? AND status=?)"
        return [
            (statement, step)
            for statement, step in self.seen
            if (step.startswith("SCAN ") and step.split()[1] in metadata.tables)
            or step.endswith(history)
        ]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlExamStore]:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    upgrade(url)
    database = Database(url)
    yield SqlExamStore(database)
    database.close()


@pytest.fixture
def plans() -> Iterator[Plans]:
    plans = Plans()
    event.listen(Engine, "before_cursor_execute", plans)
    yield plans
    event.remove(Engine, "before_cursor_execute", plans)


def test_the_check_sees_a_statement_that_reads_a_whole_table(store: SqlExamStore, plans: Plans):
    with store._database.read() as connection:
        connection.exec_driver_sql("SELECT id FROM images WHERE size > 5")
    assert plans.slow


def test_what_is_polled_reads_no_whole_table(store: SqlExamStore, plans: Plans):
    assert store.claim_exam("w", now=T0, lease=LEASE) is None
    assert not store.claim_deliveries("pacs", "w", now=T0, lease=LEASE, limit=32)
    store.claim_proofs("pacs", "w", now=T0, lease=LEASE, limit=100)
    assert store.claim_request("w", now=T0, lease=LEASE) is None
    store.line("pacs")
    store.hold_probe("pacs", now=T0, lease=LEASE)
    assert plans.seen
    assert not plans.slow


def test_what_the_sweep_asks_for_sorts_nothing_that_waits_at_a_destination(
    store: SqlExamStore, plans: Plans
):
    HintRecords(store._database).due(["pacs"], now=T0, limit=500)
    asked = [step for statement, step in plans.seen if "FROM deliveries" in statement]
    assert any("ix_deliveries_pending (destination=? AND priority=?" in step for step in asked)
    assert not any("TEMP B-TREE" in step for step in asked)
    assert not plans.slow


def test_the_life_of_an_exam_reads_no_whole_table(store: SqlExamStore, plans: Plans):
    store.accept(new_image(), now=T0)
    exam = report(store, "pacs")
    for delivery in store.claim_deliveries("pacs", "w", now=T0 + DAY, lease=LEASE, limit=5):
        store.record_delivery(delivery, sent(delivery), DONE, proof_due_at=T0 + DAY, now=T0 + DAY)
    (proof,) = store.claim_proofs("pacs", "w", now=T0 + DAY, lease=LEASE, limit=5)
    store.record_request([proof], "2.25.1", report_due_at=T0 + 2 * DAY, now=T0 + DAY)
    store.cancel(exam.id, why="a test", by="me", now=T0 + DAY)
    store.accept(new_image(content="other"), now=T0 + 2 * DAY)
    store.accept(new_image(number=2), now=T0 + 2 * DAY)
    assert plans.seen
    assert not plans.slow


def test_a_purge_reads_no_whole_table_while_it_holds_the_database(
    store: SqlExamStore, plans: Plans
):
    store.accept(new_image(), now=T0)
    exam = claim(store)
    store.move_exam(exam, ExamStatus.SKIPPED, text="nothing in it", now=T0)
    assert store.mark_purged(exam.id, now=T0 + DAY)
    assert plans.seen
    assert not plans.slow


def test_what_is_claimed_by_the_dozen_is_chosen_once(store: SqlExamStore, plans: Plans):
    # PostgreSQL may run `IN (SELECT ... LIMIT n FOR UPDATE)` once for each row and so claim more.
    store.accept(new_image(), now=T0)
    report(store, "pacs")
    (delivery,) = store.claim_deliveries("pacs", "w", now=T0 + DAY, lease=LEASE, limit=1)
    store.record_delivery(delivery, sent(delivery), DONE, proof_due_at=T0, now=T0 + DAY)
    assert store.claim_proofs("pacs", "w", now=T0 + DAY, lease=LEASE, limit=1)
    claims = {text for text, _ in plans.seen if "UPDATE deliveries SET lease_owner" in text}
    assert len(claims) == 2
    assert all(text.startswith("WITH chosen AS") for text in claims)
