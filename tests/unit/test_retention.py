"""Which exams' files go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadnode.core.retention import (
    RECEIVED_AT_ONCE,
    DiskState,
    Purgeable,
    RetentionRules,
    bytes_to_free,
    choose,
    is_above_high_water,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RULES = RetentionRules(max_age=timedelta(days=30), high_water=0.9, low_water=0.7)
GB = 1 << 30


def exams(*entries: tuple[float, int]) -> list[Purgeable]:
    """Exams finished so many days ago, of so many bytes, numbered from 1."""
    return [
        Purgeable(number, f"1.{number}", NOW - timedelta(days=days), size)
        for number, (days, size) in enumerate(entries, 1)
    ]


def ids(chosen: list[Purgeable]) -> list[int]:
    return [exam.exam_id for exam in chosen]


any_exams = st.lists(
    st.tuples(st.floats(0, 100, allow_nan=False), st.integers(0, 1000)), max_size=30
).map(lambda entries: exams(*entries))


def test_what_is_older_than_the_site_wants_goes_and_nothing_else():
    candidates = exams((29, 5), (31, 5), (30, 5), (400, 5))
    assert ids(choose(candidates, wanted=0, rules=RULES, now=NOW)) == [4, 2]


def test_as_much_as_is_wanted_goes_oldest_first():
    candidates = exams((1, 100), (3, 100), (2, 100))
    assert ids(choose(candidates, wanted=101, rules=RULES, now=NOW)) == [2, 3]
    assert ids(choose(candidates, wanted=100, rules=RULES, now=NOW)) == [2]


@given(candidates=any_exams, wanted=st.integers(0, 20_000))
def test_only_what_was_offered_goes_and_no_more_than_is_wanted(candidates, wanted):
    chosen = choose(candidates, wanted=wanted, rules=RULES, now=NOW)
    assert set(chosen) <= set(candidates)
    assert len(set(chosen)) == len(chosen)
    before_their_time = [c for c in chosen if NOW - c.finished_at <= RULES.max_age]
    if before_their_time:
        # Without the youngest of them it would not have been enough.
        assert sum(exam.size for exam in chosen[:-1]) < wanted
    if len(chosen) < len(candidates):
        assert sum(exam.size for exam in chosen) >= wanted


@given(candidates=any_exams, wanted=st.integers(0, 20_000))
def test_nobody_is_purged_before_an_older_one(candidates, wanted):
    chosen = choose(candidates, wanted=wanted, rules=RULES, now=NOW)
    kept = [exam for exam in candidates if exam not in chosen]
    assert all(c.finished_at <= k.finished_at for c in chosen for k in kept)
    assert not any(NOW - k.finished_at > RULES.max_age for k in kept)


@given(
    total=st.integers(1 << 30, 1 << 45),
    free_share=st.floats(0, 1),
    high=st.floats(0.5, 1),
    gap=st.floats(0.01, 0.4),
    reserve=st.integers(0, 1 << 28),
)
def test_above_high_water_as_much_is_wanted_as_brings_the_disk_below_low_water(
    total, free_share, high, gap, reserve
):
    rules = RetentionRules(high_water=high, low_water=high - gap, reserve_bytes=reserve)
    disk = DiskState(total, free=int(total * free_share))
    wanted = bytes_to_free(disk, rules, draining=False)
    assert (wanted > 0) == is_above_high_water(disk, rules)
    if wanted:
        after = DiskState(total, disk.free + wanted)
        assert bytes_to_free(after, rules, draining=True) == 0
        assert not is_above_high_water(after, rules)
        # One byte less (and one for rounding) is not yet below low water.
        assert bytes_to_free(DiskState(total, disk.free + wanted - 2), rules, draining=True) > 0


def test_draining_goes_on_between_the_marks():
    between = DiskState(total=1000, free=200)
    assert bytes_to_free(between, RULES, draining=False) == 0
    assert bytes_to_free(between, RULES, draining=True) == 100


def test_exams_go_before_receiving_stops_also_on_a_small_disk():
    # The reserve is touched long before the high-water mark is.
    rules = RetentionRules(high_water=0.95, low_water=0.9, reserve_bytes=GB)
    stopped = DiskState(total=4 * GB, free=GB + RECEIVED_AT_ONCE - 1)
    assert is_above_high_water(stopped, rules)
    assert not is_above_high_water(DiskState(4 * GB, GB + RECEIVED_AT_ONCE), rules)
    assert bytes_to_free(stopped, rules, draining=False) == pytest.approx(0.05 * 4 * GB, rel=0.01)


def test_the_limit_in_bytes_counts_the_spool_alone():
    rules = RetentionRules(max_bytes=500, high_water=0.9, low_water=0.7)
    assert bytes_to_free(DiskState(1000, 900, spool=600), rules, draining=False) == 100
    assert bytes_to_free(DiskState(1000, 900, spool=500), rules, draining=False) == 0
    # Whichever wants more.
    assert bytes_to_free(DiskState(1000, 50, spool=600), rules, draining=False) == 250
