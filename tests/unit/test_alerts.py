"""What is wrong with the node and what to do about it, as pure rules; time is moved by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cadnode.core.alerts import alerts
from cadnode.core.breaker import LineState
from cadnode.core.node_status import (
    Alert,
    CertificateStatus,
    DayCounts,
    DestinationStatus,
    DiskStatus,
    Durations,
    FailedExams,
    Influx,
    OldestExam,
    PullStatus,
    forecast,
)
from cadnode.core.processes import SEEN_WITHIN, ProcessFacts, ProcessRecord
from cadnode.core.words import destination_state, disk_outlook, duration, size

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
GB = 10**9
NONE = Durations(0, None, None)
QUIET_DAY = DayCounts((), 0, 0, 0, 0, (), None, NONE, NONE)
ROOMY = DiskStatus("/data", 1000 * GB, 900 * GB, GB, None, None, levels_off=False)


def process(name: str, **changes: Any) -> ProcessRecord:
    yesterday = NOW - timedelta(days=1)
    record = ProcessRecord(name, name, "here", 1, yesterday, NOW, ProcessFacts("1", "abc"))
    return replace(record, **changes)


ALL = tuple(process(name) for name in ("receive", "work", "web"))


def destination(**changes: Any) -> DestinationStatus:
    up = DestinationStatus(
        name="pacs",
        enabled=True,
        state=LineState.CLOSED,
        since=None,
        probe_at=None,
        waiting=0,
        oldest=None,
        failed=0,
        unproved=0,
        delivered_at=NOW,
        error="",
    )
    return replace(up, **changes)


def said(
    *,
    day: DayCounts = QUIET_DAY,
    destinations: Sequence[DestinationStatus] = (),
    pulls: Sequence[PullStatus] = (),
    disk: DiskStatus = ROOMY,
    processes: Sequence[ProcessRecord] = ALL,
    certificates: Sequence[CertificateStatus] = (),
    expected: Sequence[str] = ("receive", "work", "web"),
    now: datetime = NOW,
) -> tuple[Alert, ...]:
    return alerts(
        day=day,
        destinations=destinations,
        pulls=pulls,
        disk=disk,
        processes=processes,
        certificates=certificates,
        expected=expected,
        now=now,
    )


def test_a_node_that_does_its_work_has_no_alert():
    assert said(destinations=[destination()]) == ()


def test_a_process_is_seen_until_its_time_is_over_and_no_longer():
    late = [replace(record, beat_at=NOW - SEEN_WITHIN) for record in ALL]
    assert said(processes=late) == ()
    (alert,) = said(
        processes=[*ALL[:1], replace(ALL[1], beat_at=NOW - timedelta(seconds=46)), ALL[2]]
    )
    assert (alert.urgent, alert.topic, alert.subject) == (True, "process", "work")
    assert "`cadnode work` is not seen since" in alert.what
    assert "nobody reads them" in alert.do


def test_a_process_that_never_was_is_missed_too_and_the_console_only_noted():
    assert [(a.subject, a.urgent) for a in said(processes=ALL[1:])] == [("receive", True)]
    assert [(a.subject, a.urgent) for a in said(processes=ALL[:2])] == [("web", False)]


def test_a_process_that_has_not_come_up_yet_is_starting_and_soon_missed():
    receiver = process("receive", started_at=NOW)
    moments = [NOW + timedelta(seconds=45), NOW + timedelta(seconds=46)]
    found = [
        said(processes=[replace(receiver, beat_at=at)], expected=["receive", "work"], now=at)
        for at in moments
    ]
    assert [(alert.urgent, alert.what) for (alert,) in found] == [
        (False, "`cadnode work` is starting"),
        (True, "`cadnode work` is not seen"),
    ]
    gone = process("work", beat_at=NOW - timedelta(minutes=5))
    (alert,) = said(processes=[receiver, gone], expected=["receive", "work"])
    assert alert.urgent


def test_a_node_that_does_not_run_is_one_alert_not_three():
    (alert,) = said(processes=())
    assert "The node does not run" in alert.what
    (alert,) = said(now=NOW + timedelta(hours=1))
    assert "The node does not run" in alert.what


def test_a_model_that_is_unfit_and_audit_messages_that_stay_are_said():
    work = process("work", facts=ProcessFacts("1", "abc", problem="E401 no model there"))
    receive = process("receive", facts=ProcessFacts("1", "abc", audit_problem="Connection refused"))
    model, audit = sorted(said(processes=[receive, work, ALL[2]]), key=lambda a: a.topic)[::-1]
    assert (model.topic, audit.topic) == ("model", "audit")
    assert "E401 no model there" in model.what
    assert "Connection refused" in audit.what
    assert model.urgent
    assert audit.urgent


def test_a_broker_that_is_away_is_noted_for_the_work_goes_on():
    receive = process("receive", facts=ProcessFacts("1", "abc", broker_problem="refused"))
    (alert,) = said(processes=[receive, *ALL[1:]])
    assert (alert.urgent, alert.topic, alert.subject) == (False, "broker", "receive")
    assert "refused" in alert.what


def test_a_lane_that_no_process_works_in_is_missed():
    house = process("work", facts=ProcessFacts("1", "abc", lanes=("housekeeping", "proof")))
    found = said(processes=[ALL[0], house, ALL[2]])
    assert [alert.what.split(":")[0] for alert in found] == ["Nobody analyzes", "Nobody delivers"]
    assert all(alert.urgent for alert in found)
    both = [
        replace(house, id=lane, facts=ProcessFacts("1", "abc", lanes=(lane,)))
        for lane in ("analysis", "delivery")
    ]
    assert said(processes=[ALL[0], house, *both, ALL[2]]) == ()
    old = replace(both[0], beat_at=NOW - timedelta(seconds=46))
    (alert,) = said(processes=[ALL[0], house, old, both[1], ALL[2]])
    assert "Nobody analyzes" in alert.what


def test_scores_that_have_moved_are_urgent():
    work = process("work", facts=ProcessFacts("1", "abc", model="calc", drift="Scores differ."))
    (alert,) = said(processes=[ALL[0], work, ALL[2]])
    assert (alert.urgent, alert.topic, alert.what) == (True, "drift", "Scores differ")


def test_a_file_that_changed_under_some_processes_is_noted():
    other = process("work", facts=ProcessFacts("1", "def"))
    (alert,) = said(processes=[ALL[0], other, ALL[2]])
    assert not alert.urgent
    assert "different settings" in alert.what


def test_one_of_several_workers_that_is_missing_is_noted_and_all_of_them_are_urgent():
    two = ("receive", "work", "work", "web")
    (alert,) = said(expected=two)
    assert (alert.urgent, alert.subject) == (False, "work")
    assert "2 processes `cadnode work` should run, 1 are seen" in alert.what
    assert said(expected=two, processes=[*ALL, process("work", id="another")]) == ()
    (alert,) = said(expected=two, processes=[ALL[0], ALL[2]])
    assert alert.urgent


def test_a_destination_that_does_not_answer_is_urgent_with_what_waits_for_it():
    down = destination(state=LineState.OPEN, since=NOW, waiting=3, error="nothing answers")
    (alert,) = said(destinations=[down])
    assert (alert.urgent, alert.topic, alert.subject) == (True, "destination", "pacs")
    assert "nothing answers. 3 result objects wait for it" in alert.what


@pytest.mark.parametrize(("enabled", "why"), [(False, "is not enabled"), (None, "is not in the")])
def test_what_waits_for_a_destination_that_is_not_enabled_is_noted(enabled, why):
    (alert,) = said(destinations=[destination(enabled=enabled, waiting=1)])
    assert not alert.urgent
    assert alert.what.startswith(f"1 result object waits for pacs, which {why}")
    assert said(destinations=[destination(enabled=enabled)]) == ()


def test_failed_exams_are_said_by_cause_with_the_way_to_them():
    day = replace(QUIET_DAY, failed=(FailedExams("E602", 3), FailedExams("E801", 1)))
    many, one = said(day=day)
    assert many.what == "3 exams have failed with E602 and wait for a person"
    assert one.what == "1 exam has failed with E801 and waits for a person"
    assert many.path == "/exams?status=failed&code=E602"
    assert "cadnode jobs retry --code E602" in many.do


def test_a_pull_that_broke_off_is_urgent_and_a_missing_image_a_note():
    pull = PullStatus("old", "MG", NOW, False, NOW, 3, 1, "")
    (note,) = said(pulls=[pull])
    assert not note.urgent
    (urgent,) = said(pulls=[replace(pull, error="E601 nothing answers")])
    assert urgent.urgent
    assert "E601 nothing answers" in urgent.what


def test_the_disk_is_urgent_when_it_is_full_soon_full_or_no_folder():
    assert said(disk=replace(ROOMY, days_left=7.0)) == ()
    (soon,) = said(disk=replace(ROOMY, days_left=6.9))
    assert "full in 6.9 days" in soon.what
    (full,) = said(disk=replace(ROOMY, free=GB))
    assert "0xA700" in full.what
    (nowhere,) = said(disk=replace(ROOMY, problem="/data cannot be made"))
    assert "cannot be made" in nowhere.what
    assert soon.urgent
    assert full.urgent
    assert nowhere.urgent


@pytest.mark.parametrize(
    ("days", "urgent"), [(31, None), (30, None), (29.9, False), (7, False), (6.9, True), (-1, True)]
)
def test_a_certificate_is_noted_30_days_before_its_end_and_urgent_7_days_before(days, urgent):
    certificate = CertificateStatus(
        "this node", "n.crt", "node", (), NOW + timedelta(days=days), True, ""
    )
    found = [alert.urgent for alert in said(certificates=[certificate])]
    assert found == ([] if urgent is None else [urgent])


def test_a_certificate_that_does_not_serve_is_urgent():
    certificate = CertificateStatus("this node", "n.crt", "", (), None, None, "cannot be read")
    (alert,) = said(certificates=[certificate])
    assert alert.urgent
    assert "cannot be read" in alert.what


def test_an_exam_that_is_long_on_its_way_is_noted():
    day = replace(QUIET_DAY, oldest=OldestExam(17, "reported", NOW - timedelta(minutes=60)))
    assert said(day=day) == ()
    (alert,) = said(day=day, now=NOW + timedelta(seconds=1))
    assert (alert.urgent, alert.path) == (False, "/exams/17")


def test_what_needs_a_person_comes_first():
    day = replace(QUIET_DAY, oldest=OldestExam(17, "reported", NOW - timedelta(days=1)))
    found = said(day=day, destinations=[destination(state=LineState.OPEN)], processes=ALL[:2])
    assert [alert.urgent for alert in found] == [True, False, False]


def outlook(received: int, kept_days: float, *, free: int = 101 * GB) -> Any:
    return forecast(
        free=free,
        reserve=GB,
        influx=Influx(received, 2 * 86_400, NOW - timedelta(days=kept_days)),
        max_age=timedelta(days=30),
        now=NOW,
    )


def test_a_disk_fills_at_the_present_rate():
    # 10 GB a day, nothing purged for 29 more days: 100 GB last ten days.
    assert outlook(20 * GB, kept_days=1) == (10 * GB, 10.0, False)


def test_a_disk_does_not_fill_once_the_retention_takes_away_what_comes():
    assert outlook(20 * GB, kept_days=21) == (10 * GB, None, True)
    assert outlook(20 * GB, kept_days=19.9) == (10 * GB, 10.0, False)


def test_a_full_disk_has_no_days_left_and_an_idle_node_says_nothing():
    assert outlook(20 * GB, kept_days=1, free=0) == (10 * GB, 0.0, False)
    assert outlook(0, kept_days=1) == (None, None, False)


def test_numbers_are_said_as_persons_say_them():
    assert [size(n) for n in (0, 999, 1500, 12_300_000_000, 5e15)] == [
        "0 B",
        "999 B",
        "2 kB",
        "12.3 GB",
        "5000.0 TB",
    ]
    assert [duration(s) for s in (0.04, 9.96, 119, 120, 7200, 200_000)] == [
        "0.0 s",
        "10.0 s",
        "119 s",
        "2 min",
        "2 h",
        "2 d",
    ]
    assert disk_outlook(ROOMY).startswith("too little came")
    assert "full in 9.5 days" in disk_outlook(replace(ROOMY, per_day=GB, days_left=9.5))
    assert "keeps it from filling" in disk_outlook(replace(ROOMY, per_day=GB, levels_off=True))


def test_a_destination_that_has_stored_nothing_yet_is_not_called_up():
    assert destination_state(destination(), NOW) == "up"
    assert destination_state(destination(delivered_at=None), NOW) == "nothing sent yet"
    down = destination(state=LineState.OPEN, probe_at=NOW + timedelta(seconds=5))
    assert destination_state(down, NOW) == "does not answer, asked again in 5 s"
    assert destination_state(destination(enabled=False), NOW) == "not enabled"
