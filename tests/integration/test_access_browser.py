"""Signing in with a real Chromium, which decides about cookies by itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from cadnode.app import App
from cadnode.config import load_settings
from cadnode.console import open_console
from cadnode.console.access import open_access
from cadnode.core.accounts import Role
from cadnode.web import accounts
from cadnode.web.server import create_app
from cadnode.web.serving import WebServer, WebSettings
from tests.integration.access.site import WORD
from tests.integration.test_oidc import settings
from tests.peers import free_port, require, wait_for_port

pytestmark = pytest.mark.peers


@contextmanager
def console(folder: Path, web: str = "") -> Iterator[str]:
    """The address of a console with the admin anna."""
    config = folder / "cadnode.toml"
    config.write_text(f'[node]\ndata_dir = "data"\n[web]\n{web}')
    app = App(load_settings(config, {}))
    store = app.open_store(create=True)
    open_access(app, store).add_user("anna", Role.ADMIN, WORD, by="test")
    server = WebServer(
        create_app(open_console(app, store), (accounts,)), WebSettings("127.0.0.1", 0)
    )
    server.start()
    try:
        yield f"http://localhost:{server.port}"
    finally:
        server.stop()
        store.close()


@pytest.fixture
def page() -> Iterator[Page]:
    program = require("chromium", "chromium")
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=sandbox)
        yield browser.new_page()
        browser.close()


def sign_in(page: Page, base: str) -> None:
    page.goto(f"{base}/sign-in?next=/account")
    page.keyboard.type("anna")
    page.keyboard.press("Tab")
    page.keyboard.type(WORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{base}/account")


@contextmanager
def another_site(html: str) -> Iterator[str]:
    """A page of a stranger."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        # Another site than localhost, as a browser sees it.
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_somebody_signs_in_and_out_by_keyboard(tmp_path, page):
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    with console(tmp_path) as base:
        sign_in(page, base)
        assert page.locator("h1").inner_text() == "My account"
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Sign out").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_url(f"{base}/sign-in")
        page.goto(f"{base}/account")
        assert page.url == f"{base}/sign-in?next=/account"
    assert problems == []


def test_a_part_of_a_page_that_is_fetched_after_the_end_of_the_session_leads_to_the_sign_in(
    tmp_path, page
):
    with console(tmp_path) as base:
        sign_in(page, base)
        other = page.context.browser.new_page()
        other.context.add_cookies(page.context.cookies())
        other.goto(f"{base}/account")
        other.get_by_role("button", name="Sign out").first.click()
        page.evaluate("() => { htmx.ajax('GET', '/users', '#main') }")
        page.wait_for_url(f"{base}/sign-in?next=/account")


def test_a_link_on_another_site_leads_to_where_somebody_is_signed_in(tmp_path, page):
    with console(tmp_path) as base:
        sign_in(page, base)
        with another_site(f'<a href="{base}/users">the node</a>') as stranger:
            page.goto(stranger)
            page.get_by_role("link").click()
            page.wait_for_url(f"{base}/users")
            expect(page).to_have_title(re.compile("^Users"))


def test_a_form_on_another_site_changes_nothing(tmp_path, page):
    with console(tmp_path) as base:
        sign_in(page, base)
        form = f'<form method="post" action="{base}/sign-out"><button>Win</button></form>'
        with another_site(form) as stranger:
            page.goto(stranger)
            with page.expect_response(f"{base}/sign-out") as answer:
                page.get_by_role("button").click()
            assert answer.value.status == 403
        page.goto(f"{base}/account")
        assert page.locator("h1").inner_text() == "My account"


def test_no_other_site_shows_the_console_in_a_frame(tmp_path, page):
    with console(tmp_path) as base:
        sign_in(page, base)
        with another_site(f'<iframe src="{base}/sign-in"></iframe>') as stranger:
            page.goto(stranger)
            assert "Sign in" not in page.frames[1].content()


def test_the_way_to_an_identity_provider_and_back(tmp_path, page):
    program = require("oidc-provider-mock", "pip:oidc-provider-mock")
    port, log = free_port(), tmp_path / "provider.log"
    person = {"sub": "4711", "preferred_username": "Olaf", "roles": ["cad-operators"]}
    command = [program, "--port", str(port), "--user-claims", json.dumps(person)]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        wait_for_port(port, process, log)
        with console(tmp_path, settings(f"http://127.0.0.1:{port}")) as base:
            page.goto(f"{base}/account")
            page.get_by_role("link", name="Sign in with 127.0.0.1").click()
            page.wait_for_url(f"http://127.0.0.1:{port}/**")
            page.get_by_role("button", name="4711").click()
            page.wait_for_url(f"{base}/account")
            assert "olaf" in page.locator(".who").inner_text()
    finally:
        process.terminate()
        process.wait()
