"""A real mail server on loopback that keeps what it gets, and misbehaves on request."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from cadnode.dimse.tls import TlsFiles
from tests.peers import free_port


@dataclass
class MailServerUnderTest:
    """What came, and how the server is to answer."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    to: list[list[str]] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    """By recipient: the answer to RCPT TO."""
    answers: list[str] = field(default_factory=list)
    """The next answers to DATA; then 250."""
    logins: list[bytes] = field(default_factory=list)

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.answers:
            return self.answers.pop(0)
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        self.to.append(list(envelope.rcpt_tos))
        return "250 OK"


@contextmanager
def mail_server(
    *, tls: TlsFiles | None = None, password: str = ""
) -> Iterator[MailServerUnderTest]:
    """The server; with `tls` it wants STARTTLS, with `password` the user `node` signs in."""
    server = MailServerUnderTest(free_port())
    options: dict[str, Any] = {}
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        options |= {"tls_context": context, "require_starttls": True}
    if password:

        def check(_server: SMTP, _session: Any, _envelope: Any, _how: str, data: Any) -> AuthResult:
            assert isinstance(data, LoginPassword)
            server.logins.append(data.login)
            well = (data.login, data.password) == (b"node", password.encode())
            return AuthResult(success=well, handled=well)

        options |= {"authenticator": check, "auth_required": True}
    controller = Controller(server, hostname="127.0.0.1", port=server.port, **options)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()
