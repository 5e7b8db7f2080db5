"""The page of exams in a real browser: keys, dialogs, and what stands in the address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from cadnode.core.jobs import ExamStatus
from tests.chromium import chromium, complaints, served
from tests.console import ConsoleUnderTest
from tests.integration.test_exams_page import five_exams, last_event, status_of

pytestmark = pytest.mark.peers


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ConsoleUnderTest]:
    with five_exams(tmp_path) as node:
        yield node


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as browser:
        yield browser.new_page(viewport={"width": 1200, "height": 900})


def rows(page: Page) -> list[str]:
    return page.locator("table.exams tbody th a").all_inner_texts()


def test_a_person_finds_and_decides_with_the_keyboard_alone(node: ConsoleUnderTest, page: Page):
    with served(node) as address:
        heard = complaints(page)
        page.goto(f"{address}/exams")
        page.keyboard.press("/")
        expect(page.locator("#q")).to_be_focused()
        page.keyboard.type("P-102")
        page.keyboard.press("Enter")
        expect(page.locator("#summary")).to_contain_text("understood as Patient ID")
        assert rows(page) == ["2"]
        assert page.url == f"{address}/exams"
        expect(page.locator("#announce")).to_have_text("1 exam, understood as Patient ID")
        expect(page.locator("#q")).to_be_focused()

        page.locator("input[name=exam_id]").focus()
        page.keyboard.press("Space")
        retry = page.locator("#rows button[value=retry]")
        retry.focus()
        page.keyboard.press("Enter")
        dialog = page.locator("dialog[open]")
        expect(dialog).to_contain_text("starts again at the step that failed")
        assert status_of(node, 2) is ExamStatus.FAILED
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(retry).to_be_focused()

        page.keyboard.press("Enter")
        # Before htmx has taken it up, the form goes to a page of its own.
        form = dialog.locator("form").first
        while not form.evaluate("form => Boolean(form['htmx-internal-data'])"):
            page.wait_for_timeout(20)
        dialog.locator("button.main").focus()
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("it is reported again")
        dialog.get_by_text("Close").focus()
        page.keyboard.press("Enter")
        expect(page.locator("table.exams .badge").first).to_have_text("reported")
        assert last_event(node, 2) == ("retry", "localhost")
        assert heard == []


def test_a_search_without_a_patient_can_be_loaded_again_and_left(
    node: ConsoleUnderTest, page: Page
):
    with served(node) as address:
        page.goto(f"{address}/exams")
        page.fill("#q", "failed")
        page.keyboard.press("Enter")
        expect(page.locator("#summary")).to_contain_text("understood as status")
        assert page.url == f"{address}/exams?status=failed"
        page.reload()
        assert rows(page) == ["2"]
        page.go_back()
        expect(page.locator("table.exams tbody tr")).to_have_count(5)


def test_an_exam_is_given_up_on_its_own_page_with_a_reason(node: ConsoleUnderTest, page: Page):
    with served(node) as address:
        page.goto(f"{address}/exams/5")
        page.locator("#exam-actions button[value=cancel]").click()
        dialog = page.locator("dialog[open]")
        dialog.locator("button.main").click()
        # The browser asks for the reason before anything is sent.
        assert page.locator("#why").evaluate("field => field.validity.valueMissing")
        assert status_of(node, 5) is ExamStatus.RECEIVING
        page.fill("#why", "a test image")
        dialog.locator("button.main").click()
        expect(dialog).to_contain_text("it is cancelled")
        dialog.get_by_text("Close").click()
        expect(page.locator("#exam-status")).to_contain_text("cancelled")
        assert status_of(node, 5) is ExamStatus.CANCELLED


def test_every_row_of_a_page_is_ticked_at_once(node: ConsoleUnderTest, page: Page):
    with served(node) as address:
        page.goto(f"{address}/exams?status=receiving")
        page.check("#all-rows")
        page.locator("#rows button[value=urgent]").click()
        expect(page.locator("dialog[open]")).to_contain_text("Exams 5, 4")
