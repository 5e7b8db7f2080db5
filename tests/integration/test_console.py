"""What all pages of the console share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console import ConsoleUnderTest, console_under_test


@pytest.fixture
def console(tmp_path: Path) -> Iterator[ConsoleUnderTest]:
    with console_under_test(tmp_path) as console:
        yield console


def test_a_page_that_is_not_there_is_answered_with_a_page(console):
    answer = console.browser.get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "To the first page" in answer.text


def test_a_program_that_asks_for_what_is_not_there_gets_json(console):
    answer = console.browser.get("/api/v1/nowhere")
    assert answer.status_code == 404
    assert answer.json() == {"code": None, "detail": "Not Found"}


@pytest.mark.parametrize(
    "file", ["cadnode.css", "cadnode.svg", "vendor/htmx.min.js", "vendor/openseadragon.min.js"]
)
def test_what_pages_need_comes_from_the_node_itself(console, file):
    assert console.browser.get(f"/static/{file}").status_code == 200


def test_no_page_asks_another_machine_for_anything(console):
    assert "//" not in console.browser.get("/nowhere").text.replace("<!doctype", "")
