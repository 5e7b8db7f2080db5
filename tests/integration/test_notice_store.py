"""Notices in the job database: told once, by one process, whatever dies in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from cadnode.clock_watch import horizons
from cadnode.config import Settings
from cadnode.core.jobs import ExamStatus, Problem
from cadnode.core.notices import (
    MESSAGE_LEASE,
    About,
    Condition,
    NoticeKind,
    NoticeRules,
    Surveyed,
)
from cadnode.storage.clock import bring_forward
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.notices import NoticeStore, settled
from cadnode.storage.tables import notice_messages
from tests.contract.exams import LEASE, T0, new_image

RULES = NoticeRules(collect=timedelta(minutes=1), quiet=timedelta(minutes=30))
MINUTE = timedelta(minutes=1)
BOTH = ("mail", "webhook")
DOWN = Condition(NoticeKind.DESTINATION_DOWN, "pacs", T0, "pacs does not answer.")
LOOKED = frozenset({NoticeKind.DESTINATION_DOWN})


@dataclass
class Desk:
    """A job database, and two processes that look after its notices."""

    exams: SqlExamStore
    one: NoticeStore
    other: NoticeStore
    database: Database

    def fail_exams(self, count: int, code: str = "E602", at=T0) -> None:
        for number in range(count):
            uid = f"1.2.{code[1:]}.{number}.{int(at.timestamp())}"
            self.exams.accept(new_image(1, uid), now=at)
            exam = self.exams.claim_exam("w", now=at, lease=LEASE)
            assert exam is not None
            self.exams.move_exam(
                exam, ExamStatus.FAILED, text="It failed.", problem=Problem(code, "no"), now=at
            )

    def due(self, channel: str = "mail", *, now=T0, owner: str = "one"):
        return self.one.claim(channel, owner, now=now, lease=LEASE)

    def survey(self, *conditions: Condition, now=T0, undecided=()) -> None:
        found = Surveyed(LOOKED, conditions, frozenset(undecided))
        for process in (self.one, self.other):
            process.survey(found, RULES, BOTH, now=now)

    def messages(self) -> list[tuple[str, str, str]]:
        with self.database.read() as connection:
            rows = connection.execute(select(notice_messages).order_by(notice_messages.c.id))
            return [(row.channel, row.about, row.status) for row in rows]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    url = f"sqlite:///{tmp_path / 'cadnode.db'}"
    upgrade(url)
    database, second = Database(url), Database(url)
    desk = Desk(SqlExamStore(database), NoticeStore(database), NoticeStore(second), database)
    assert desk.one.read_events(RULES, BOTH, now=T0) == ()
    yield desk
    database.close()
    second.close()


class TestFailedExams:
    def test_what_failed_before_the_first_look_ever_is_told_to_nobody(self, tmp_path: Path):
        url = f"sqlite:///{tmp_path / 'old.db'}"
        upgrade(url)
        database = Database(url)
        store = NoticeStore(database)
        old = Desk(SqlExamStore(database), store, store, database)
        old.fail_exams(3)
        assert store.read_events(RULES, BOTH, now=T0) == ()
        assert old.due(now=T0 + 10 * MINUTE) == ()
        database.close()

    def test_a_hundred_exams_of_one_cause_are_one_message(self, desk: Desk):
        desk.fail_exams(98)
        desk.fail_exams(2, "E801")
        moves = desk.one.read_events(RULES, BOTH, now=T0)
        assert sum(move.status is ExamStatus.FAILED for move in moves) == 100
        assert desk.due(now=T0 + MINUTE - timedelta(seconds=1)) == ()
        due = desk.due(now=T0 + MINUTE)
        assert [(m.notice.subject, m.notice.count) for m in due] == [("E602", 98), ("E801", 2)]
        assert due[0].notice.exams == tuple(range(1, 21))

    def test_each_event_is_read_by_one_process_only(self, desk: Desk):
        desk.fail_exams(2)
        assert len(desk.one.read_events(RULES, BOTH, now=T0)) == 4
        assert desk.other.read_events(RULES, BOTH, now=T0) == ()
        assert [m.notice.count for m in desk.due(now=T0 + MINUTE)] == [2]

    def test_more_of_the_same_before_the_message_goes_out_are_counted_with_it(self, desk: Desk):
        desk.fail_exams(1)
        desk.one.read_events(RULES, BOTH, now=T0)
        desk.fail_exams(2, at=T0 + MINUTE / 2)
        desk.other.read_events(RULES, BOTH, now=T0 + MINUTE / 2)
        assert [m.notice.count for m in desk.due(now=T0 + MINUTE)] == [3]

    def test_more_of_the_same_after_it_wait_until_the_quiet_time_is_over(self, desk: Desk):
        desk.fail_exams(1)
        desk.one.read_events(RULES, BOTH, now=T0)
        told = desk.due(now=T0 + MINUTE)
        desk.one.sent(told, "one", now=T0 + MINUTE)
        desk.fail_exams(1, at=T0 + 2 * MINUTE)
        desk.one.read_events(RULES, BOTH, now=T0 + 2 * MINUTE)
        assert desk.due(now=T0 + 31 * MINUTE - timedelta(seconds=1)) == ()
        assert [m.notice.count for m in desk.due(now=T0 + 31 * MINUTE)] == [1]

    def test_a_kind_nobody_wants_makes_no_notice_and_its_events_are_still_counted(self, desk: Desk):
        desk.fail_exams(1)
        rules = NoticeRules(kinds=frozenset({NoticeKind.DISK}))
        assert len(desk.one.read_events(rules, BOTH, now=T0)) == 2
        assert desk.due(now=T0 + 10 * MINUTE) == ()

    def test_what_fails_after_a_site_has_got_a_channel_is_told(self, desk: Desk):
        desk.fail_exams(3)
        desk.one.read_events(RULES, (), now=T0)
        desk.fail_exams(1, at=T0 + MINUTE)
        desk.one.read_events(RULES, BOTH, now=T0 + MINUTE)
        assert [m.notice.count for m in desk.due(now=T0 + 2 * MINUTE)] == [1]

    def test_what_fails_after_the_channel_of_an_earlier_message_is_gone_is_told(self, desk: Desk):
        desk.fail_exams(1)
        desk.one.read_events(RULES, ("mail",), now=T0)
        desk.one.drop_channels(["webhook"])
        desk.fail_exams(1, at=T0 + MINUTE)
        desk.one.read_events(RULES, ("webhook",), now=T0 + MINUTE)
        assert [m.notice.count for m in desk.due("webhook", now=T0 + 2 * MINUTE)] == [2]

    def test_a_clock_that_was_set_back_by_a_year_holds_no_message_back(self, desk: Desk):
        ahead = T0 + timedelta(days=365)
        desk.fail_exams(1, at=ahead)
        desk.one.read_events(RULES, BOTH, now=ahead)
        told = desk.due(now=ahead + MINUTE)
        desk.one.sent(told, "one", now=ahead + MINUTE)
        desk.fail_exams(1, "E801", at=ahead)
        desk.one.read_events(RULES, BOTH, now=ahead + MINUTE)
        # What waited is due, and what was told is not "a short while ago" for a year.
        bring_forward(desk.database, horizons(Settings()), now=T0)
        waited = desk.due(now=T0)
        assert [m.notice.subject for m in waited] == ["E801"]
        desk.one.sent(waited, "one", now=T0)
        desk.fail_exams(1, at=T0)
        desk.one.read_events(RULES, BOTH, now=T0)
        assert [m.notice.subject for m in desk.due(now=T0 + RULES.quiet)] == ["E602"]

    def test_a_clock_that_was_set_back_by_a_year_leaves_no_message_with_a_dead_process(
        self, desk: Desk
    ):
        ahead = T0 + timedelta(days=365)
        desk.fail_exams(1, at=ahead)
        desk.one.read_events(RULES, BOTH, now=ahead)
        assert desk.due(now=ahead + MINUTE, owner="dead")
        bring_forward(desk.database, horizons(Settings()), now=T0)
        assert desk.due(now=T0 + MESSAGE_LEASE)


@pytest.mark.parametrize(
    ("age", "read"),
    [
        (timedelta(seconds=1), False),
        (-timedelta(seconds=1), False),
        (timedelta(seconds=6), True),
        (-timedelta(hours=1), True),
    ],
)
def test_where_several_write_young_events_wait_and_those_of_a_clock_set_back_do_not(
    age: timedelta, read: bool
):
    connection = SimpleNamespace(dialect=SimpleNamespace(name="postgresql"))
    rows = [SimpleNamespace(at=T0 - age)]
    found = settled(connection, rows, T0)  # type: ignore[arg-type]
    assert len(found) == read


class TestConditions:
    def test_what_lasts_is_told_once_on_each_channel(self, desk: Desk):
        for minute in range(5):
            desk.survey(DOWN, now=T0 + minute * MINUTE)
        assert desk.messages() == [("mail", "begin", "pending"), ("webhook", "begin", "pending")]
        (mail,) = desk.due("mail")
        (hook,) = desk.due("webhook")
        assert mail.notice == hook.notice
        assert (mail.notice.state, mail.notice.text) == ("open", DOWN.text)
        assert [n.subject for n in desk.one.open_notices()] == ["pacs"]

    def test_a_channel_that_the_site_gets_while_it_lasts_is_told_too(self, desk: Desk):
        found = Surveyed(LOOKED, (DOWN,))
        desk.one.survey(found, RULES, (), now=T0)
        desk.one.survey(found, RULES, ("mail",), now=T0 + MINUTE)
        desk.one.survey(found, RULES, BOTH, now=T0 + 2 * MINUTE)
        desk.one.survey(found, RULES, BOTH, now=T0 + 3 * MINUTE)
        assert desk.messages() == [("mail", "begin", "pending"), ("webhook", "begin", "pending")]

    def test_the_end_of_what_a_channel_was_not_told_is_not_told_there(self, desk: Desk):
        desk.one.survey(Surveyed(LOOKED, (DOWN,)), RULES, ("mail",), now=T0)
        desk.one.sent(desk.due("mail"), "one", now=T0)
        desk.one.survey(Surveyed(LOOKED), RULES, BOTH, now=T0 + MINUTE)
        assert desk.messages() == [("mail", "begin", "sent"), ("mail", "end", "pending")]

    def test_its_end_is_told_once_too(self, desk: Desk):
        desk.survey(DOWN)
        desk.one.sent(desk.due("mail"), "one", now=T0)
        desk.survey(now=T0 + 40 * MINUTE)
        desk.survey(now=T0 + 41 * MINUTE)
        (end,) = desk.due("mail", now=T0 + 41 * MINUTE)
        assert (end.notice.about, end.notice.state) == (About.END, "closed")
        assert end.notice.until == T0 + 40 * MINUTE
        assert desk.one.open_notices() == []

    def test_what_cannot_be_judged_changes_nothing(self, desk: Desk):
        desk.survey(DOWN)
        desk.survey(undecided=[DOWN.key], now=T0 + MINUTE)
        assert len(desk.one.open_notices()) == 1
        desk.one.survey(Surveyed(frozenset({NoticeKind.DISK})), RULES, BOTH, now=T0 + MINUTE)
        assert len(desk.one.open_notices()) == 1

    def test_one_that_comes_and_goes_is_not_told_again_within_the_quiet_time(self, desk: Desk):
        desk.survey(DOWN)
        desk.one.sent(desk.due("mail"), "one", now=T0)
        desk.survey(now=T0 + MINUTE)
        desk.one.sent(desk.due("mail", now=T0 + MINUTE), "one", now=T0 + MINUTE)
        for minute in range(2, 20, 2):
            desk.survey(DOWN, now=T0 + minute * MINUTE)
            assert desk.due("mail", now=T0 + minute * MINUTE) == ()
            desk.survey(now=T0 + (minute + 1) * MINUTE)
            assert desk.due("mail", now=T0 + (minute + 1) * MINUTE) == ()
        desk.survey(DOWN, now=T0 + 20 * MINUTE)
        (again,) = desk.due("mail", now=T0 + 31 * MINUTE)
        assert again.notice.about is About.BEGIN

    def test_its_end_comes_after_its_beginning_where_the_server_was_down_meanwhile(
        self, desk: Desk
    ):
        desk.survey(DOWN)
        first = desk.due("mail")
        desk.one.not_sent(first, "one", error="no connection", again_at=T0 + 5 * MINUTE)
        desk.survey(now=T0 + MINUTE)
        late = desk.due("mail", now=T0 + 5 * MINUTE)
        assert [m.notice.about for m in late] == [About.BEGIN, About.END]


class TestSending:
    def test_two_processes_never_send_the_same(self, desk: Desk):
        desk.survey(DOWN)
        assert len(desk.due("mail")) == 1
        assert desk.other.claim("mail", "other", now=T0, lease=LEASE) == ()

    def test_what_a_process_that_died_was_sending_is_sent_by_another(self, desk: Desk):
        desk.survey(DOWN)
        desk.due("mail")
        later = T0 + LEASE
        (found,) = desk.other.claim("mail", "other", now=later, lease=LEASE)
        assert found.tries == 2
        # The one that was thought dead comes back and changes nothing.
        desk.one.not_sent([found], "one", error="late", again_at=None)
        desk.other.sent([found], "other", now=later)
        assert desk.messages()[0] == ("mail", "begin", "sent")

    def test_what_was_not_sent_is_due_again_later_and_given_up_in_the_end(self, desk: Desk):
        desk.survey(DOWN)
        desk.one.not_sent(desk.due("mail"), "one", error="451", again_at=T0 + MINUTE)
        assert [(u.channel, u.error) for u in desk.one.unsent()] == [
            ("mail", "451"),
            ("webhook", ""),
        ]
        assert desk.due("mail", now=T0 + MINUTE - timedelta(microseconds=1)) == ()
        again = desk.due("mail", now=T0 + MINUTE)
        assert again[0].due_since == T0
        desk.one.not_sent(again, "one", error="451", again_at=None)
        assert desk.due("mail", now=T0 + timedelta(days=2)) == ()
        assert desk.messages()[0] == ("mail", "begin", "given up")

    def test_nothing_waits_for_a_channel_that_the_settings_no_longer_have(self, desk: Desk):
        desk.survey(DOWN)
        desk.one.drop_channels(["mail"])
        assert [u.channel for u in desk.one.unsent()] == ["mail"]
