"""A real browser, and the console on a real port for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

from cadnode.console import open_console
from cadnode.web.server import create_app
from cadnode.web.serving import WebServer, WebSettings
from tests.console import ConsoleUnderTest
from tests.peers import require


@contextmanager
def served(node: ConsoleUnderTest) -> Iterator[str]:
    """The address of the console of a node, answering on a free port of loopback."""
    server = WebServer(create_app(open_console(node.app, node.store)), WebSettings("127.0.0.1", 0))
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium without a window."""
    program = require("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def complaints(page: Page) -> list[str]:
    """What the browser complains of from now on: errors of scripts, of the content security
    policy, and answers that are none."""
    heard: list[str] = []
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("console", lambda said: heard.append(said.text) if said.type == "error" else None)
    page.on(
        "response",
        lambda answer: (
            heard.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
        ),
    )
    return heard
