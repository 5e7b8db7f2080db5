"""Messages to a real HTTP server."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cadnode.core.errors import NoticeNotSent
from cadnode.core.notices import About, Message, Notice, NoticeKind, compose
from cadnode.dimse.tls import TlsFiles
from cadnode.notify.webhook import Webhook, WebhookChannel
from tests.certificates import SiteCa

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)


@dataclass
class Receiver:
    """What was posted, and how it is answered."""

    url: str = ""
    status: int = 204
    location: str = ""
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def receiver(tls: TlsFiles | None = None) -> Iterator[Receiver]:
    """A server on loopback."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.headers.append(dict(self.headers))
            found.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(found.status)
            if found.location:
                self.send_header("Location", found.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    found.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/hooks/secret-path"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def a_message() -> Message:
    notice = Notice(
        id=7,
        kind=NoticeKind.DESTINATION_DOWN,
        subject="pacs",
        text="pacs does not answer.",
        since=NOW,
        until=None,
        about=About.BEGIN,
    )
    return compose(
        [notice], message_id="cadnode-1", station="MAMMO1", link="https://console", now=NOW
    )


def test_a_message_arrives_as_json(hook: Receiver):
    said = WebhookChannel(Webhook(hook.url)).send(a_message())
    assert said == f"{hook.url.removesuffix('/hooks/secret-path')} answered 204"
    body = json.loads(hook.bodies[0])
    assert body["notices"][0]["subject"] == "pacs"
    assert (body["version"], body["url"]) == (1, "https://console")
    headers = hook.headers[0]
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == "cadnode-1"
    assert "Cadnode-Signature" not in headers
    assert "Authorization" not in headers


def test_who_has_the_secret_can_tell_that_it_is_ours_and_when_it_was_sent(
    hook: Receiver, tmp_path: Path
):
    secret, bearer = tmp_path / "secret", tmp_path / "bearer"
    secret.write_text("shared\n")
    bearer.write_text("token\n")
    WebhookChannel(Webhook(hook.url, secret, bearer)).send(a_message())
    headers, body = hook.headers[0], hook.bodies[0]
    assert headers["Authorization"] == "Bearer token"
    assert headers["Cadnode-Timestamp"] == str(int(NOW.timestamp()))
    signed = headers["Cadnode-Timestamp"].encode() + b"." + body
    expected = hmac.digest(b"shared", signed, "sha256").hex()
    assert headers["Cadnode-Signature"] == f"v1={expected}"
    assert hashlib.sha256().digest_size * 2 == len(expected)


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_any_other_answer_than_yes_is_said_without_the_path(hook: Receiver, status: int):
    hook.status = status
    with pytest.raises(NoticeNotSent, match=f"answered {status}") as error:
        WebhookChannel(Webhook(hook.url)).send(a_message())
    assert "secret-path" not in str(error.value)


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_not_followed(hook: Receiver, status: int):
    with receiver() as elsewhere:
        hook.status, hook.location = status, elsewhere.url
        with pytest.raises(NoticeNotSent, match=f"answered {status}"):
            WebhookChannel(Webhook(hook.url)).send(a_message())
        assert elsewhere.bodies == []


def test_https_is_checked_against_the_authority_that_the_settings_name(tmp_path: Path):
    ca = SiteCa(tmp_path / "ca")
    with receiver(ca.issue("hook")) as hook:
        WebhookChannel(Webhook(hook.url, ca=ca.file)).send(a_message())
        assert len(hook.bodies) == 1
        with pytest.raises(NoticeNotSent, match="CERTIFICATE_VERIFY_FAILED"):
            WebhookChannel(Webhook(hook.url)).send(a_message())
        assert len(hook.bodies) == 1


def test_a_server_that_is_down_or_silent_is_said_so():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/"
        with pytest.raises(NoticeNotSent, match="Connection refused"):
            WebhookChannel(Webhook(url)).send(a_message())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(NoticeNotSent, match="timed out"):
            WebhookChannel(Webhook(url, seconds=0.2)).send(a_message())


def test_a_secret_that_cannot_be_read_is_said_so(hook: Receiver, tmp_path: Path):
    with pytest.raises(NoticeNotSent, match="No such file"):
        WebhookChannel(Webhook(hook.url, secret_file=tmp_path / "gone")).send(a_message())
    assert hook.bodies == []
