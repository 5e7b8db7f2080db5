"""Requests that no browser sends by itself."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from fastapi import FastAPI, Request

from cadnode.web.access.guard import Guard, GuardRules
from cadnode.web.serving import WebServer, WebSettings
from tests.console import console_under_test


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
def test_files_and_their_character_sets_are_taken_from_nobody(tmp_path: Path, charset: str):
    # 1 MiB that calls itself Punycode keeps a processor busy for minutes.
    body = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\naa-bb\r\n--x--\r\n'
    with console_under_test(tmp_path) as console:
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
def test_the_first_and_the_last_day_of_the_calendar_are_days(tmp_path: Path, address: str):
    with console_under_test(tmp_path) as console:
        assert console.browser.get(address).status_code == 200


@pytest.mark.parametrize("typed", ["99991231", "9999-12-31", "00010101"])
def test_so_they_are_in_the_one_box(tmp_path: Path, typed: str):
    with console_under_test(tmp_path) as console:
        assert console.browser.post("/exams", data={"q": typed}).status_code == 200


@pytest.mark.parametrize(
    "asked",
    [
        {"received_from": "0001-01-01T00:00:00+14:00"},
        {"received_before": "9999-12-31T23:59:59-14:00"},
    ],
)
def test_a_time_that_is_none_in_utc_is_refused_without_a_fault(
    tmp_path: Path, asked: dict[str, str]
):
    with console_under_test(tmp_path) as console:
        assert console.browser.get("/api/v1/exams", params=asked).status_code == 422
        assert console.browser.post("/api/v1/exams/search", json=asked).status_code == 422


@pytest.mark.parametrize("number", ["9" * 25, "-1", "0", "one"])
def test_a_number_that_no_exam_can_have_is_refused_without_a_fault(tmp_path: Path, number: str):
    form = {"action": "retry", "exam_id": ["7", number]}
    with console_under_test(tmp_path) as console:
        assert console.browser.post("/exams/do", data=form).status_code == 422
        assert console.browser.post("/exams/confirm", data=form).status_code == 422
