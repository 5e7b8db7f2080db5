"""Requests that no browser sends by itself."""

from __future__ import annotations

import csv
import http.client
import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest
from fastapi import FastAPI, Request
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from cadnode import oidc
from cadnode.console.viewer import NodeViewer
from cadnode.core.accounts import Role
from cadnode.core.errors import DatabaseUnavailable, ProviderFailed
from cadnode.core.identifiers import ExamIdentifiers
from cadnode.core.jobs import ExamStatus
from cadnode.core.records import ExamSummary
from cadnode.core.search import FoundExam
from cadnode.storage.database import Database
from cadnode.storage.dialect import one_at_a_time
from cadnode.storage.search import SearchRecords
from cadnode.web.access.guard import Guard, GuardRules
from cadnode.web.exams.pages import MOST_AT_ONCE
from cadnode.web.exams.table import csv_lines
from cadnode.web.serving import WebServer, WebSettings
from cadnode.web.viewer.api import PICTURES_AT_ONCE
from tests.console import ConsoleUnderTest, console_under_test
from tests.integration.access.site import START, signed_in, site_with, token_on
from tests.integration.identity_provider import lying_provider


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleUnderTest]:
    with console_under_test(tmp_path_factory.mktemp("node")) as console:
        yield console


def found(number: int, **known: Any) -> FoundExam:
    counts = (0,) * 10
    exam = ExamSummary(
        number, "1.2.3", 1, ExamStatus.FAILED, START, START, *counts, "E602", None, "a person"
    )
    return FoundExam(exam, "MODALITY", 0, ExamIdentifiers(**known))


def test_a_length_that_is_not_the_length_lets_nobody_send_without_end():
    # RFC 9112 6.3: where both are told, the chunks count, and they may go on for ever.
    app = FastAPI()
    read: list[int] = []

    @app.post("/")
    async def whole(request: Request) -> None:
        read.append(len(await request.body()))

    app.add_middleware(Guard, rules=GuardRules())
    server = WebServer(app, WebSettings("127.0.0.1", 0))
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            )
            assert connection.recv(1000).startswith(b"HTTP/1.1 411 ")
    finally:
        server.stop()
    assert not read


@pytest.mark.parametrize("charset", ["", "; charset=punycode"])
def test_files_and_their_character_sets_are_taken_from_nobody(
    console: ConsoleUnderTest, charset: str
):
    # 1 MiB that calls itself Punycode keeps a processor busy for minutes.
    body = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\naa-bb\r\n--x--\r\n'
    answer = console.browser.post(
        "/sign-in",
        content=body,
        headers={"Content-Type": f"multipart/form-data; boundary=x{charset}"},
    )
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "address",
    [
        "/exams?received_to=9999-12-31",
        "/exams?received_from=0001-01-01",
        "/exams?studied_to=9999-12-31",
    ],
)
def test_the_first_and_the_last_day_of_the_calendar_are_days(
    console: ConsoleUnderTest, address: str
):
    assert console.browser.get(address).status_code == 200


@pytest.mark.parametrize("typed", ["99991231", "9999-12-31", "00010101"])
def test_so_they_are_in_the_one_box(console: ConsoleUnderTest, typed: str):
    assert console.browser.post("/exams", data={"q": typed}).status_code == 200


@pytest.mark.parametrize(
    "asked",
    [
        {"received_from": "0001-01-01T00:00:00+14:00"},
        {"received_before": "9999-12-31T23:59:59-14:00"},
    ],
)
def test_a_time_that_is_none_in_utc_is_refused_without_a_fault(
    console: ConsoleUnderTest, asked: dict[str, str]
):
    assert console.browser.get("/api/v1/exams", params=asked).status_code == 422
    assert console.browser.post("/api/v1/exams/search", json=asked).status_code == 422


@pytest.mark.parametrize("number", ["9" * 25, str(2**31), "-1", "0", "one"])
def test_a_number_that_no_exam_can_have_is_refused_without_a_fault(
    console: ConsoleUnderTest, number: str
):
    form = {"action": "retry", "exam_id": ["7", number]}
    assert console.browser.post("/exams/do", data=form).status_code == 422
    assert console.browser.post("/exams/confirm", data=form).status_code == 422


def test_a_character_that_postgresql_has_not_reaches_no_database(console: ConsoleUnderTest):
    page = console.browser.post("/exams", data={"sender": "M\0G"})
    assert "<option selected>MG</option>" in page.text
    for path, body in (
        ("search", {"patient_id": "P\0"}),
        ("retry", {"code": "E\0"}),
        ("7/cancel", {"why": "not\0 needed"}),
        ("7/resend", {"destination": "A\0"}),
    ):
        assert console.browser.post(f"/api/v1/exams/{path}", json=body).status_code == 422, path


def full(_: Database) -> NoReturn:
    raise DatabaseUnavailable("database or disk is full")


def test_a_database_that_takes_nothing_more_can_still_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with site_with(tmp_path) as site:
        browser = signed_in(site)
        _, token = site.access.add_token("watch", Role.VIEWER, 30, owner=None, by="test")
        site.pass_time(minutes=5)
        monkeypatch.setattr(Database, "write", full)
        assert browser.get("/account").status_code == 200
        bearer = {"Authorization": f"Bearer {token}"}
        assert site.browser().get("/api/v1/me", headers=bearer).status_code == 200


def test_whoever_guesses_on_takes_no_turn_at_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with site_with(tmp_path) as site:
        site.add("anna")
        browser = site.browser()
        token = token_on(browser.get("/sign-in"))
        form = {"name": "anna", "password": "a wrong password", "csrf_token": token}
        while browser.post("/sign-in", data=form).status_code == 401:
            continue
        monkeypatch.setattr(Database, "write", full)
        assert browser.post("/sign-in", data=form).status_code == 429


def test_strangers_cannot_take_every_thread_while_the_identity_provider_is_slow(
    monkeypatch: pytest.MonkeyPatch,
):
    asked, may_answer = threading.Event(), threading.Event()
    monkeypatch.setattr(oidc, "AT_ONCE", 1)
    with lying_provider(0) as provider:
        slowly = provider.answer

        def answer(*request: Any) -> tuple[int, Any]:
            asked.set()
            assert may_answer.wait(10)
            return slowly(*request)

        monkeypatch.setattr(provider, "answer", answer)
        rules = oidc.OidcRules(provider.issuer, "us", "", "openid", "name", "roles", {})
        node = oidc.IdentityProvider(rules)
        first = threading.Thread(target=node.depart, args=("http://localhost/",))
        first.start()
        try:
            assert asked.wait(10)
            with pytest.raises(ProviderFailed, match="too many wait"):
                node.depart("http://localhost/")
            with pytest.raises(ProviderFailed, match="too many wait"):
                node.arrive({"state": "a", "code": "b"}, proof="a.b.c", redirect_uri="", now=START)
        finally:
            may_answer.set()
            first.join()
        assert node.depart("http://localhost/")[0].startswith(provider.issuer)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("=1+1", "'=1+1"),
        ("P1;=1+1", "P1;'=1+1"),
        ("P1\n@SUM(A1)", "P1\n'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("P-1+2=3@4", "P-1+2=3@4"),
    ],
)
def test_what_a_modality_sent_is_no_formula_however_a_spreadsheet_splits_it(sent: str, told: str):
    _, line = csv_lines([found(7, patient_id=sent)])
    assert next(csv.reader(io.StringIO(line, newline="")))[5] == told


def test_of_a_million_that_failed_a_dialog_reads_no_more_than_it_is_about(
    console: ConsoleUnderTest, monkeypatch: pytest.MonkeyPatch
):
    def failed(*_: Any) -> Iterator[FoundExam]:
        yield from (found(number) for number in range(1, MOST_AT_ONCE + 1))
        pytest.fail("it reads on")

    monkeypatch.setattr(SearchRecords, "stream", failed)
    page = console.browser.post("/exams/confirm", data={"code": "E602"})
    assert f"Try again: {MOST_AT_ONCE} exams" in page.text


def test_whatever_looks_at_all_users_first_is_done_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # On PostgreSQL two admins could make each other viewers; SQLite has one writer anyway.
    locked: list[str] = []
    monkeypatch.setattr(
        "cadnode.storage.accounts.one_at_a_time", lambda _, what: locked.append(what)
    )
    with site_with(tmp_path) as site:
        now = START
        site.add("anna")
        site.add("olaf")
        site.accounts.set_role("olaf", Role.VIEWER, by="anna", now=now)
        site.accounts.remove("olaf", by="anna", now=now)
        site.accounts.admit(issuer="i", subject="s", name="olaf", role=Role.VIEWER, now=now)
    assert locked == ["users"] * 5


def test_that_lock_lasts_as_long_as_the_transaction():
    asked: list[str] = []
    connection = SimpleNamespace(
        dialect=postgresql.dialect(),
        execute=lambda statement: asked.append(
            str(statement.compile(dialect=postgresql.dialect()))
        ),
    )
    one_at_a_time(cast(Connection, connection), "users")
    assert len(asked) == 1
    assert "pg_advisory_xact_lock(hashtext(" in asked[0]


def test_whoever_waits_for_pictures_leaves_threads_to_others(
    console: ConsoleUnderTest, monkeypatch: pytest.MonkeyPatch
):
    begun, may_end = threading.Semaphore(0), threading.Event()

    def slowly(*_: Any) -> bytes:
        begun.release()
        assert may_end.wait(30)
        return b"a tile"

    monkeypatch.setattr(NodeViewer, "note_access", lambda *_: None)
    monkeypatch.setattr(NodeViewer, "tile", slowly)
    server = WebServer(cast(FastAPI, console.browser.app), WebSettings("127.0.0.1", 0))
    server.start()
    tile = b"GET /api/v1/exams/1/images/1/tiles_files/1/0_0.png HTTP/1.1\r\nHost: localhost\r\n\r\n"
    address = ("127.0.0.1", server.port)
    # More than the server has threads.
    waiting = [socket.create_connection(address, timeout=30) for _ in range(60)]
    try:
        for one in waiting:
            one.sendall(tile)
        for _ in range(PICTURES_AT_ONCE):
            assert begun.acquire(timeout=30)
        assert not begun.acquire(timeout=1), "one too many"
        page = http.client.HTTPConnection(*address, timeout=10)
        page.request("GET", "/static/cadnode.svg", headers={"Host": "localhost"})
        assert page.getresponse().read()
        page.request("GET", "/exams", headers={"Host": "localhost"})
        assert page.getresponse().status == 200
        page.close()
    finally:
        may_end.set()
        for one in waiting:
            assert one.recv(12) == b"HTTP/1.1 200"
            one.close()
        server.stop()
