"""Messages through a real mail server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from threading import enumerate as enumerate_threads

import pytest

from cadnode.core.errors import NoticeNotSent
from cadnode.core.notices import Message
from cadnode.notify.bounded import Bounded
from cadnode.notify.mail import MailChannel, MailServer
from tests.certificates import SiteCa
from tests.mail_server import MailServerUnderTest, mail_server

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
IT, PHYSICS = "it@hospital.example", "physics@hospital.example"


def a_message(text: str = "pacs does not answer.\n\nSince 08:30.\n") -> Message:
    return Message("cadnode-1", "MAMMO1", "MAMMO1: pacs does not answer", text, (), NOW)


def server_at(port: int, **fields) -> MailServer:
    known = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "sender": "cadnode@hospital.example",
        "recipients": (IT, PHYSICS),
        "seconds": 5.0,
    }
    return MailServer(**{**known, **fields})


@pytest.fixture
def server() -> Iterator[MailServerUnderTest]:
    with mail_server() as found:
        yield found


def test_a_message_arrives_as_plain_text_for_everybody(server: MailServerUnderTest):
    said = MailChannel(server_at(server.port)).send(a_message())
    assert said == f"127.0.0.1 took it for {IT}, {PHYSICS}"
    (mail,) = server.mails
    assert server.to == [[IT, PHYSICS]]
    assert mail["Subject"] == "MAMMO1: pacs does not answer"
    assert (mail["From"], mail["To"]) == ("cadnode@hospital.example", f"{IT}, {PHYSICS}")
    assert mail["Message-ID"] == "<cadnode-1@hospital.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].startswith("Mon, 02 Mar 2026 08:30")
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().replace("\r\n", "\n") == a_message().text


def test_other_letters_than_english_ones_arrive(server: MailServerUnderTest):
    MailChannel(server_at(server.port)).send(a_message("Radiologie Süd: 3 µm\n"))
    assert "Radiologie Süd: 3 µm" in server.mails[0].get_content()


def test_starttls_with_a_password_and_the_sites_own_authority(tmp_path: Path):
    ca = SiteCa(tmp_path / "ca")
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    with mail_server(tls=ca.issue("mail"), password="correct horse") as server:  # noqa: S106
        well = server_at(
            server.port, security="starttls", user="node", password_file=password, ca=ca.file
        )
        MailChannel(well).send(a_message())
        assert len(server.mails) == 1

        password.write_text("wrong")
        with pytest.raises(NoticeNotSent, match="535") as refused:
            MailChannel(well).send(a_message())
        assert "wrong" not in str(refused.value)

        stranger = SiteCa(tmp_path / "other").file
        with pytest.raises(NoticeNotSent, match="TLS"):
            MailChannel(server_at(server.port, security="starttls", ca=stranger)).send(a_message())
        assert len(server.mails) == 1


def test_a_server_without_starttls_gets_no_password(server: MailServerUnderTest, tmp_path: Path):
    password = tmp_path / "password"
    password.write_text("correct horse")
    channel = MailChannel(
        server_at(server.port, security="starttls", user="node", password_file=password)
    )
    with pytest.raises(NoticeNotSent, match="STARTTLS"):
        channel.send(a_message())
    assert server.mails == []


def test_a_recipient_that_is_refused_keeps_it_from_nobody_else(server: MailServerUnderTest):
    server.refuse[PHYSICS] = "550 no such user"
    said = MailChannel(server_at(server.port)).send(a_message())
    assert said == f"127.0.0.1 took it for {IT}; refused {PHYSICS}: 550 no such user"
    assert server.to == [[IT]]


def test_nobody_taken_is_said_with_the_servers_words(server: MailServerUnderTest):
    server.refuse = {IT: "550 no such user", PHYSICS: "550 no such user"}
    with pytest.raises(NoticeNotSent, match="refused every recipient: 550 no such user"):
        MailChannel(server_at(server.port)).send(a_message())


def test_a_greylisting_server_says_later(server: MailServerUnderTest):
    server.refuse = {IT: "451 try again later", PHYSICS: "451 try again later"}
    with pytest.raises(NoticeNotSent, match="451 try again later"):
        MailChannel(server_at(server.port)).send(a_message())
    server.refuse.clear()
    server.answers = ["452 out of room"]
    with pytest.raises(NoticeNotSent, match="452 out of room"):
        MailChannel(server_at(server.port)).send(a_message())
    MailChannel(server_at(server.port)).send(a_message())
    assert len(server.mails) == 1


def test_a_server_that_is_down_is_said_so():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(NoticeNotSent, match="Connection refused"):
            MailChannel(server_at(held.getsockname()[1])).send(a_message())


def test_a_server_that_says_nothing_is_not_waited_for_for_ever():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        channel = MailChannel(server_at(silent.getsockname()[1], seconds=0.2))
        with pytest.raises(NoticeNotSent, match="timed out"):
            channel.send(a_message())


def test_a_server_that_answers_byte_by_byte_holds_up_one_message_and_not_for_ever():
    enough = Event()

    def drip(listener: socket.socket) -> None:
        with listener.accept()[0] as connection:
            connection.sendall(b"220-")
            while not enough.wait(0.05):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as slow:
        thread = Thread(target=drip, args=(slow,), daemon=True)
        thread.start()
        channel = Bounded(MailChannel(server_at(slow.getsockname()[1], seconds=0.4)), seconds=0.6)
        with pytest.raises(NoticeNotSent, match=r"not handed over within 0\.6 seconds"):
            channel.send(a_message())
        with pytest.raises(NoticeNotSent, match="an earlier message is still"):
            channel.send(a_message())
        enough.set()
        thread.join()
    hanging = next((one for one in enumerate_threads() if one.name == "mail message"), None)
    if hanging is not None:
        hanging.join()
    with pytest.raises(NoticeNotSent, match="Connection refused"):
        channel.send(a_message())


def test_a_server_that_hangs_up_is_said_so():
    with socket.create_server(("127.0.0.1", 0)) as rude:
        Thread(target=lambda: rude.accept()[0].close(), daemon=True).start()
        with pytest.raises(NoticeNotSent, match="Connection unexpectedly closed"):
            MailChannel(server_at(rude.getsockname()[1])).send(a_message())


def test_a_password_file_that_is_gone_is_said_so(tmp_path: Path):
    ca = SiteCa(tmp_path / "ca")
    with mail_server(tls=ca.issue("mail"), password="x") as server:  # noqa: S106
        channel = MailChannel(
            server_at(
                server.port,
                security="starttls",
                user="node",
                password_file=tmp_path / "gone",
                ca=ca.file,
            )
        )
        with pytest.raises(NoticeNotSent, match="No such file"):
            channel.send(a_message())
