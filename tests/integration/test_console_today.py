"""The page of the day over a real job database: what a person and a program are told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cadnode.app import utc_now
from cadnode.core.breaker import BreakerRules, LineEvent
from cadnode.core.processes import ProcessFacts, ProcessRecord
from cadnode.storage.beats import BeatRecords
from cadnode.storage.disk import disk_of
from cadnode.web.today.chart import BASE, TOP, chart
from tests.console import ConsoleUnderTest, console_under_test
from tests.contract.exams import new_image, report

DESTINATION = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'


@pytest.fixture
def console(tmp_path: Path) -> Iterator[ConsoleUnderTest]:
    with console_under_test(tmp_path, DESTINATION) as console:
        yield console


def text_of(page: str) -> str:
    """What stands on the page, without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def all_run(console: ConsoleUnderTest, **facts: object) -> None:
    now = utc_now()
    for name in ("receive", "work", "web"):
        told = ProcessFacts("0.1", "abc", **(facts if name == "work" else {}))  # type: ignore[arg-type]
        record = ProcessRecord(name, name, "here", 42, now, now, told)
        BeatRecords(console.store.database).beat(record)


def fresh(console: ConsoleUnderTest, path: str = "/today") -> str:
    """The answer as it stands now, not that of a moment ago."""
    console.browser.app.state.console.today._known = None  # type: ignore[attr-defined]
    answer = console.browser.get(path)
    assert answer.status_code == 200
    return answer.text


def test_a_node_that_does_not_run_is_said_so_first(console: ConsoleUnderTest):
    page = text_of(fresh(console, "/"))
    assert "problem The node does not run: none of its processes is seen." in page
    assert "Start cadnode serve , as a service" in page


def test_a_node_that_does_its_work_is_well(console: ConsoleUnderTest):
    all_run(console, model="calc", model_version="1.2", model_sha256="ab" * 32, device="CPU")
    page = text_of(fresh(console))
    assert "All is well: nothing needs a person." in page
    assert "calc 1.2 abababababab" in page
    assert page.count("running") >= 3


def test_a_worker_that_loads_no_model_shows_its_part_and_waits_for_none(
    console: ConsoleUnderTest,
):
    all_run(console, lanes=("housekeeping", "proof"))
    page = text_of(fresh(console))
    assert "work housekeeping, proof running" in page
    assert "being loaded" not in page
    all_run(console, lanes=("analysis",))
    page = text_of(fresh(console))
    assert "work analysis running" in page
    assert "being loaded" in page


def test_a_worker_that_was_killed_is_missed_and_the_others_are_not(console: ConsoleUnderTest):
    all_run(console)
    late = ProcessRecord("work", "work", "here", 42, utc_now(), utc_now() - timedelta(minutes=3))
    BeatRecords(console.store.database).beat(late)
    page = text_of(fresh(console))
    assert "problem cadnode work is not seen since" in page
    assert "work not seen for 3 min" in page
    assert "receive running" in page
    (alert,) = console.browser.get("/api/v1/status").json()["alerts"]
    assert (alert["topic"], alert["subject"], alert["urgent"]) == ("process", "work", True)


def test_exams_are_counted_where_they_stand(console: ConsoleUnderTest):
    all_run(console)
    store, now = console.store.exams, utc_now()
    for number in range(3):
        store.accept(new_image(1, f"1.{number}"), now=now)
    store.cancel(1, why="a test", by="anna", now=now)
    report(store, "pacs", now=now)
    page = text_of(fresh(console))
    assert re.search(r"Waiting 1 ", page)
    assert re.search(r"Being delivered 1 ", page)
    assert re.search(r"Oldest under way exam 2 ", page)
    answer = console.browser.get("/api/v1/status").json()
    day = answer["day"]
    assert (day["waiting"], day["delivering"], day["running"]) == (1, 1, 0)
    assert day["oldest"]["id"] == 2
    # Either side of midnight.
    assert day["today"] in (0, 3)
    assert answer["is_well"]


def test_a_destination_that_does_not_answer_is_said_on_the_page_and_to_programs(
    console: ConsoleUnderTest,
):
    all_run(console)
    store, now = console.store.exams, utc_now()
    store.accept(new_image(), now=now)
    report(store, "pacs", now=now)
    for _ in range(3):
        store.note_line(
            "pacs",
            LineEvent.SILENT,
            error="nothing answers at <host>",
            jitter=0.0,
            rules=BreakerRules(),
            give_up_after=timedelta(hours=72),
            now=now,
        )
    raw = fresh(console)
    # What a peer has said is text, never a tag.
    assert "&lt;host&gt;" in raw
    page = text_of(raw)
    assert "problem pacs does not answer since" in page
    assert "1 result object waits for it" in page
    assert "does not answer, asked again in" in page
    answer = console.browser.get("/api/v1/status").json()
    assert not answer["is_well"]
    assert [(a["topic"], a["subject"]) for a in answer["alerts"]] == [("destination", "pacs")]
    (destination,) = answer["destinations"]
    assert (destination["state"], destination["waiting"]) == ("open", 1)


def test_the_part_that_refreshes_is_a_part_and_the_page_holds_it(console: ConsoleUnderTest):
    part = fresh(console)
    assert "<html" not in part
    whole = console.browser.get("/").text
    assert "<html" in whole
    assert 'hx-get="/today"' in whole
    # A page that asks by itself keeps nobody signed in.
    assert '{"X-Passive": "1"}' in whole
    assert 'data-said="' in part


def test_nothing_on_the_pages_needs_inline_scripts_or_styles(console: ConsoleUnderTest):
    for path in ("/", "/settings"):
        page = console.browser.get(path).text
        assert " style=" not in page
        assert " onclick=" not in page
        assert "<style" not in page
        assert not re.search(r"<script(?![^>]*src=)", page)


def test_every_table_has_a_caption_and_headings_with_a_scope(console: ConsoleUnderTest):
    all_run(console)
    for path in ("/", "/settings"):
        page = fresh(console, path)
        assert page.count("<table") == page.count("<caption")
        assert all("scope=" in cell for cell in re.findall(r"<th\b[^>]*>", page))


def test_many_browsers_cost_one_look_at_the_database(console: ConsoleUnderTest):
    first = console.browser.get("/api/v1/status").json()["at"]
    assert console.browser.get("/api/v1/status").json()["at"] == first


def test_a_bar_for_each_hour_the_highest_to_the_top():
    from cadnode.core.node_status import Hour

    begin = datetime(2026, 3, 1, tzinfo=UTC)
    drawn = chart([Hour(begin + timedelta(hours=n), exams) for n, exams in enumerate((0, 2, 4))])
    assert [bar.height for bar in drawn.bars] == [0.0, (BASE - TOP) / 2, BASE - TOP]
    assert [bar.y + bar.height for bar in drawn.bars] == [BASE] * 3
    assert chart([Hour(begin, 0)]).bars[0].height == 0.0


def test_the_disk_of_a_folder_that_is_not_there_yet_is_that_of_its_parent(tmp_path: Path):
    found = disk_of(tmp_path / "a" / "b")
    assert found.problem == ""
    assert found.total == disk_of(tmp_path).total > 0


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path):
    (tmp_path / "file").touch()
    assert disk_of(tmp_path / "file" / "data").problem == (
        f"{tmp_path}/file/data cannot be made: {tmp_path}/file is no folder"
    )
    assert "keeps no files" in disk_of(Path("/proc/cadnode")).problem
