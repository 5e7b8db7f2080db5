"""Who may sign in, for how long, and how soon again after a failure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadnode.core.accounts import (
    AttemptRules,
    Role,
    SessionRules,
    address_key,
    name_of,
    name_problem,
    password_of,
    password_problem,
    wait_after,
)

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
RULES = AttemptRules()


def wait(*ages: timedelta, free: int = 3, rules: AttemptRules = RULES) -> timedelta:
    return wait_after([NOW - age for age in ages], free=free, rules=rules, now=NOW)


def test_each_role_may_do_what_those_before_it_may():
    assert Role.VIEWER < Role.OPERATOR < Role.ADMIN


class TestWaiting:
    def test_who_has_not_failed_does_not_wait(self):
        assert wait() == timedelta(0)
        assert wait(free=0) == timedelta(0)

    def test_the_free_failures_cost_nothing(self):
        assert wait(TICK, TICK) == timedelta(0)

    def test_each_further_failure_doubles_the_wait(self):
        at_once = timedelta(0)
        waits = [wait(*[at_once] * number) for number in (3, 4, 5)]
        assert waits == [RULES.first_wait, 2 * RULES.first_wait, 4 * RULES.first_wait]

    def test_the_wait_counts_from_the_last_failure_and_ends_at_its_moment(self):
        first = RULES.first_wait
        assert wait(first - TICK, 2 * first, 2 * first) == TICK
        assert wait(first, 2 * first, 2 * first) == timedelta(0)

    def test_it_never_becomes_longer_than_the_longest(self):
        assert wait(*[timedelta(0)] * 500) == RULES.longest_wait

    def test_old_failures_are_forgotten(self):
        forgotten = [RULES.memory] * 9
        assert wait(*forgotten) == timedelta(0)
        assert wait(*forgotten, SECOND, SECOND) == timedelta(0)

    @given(st.lists(st.integers(-100_000, 100_000), max_size=40))
    def test_a_clock_that_was_set_back_locks_nobody_out_for_longer(self, seconds: list[int]):
        ages = [timedelta(seconds=number) for number in seconds]
        assert timedelta(0) <= wait(*ages) <= RULES.longest_wait

    def test_a_guesser_who_never_rests_gets_few_guesses_in_a_day(self):
        now = NOW
        failures: list[datetime] = []
        while now < NOW + timedelta(days=1):
            pause = wait_after(failures, free=RULES.free_by_name, rules=RULES, now=now)
            if not pause:
                failures.append(now)
            now += pause
        assert len(failures) < 250


class TestSessions:
    RULES = SessionRules(idle=timedelta(minutes=10), longest=timedelta(hours=1))

    def test_it_ends_when_nobody_has_used_it_for_the_idle_time(self):
        used = NOW - timedelta(minutes=10)
        assert not self.RULES.over(NOW - timedelta(minutes=30), used + TICK, now=NOW)
        assert self.RULES.over(NOW - timedelta(minutes=30), used, now=NOW)

    def test_it_ends_after_the_longest_time_however_busy_it_is(self):
        began = NOW - timedelta(hours=1)
        assert not self.RULES.over(began + TICK, NOW, now=NOW)
        assert self.RULES.over(began, NOW, now=NOW)


@pytest.mark.parametrize("name", ["anna", "a", "anna.b-c_d@site.example", "7", "x" * 64])
def test_a_name_that_can_be_typed_is_taken(name):
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name", ["", "Anna", "anna b", "-anna", "x" * 65, "anna\n", "token:x", "ännä", "localhost"]
)
def test_a_name_that_could_be_mistaken_is_refused(name):
    assert name_problem(name)


def test_a_name_is_the_same_however_it_is_typed():
    assert name_of("  Anna ") == "anna"
    assert name_of("\uff41nna") == "anna"


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("elevenchars", "at least 12"),
        ("x" * 1025, "at most 1024"),
        ("annaanna1234", "more than the name"),
        ("AnnaAnnaAnnaAnna", "more than the name"),
        ("aaaaaaaabbbb", "different characters"),
    ],
)
def test_a_password_that_is_soon_guessed_is_refused(password, says):
    assert says in (password_problem(password, "anna") or "")


@pytest.mark.parametrize("password", ["twelve chars", "correct horse battery", "pässwörtlich!"])
def test_any_other_password_is_taken(password):
    assert password_problem(password, "anna") is None


def test_a_password_is_the_same_on_every_keyboard():
    assert password_of("pa\u0308sswo\u0308rtlich") == password_of("pässwörtlich")


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_one_site_counts_as_one_address(address, key):
    assert address_key(address) == key
