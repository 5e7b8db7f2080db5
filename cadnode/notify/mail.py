"""Messages by e-mail: plain text over SMTP (RFC 5321), TLS from the start or by STARTTLS."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Literal

from cadnode.core.errors import NoticeNotSent
from cadnode.core.notices import Message

SECONDS = 30.0
"""For the connection, and for each answer."""

Security = Literal["starttls", "tls", "none"]


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over, and to whom it goes."""

    host: str
    port: int
    security: Security
    sender: str
    recipients: Sequence[str]
    user: str = ""
    password_file: Path | None = None
    """Read at each message: a new password needs no restart."""
    ca: Path | None = None
    """Who signed the server's certificate; None for those that the system trusts."""
    seconds: float = SECONDS


class MailChannel:
    """A `Channel` that hands each message to one mail server."""

    name = "mail"

    def __init__(self, server: MailServer) -> None:
        self._server = server

    def send(self, message: Message) -> str:
        """Hand it over; a recipient that the server refuses keeps it from nobody else."""
        server = self._server
        with _translated(f"{server.host}:{server.port}"), self._connected() as smtp:
            refused = smtp.send_message(self._mail(message), server.sender, [*server.recipients])
        taken = [address for address in server.recipients if address not in refused]
        said = f"{server.host} took it for {', '.join(taken)}"
        for address, (code, text) in refused.items():
            said += f"; refused {address}: {code} {_text(text)}"
        return said

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = message.subject
        mail["From"] = self._server.sender
        mail["To"] = ", ".join(self._server.recipients)
        mail["Date"] = format_datetime(message.sent_at)
        # The same for a message that is handed over again after a crash: it is shown once.
        mail["Message-ID"] = f"<{message.id}@{self._server.sender.rpartition('@')[2]}>"
        # Nobody's "out of office" answers it (RFC 3834).
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        return mail

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        server = self._server
        context = ssl.create_default_context(cafile=server.ca)
        smtp: smtplib.SMTP
        if server.security == "tls":
            smtp = smtplib.SMTP_SSL(
                server.host, server.port, timeout=server.seconds, context=context
            )
        else:
            smtp = smtplib.SMTP(server.host, server.port, timeout=server.seconds)
        try:
            if server.security == "starttls":
                smtp.starttls(context=context)
            if server.user:
                smtp.login(server.user, self._password())
            yield smtp
        finally:
            with suppress(OSError, smtplib.SMTPException):
                smtp.quit()
            smtp.close()

    def _password(self) -> str:
        file = self._server.password_file
        return "" if file is None else file.read_text(encoding="utf-8").strip()


@contextmanager
def _translated(where: str) -> Iterator[None]:
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        raise NoticeNotSent(
            f"{where} refused every recipient: {code} {_text(text)}", final=False
        ) from error
    except smtplib.SMTPResponseException as error:
        raise NoticeNotSent(f"{where}: {error.smtp_code} {_text(error.smtp_error)}") from error
    except smtplib.SMTPException as error:
        raise NoticeNotSent(f"{where}: {error}") from error
    except ssl.SSLError as error:
        raise NoticeNotSent(f"{where}: TLS: {error.reason or error}") from error
    except UnicodeError as error:
        raise NoticeNotSent(f"{where}: the password or an address is no plain text") from error
    except OSError as error:
        raise NoticeNotSent(f"{where}: {error.strerror or error}") from error


def _text(answer: bytes | str) -> str:
    text = answer.decode("ascii", "replace") if isinstance(answer, bytes) else answer
    return " ".join(text.split())[:200]
