"""What persons are told, in values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cadnode.core.breaker import LineState, LineStatus
from cadnode.core.notices import (
    About,
    Notice,
    NoticeKind,
    NoticeRules,
    as_json,
    certificates_ending,
    compose,
    disk_low,
    failed_text,
    lines_down,
    processes_missing,
    together,
)
from cadnode.core.processes import SEEN_WITHIN, ProcessRecord

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
RULES = NoticeRules()
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

DOWN = Notice(
    id=1,
    kind=NoticeKind.DESTINATION_DOWN,
    subject="pacs",
    text="pacs does not answer (no connection). Results wait and go out when it is back.",
    since=NOW - 20 * MINUTE,
    until=None,
    about=About.BEGIN,
)
FAILED = Notice(
    id=2,
    kind=NoticeKind.EXAM_FAILED,
    subject="E602",
    text="They wait for a person.",
    since=NOW,
    until=None,
    about=About.BEGIN,
    count=98,
    exams=tuple(range(1, 21)),
)


def message(*notices: Notice, link: str = ""):
    return compose(notices, message_id="m1", station="MAMMO1", link=link, now=NOW)


def opened(since: datetime, error: str = "no connection") -> LineStatus:
    return LineStatus(state=LineState.OPEN, since=since, error=error)


class TestConditions:
    def test_a_destination_is_down_after_the_minutes_and_no_tick_sooner(self):
        began = NOW - RULES.destination_down
        assert lines_down({"pacs": opened(began + MINUTE / 60)}, RULES, NOW).conditions == ()
        (found,) = lines_down({"pacs": opened(began)}, RULES, NOW).conditions
        assert (found.key, found.since) == ("destination-down:pacs", began)
        assert "no connection" in found.text

    def test_a_line_on_trial_is_neither_down_nor_back(self):
        trial = LineStatus(state=LineState.CLOSED, failures=2, since=NOW)
        found = lines_down({"pacs": trial, "pacs2": LineStatus()}, RULES, NOW)
        assert found.conditions == ()
        assert found.undecided == {"destination-down:pacs"}

    def test_a_disk_is_low_from_the_limit_on_and_back_two_percent_below_it(self):
        assert disk_low(100, 1000, RULES, NOW).conditions[0].key == "disk:data_dir"
        between = disk_low(101, 1000, RULES, NOW)
        assert not between.conditions
        assert between.undecided == {"disk:data_dir"}
        back = disk_low(121, 1000, RULES, NOW)
        assert (back.conditions, back.undecided) == ((), frozenset())

    def test_a_certificate_is_told_of_when_it_ends_within_the_days(self):
        ends = {"node": NOW + 30 * DAY - MINUTE, "pacs": NOW + 30 * DAY, "old": NOW - DAY}
        found = certificates_ending({**ends, "unseen": None}, RULES, NOW)
        assert [condition.subject for condition in found.conditions] == ["node", "old"]
        assert "in 29 days" in found.conditions[0].text
        assert "has expired" in found.conditions[1].text
        assert found.undecided == {"certificate:unseen"}

    def test_a_process_is_missed_when_it_has_not_been_seen_but_not_in_the_first_moments(self):
        record = ProcessRecord("x", "work", "here", 7, NOW - DAY, NOW - SEEN_WITHIN)
        expected = ("receive", "work")
        young = processes_missing([record], expected, NOW - SEEN_WITHIN, NOW)
        assert not young.conditions
        assert young.undecided == {"process:receive"}
        later = processes_missing([record], expected, NOW - DAY, NOW + MINUTE)
        assert {c.subject: c.since for c in later.conditions} == {
            "receive": NOW - DAY,
            "work": NOW - SEEN_WITHIN,
        }

    def test_several_looks_are_one(self):
        looks = [disk_low(1, 1000, RULES, NOW), lines_down({}, RULES, NOW)]
        found = together(looks)
        assert found.kinds == {NoticeKind.DISK, NoticeKind.DESTINATION_DOWN}
        assert len(found.conditions) == 1


class TestWords:
    def test_the_subject_says_where_and_what_in_a_line_that_a_telephone_shows(self):
        assert message(DOWN).subject == "MAMMO1: pacs does not answer"
        over = replace(DOWN, about=About.END, until=NOW)
        assert message(over).subject == "MAMMO1: pacs answers again"
        assert message(FAILED).subject == "MAMMO1: 98 exams failed (E602)"
        assert message(replace(FAILED, count=1)).subject == "MAMMO1: 1 exam failed (E602)"
        certificate = replace(DOWN, kind=NoticeKind.CERTIFICATE, subject="this node")
        assert message(certificate).subject == "MAMMO1: this node: certificate ends soon"

    def test_several_notices_are_one_message_that_begins_with_what_still_lasts(self):
        over = replace(DOWN, about=About.END, until=NOW)
        found = message(over, FAILED)
        assert found.subject == "MAMMO1: 98 exams failed (E602) (+1 more)"
        assert found.text.index("98 exams failed") < found.text.index("pacs answers again")

    def test_failed_exams_are_named_by_number_and_the_rest_is_counted(self):
        text = message(FAILED).text
        assert "Exams: 1, 2, 3," in text
        assert "and 78 more" in text
        assert "cadnode jobs retry --code E602" in text

    def test_the_end_says_from_when_to_when(self):
        text = message(replace(DOWN, about=About.END, until=NOW)).text
        assert "It was so from" in text
        assert "until" in text
        assert "does not answer" not in text

    def test_what_a_code_means_is_said_in_a_sentence(self):
        for code, words in (
            ("E602", "The destination refused an object for good"),
            ("E801", "A step ended badly too many times"),
            ("E000", "Something nobody planned for"),
            ("E999", "Something nobody planned for"),
        ):
            text = failed_text(code)
            assert text.startswith(words)
            assert text.count(".") == 3, text

    def test_the_console_is_linked_only_where_it_is_known(self):
        link = "https://cadnode.example"
        assert link in message(DOWN, link=link).text
        assert f"{link}/exams?status=failed\n" in message(FAILED, link=link).text
        assert "http" not in message(DOWN).text

    def test_the_json_of_a_webhook_says_the_same_in_stable_words(self):
        body = as_json(message(DOWN, replace(DOWN, id=3, about=About.END, until=NOW), FAILED))
        assert (body["version"], body["id"], body["station"]) == (1, "m1", "MAMMO1")
        assert [(n["id"], n["kind"], n["state"]) for n in body["notices"]] == [
            (1, "destination-down", "open"),
            (2, "exam-failed", "happened"),
            (3, "destination-down", "closed"),
        ]
        assert body["notices"][1]["count"] == 98
        assert body["notices"][2]["until"] == NOW.isoformat()
        assert body["url"] is None
