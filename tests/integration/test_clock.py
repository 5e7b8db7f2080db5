"""A clock that is set back by an hour: nothing waits for the hour to pass again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cadnode.clock_watch import LOOK_SECONDS, ClockLane, horizons
from cadnode.config import Settings
from cadnode.storage.clock import Horizons, bring_forward
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from tests.contract.exams import LEASE, SECOND, T0, new_image

HOUR = timedelta(hours=1)
HORIZONS = Horizons(exam=LEASE, delivery=LEASE, proof=LEASE, lease=LEASE, message=LEASE)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    upgrade(url)
    database = Database(url)
    yield database
    database.close()


def test_an_exam_that_is_due_in_an_hour_is_due_now(database: Database):
    store = SqlExamStore(database)
    store.accept(new_image(), now=T0)
    back = T0 - HOUR
    assert store.claim_exam("a", now=back, lease=LEASE) is None
    assert bring_forward(database, HORIZONS, now=back) == 2
    exam = store.claim_exam("a", now=back, lease=LEASE)
    assert exam is not None
    assert exam.last_image_at == back, "the quiet time counts from now"


def test_the_lease_of_a_dead_worker_ends_a_lease_from_now(database: Database):
    store = SqlExamStore(database)
    store.accept(new_image(), now=T0)
    assert store.claim_exam("dead", now=T0, lease=LEASE) is not None
    back = T0 - HOUR
    bring_forward(database, HORIZONS, now=back)
    assert store.claim_exam("b", now=back + LEASE - SECOND, lease=LEASE) is None
    assert store.claim_exam("b", now=back + LEASE, lease=LEASE) is not None


def test_times_within_their_horizon_are_left_alone(database: Database):
    store = SqlExamStore(database)
    store.accept(new_image(), now=T0)
    exam = store.claim_exam("a", now=T0, lease=LEASE)
    assert exam is not None
    store.release_exam(exam, due_at=T0 + LEASE, now=T0)
    assert bring_forward(database, HORIZONS, now=T0) == 0
    assert store.claim_exam("a", now=T0 + LEASE - SECOND, lease=LEASE) is None


def test_the_lane_notices_a_jump_back_once_and_no_jump_forward(database: Database):
    store, now, ticks, noticed = SqlExamStore(database), [T0], [0.0], []
    lane = ClockLane(
        database,
        horizons(Settings()),
        set_back=lambda: noticed.append(ticks[0]),
        clock=lambda: now[0],
        monotonic=lambda: ticks[0],
    )

    def look() -> None:
        ticks[0] += LOOK_SECONDS
        now[0] += timedelta(seconds=LOOK_SECONDS)
        assert lane.run_once() is False

    look()
    now[0] += HOUR
    look()
    assert noticed == []
    store.accept(new_image(), now=now[0])
    now[0] -= HOUR
    look()
    look()
    assert len(noticed) == 1
    assert store.claim_exam("a", now=now[0], lease=LEASE) is not None
