"""Settings and peers in the console: what is in force, and C-ECHO to real peers and a dead port."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cadnode.console.peers import NodePeers
from cadnode.core.errors import ConfigError, NotFound
from cadnode.core.peers import EchoAnswer, PeerKind
from tests.certificates import SiteCa
from tests.console import ConsoleUnderTest, console_under_test
from tests.contract.exams import new_image
from tests.integration.test_console_today import text_of
from tests.peers import free_port, storescp


def entry(table: str, name: str, port: int | None = None, more: str = "") -> str:
    where = f'host = "127.0.0.1"\nport = {port}\n' if port else ""
    return f'[[{table}]]\nname = "{name}"\nae_title = "{name.upper()}"\n{where}{more}'


def echo(console: ConsoleUnderTest, kind: str, name: str) -> dict[str, object]:
    answer = console.browser.post(f"/api/v1/peers/{kind}/{name}/echo")
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


@pytest.mark.peers
def test_a_real_archive_answers_and_says_what_it_takes(tmp_path: Path):
    with storescp(tmp_path, ae_title="PACS") as archive:
        settings = entry("destinations", "pacs", archive.port)
        with console_under_test(tmp_path / "node", settings) as console:
            answer = echo(console, "destination", "pacs")
            assert answer["reachable"] is True
            assert answer["detail"] == "C-ECHO answered 0x0000"
            assert 0 < float(str(answer["milliseconds"])) < 10_000
            services = {s["name"]: s["accepted"] for s in answer["services"]}  # type: ignore[attr-defined]
            assert services["mammography-cad-sr"] is True
            # DCMTK's storescp stores, and does nothing else.
            assert services["C-FIND"] is False
            assert services["storage commitment"] is False
            assert answer["tls"] is None
            page = console.browser.post(
                "/settings/echo/destination/pacs", headers={"HX-Request": "true"}
            ).text
            assert "<html" not in page
            assert "answers in" in text_of(page)
            assert "not accepted C-FIND" in text_of(page)


@pytest.mark.peers
def test_over_tls_it_says_what_was_agreed_and_whose_certificate_was_shown(tmp_path: Path):
    ca = SiteCa(tmp_path / "tls")
    ours, theirs = ca.issue("node"), ca.issue("pacs", "localhost", "pacs.example", days=100)
    options = ["+tls", str(theirs.key), str(theirs.certificate), "+cf", str(ca.file)]
    tls = f'[tls]\ncertificate = "{ours.certificate}"\nkey = "{ours.key}"\nca = "{ours.ca}"\n'
    with storescp(tmp_path, ae_title="PACS", options=options) as archive:
        more = 'tls = true\ncertificate_host = "pacs.example"\n'
        settings = tls + entry("destinations", "pacs", archive.port, more)
        with console_under_test(tmp_path / "node", settings) as console:
            answer = console.browser.post(
                "/settings/echo/destination/pacs", headers={"HX-Request": "true"}
            ).text
            page = text_of(answer)
            assert re.search(r"Encrypted with TLSv1\.[23] \(", page)
            assert "its certificate is for localhost, pacs.example and expires on" in page


def test_a_dead_port_is_no_answer_with_the_reason(tmp_path: Path):
    port = free_port()
    kinds = (("destinations", "pacs"), ("sources", "old"), ("peers", "room"))
    settings = "".join(entry(table, name, port) for table, name in kinds)
    with console_under_test(tmp_path, settings) as console:
        for kind, name in (("destination", "pacs"), ("source", "old"), ("peer", "room")):
            answer = echo(console, kind, name)
            assert answer["reachable"] is False
            assert f"127.0.0.1:{port}" in str(answer["detail"])
            assert answer["services"] == []
        # Without scripts the whole page comes back, with the answer beside the peer.
        page = text_of(console.browser.post("/settings/echo/peer/room").text)
        assert "Settings in force" in page
        assert "no answer" in page


def test_who_listens_nowhere_or_is_nobody_cannot_be_asked(tmp_path: Path):
    with console_under_test(tmp_path, entry("peers", "room")) as console:
        assert console.browser.post("/api/v1/peers/peer/room/echo").status_code == 422
        assert console.browser.post("/api/v1/peers/peer/nobody/echo").status_code == 404
        assert console.browser.post("/api/v1/peers/planet/room/echo").status_code == 422
        assert "The settings do not say where it listens." in console.browser.get("/settings").text
        peers = NodePeers(console.app, console.store)
        with pytest.raises(ConfigError, match="'room' has no host and port"):
            peers.echo(PeerKind.PEER, "room", by="anna")
        with pytest.raises(NotFound, match="no destination 'room'"):
            peers.echo(PeerKind.DESTINATION, "room", by="anna")


def test_a_name_may_hold_any_letter(tmp_path: Path):
    name = "Zimmer 1/2 für <CC> & MLO"
    settings = entry("peers", "room", free_port()).replace('"room"', f'"{name}"')
    with console_under_test(tmp_path, settings) as console:
        page = console.browser.get("/settings").text
        (action,) = set(re.findall(r'action="(/settings/echo/[^"]*)"', page))
        answer = console.browser.post(action, headers={"HX-Request": "true"})
        assert answer.status_code == 200
        assert "no answer" in answer.text
        path = action.replace("/settings/echo/", "/api/v1/peers/")
        assert console.browser.post(f"{path}/echo").json()["name"] == name


def test_a_peer_is_not_asked_again_for_three_seconds(tmp_path: Path):
    now = datetime(2026, 3, 1, tzinfo=UTC)
    with console_under_test(tmp_path, entry("destinations", "pacs", free_port())) as console:
        peers = NodePeers(console.app, console.store, clock=lambda: now)
        first = peers.echo(PeerKind.DESTINATION, "pacs", by="anna")
        now += timedelta(seconds=2.9)
        assert peers.echo(PeerKind.DESTINATION, "pacs", by="berta") is first
        now += timedelta(seconds=0.1)
        assert peers.echo(PeerKind.DESTINATION, "pacs", by="anna").asked_at == now


def test_whoever_asks_at_the_same_moment_gets_the_same_answer(tmp_path: Path):
    now = datetime(2026, 3, 1, tzinfo=UTC)
    with console_under_test(tmp_path, entry("destinations", "pacs", free_port())) as console:
        peers = NodePeers(console.app, console.store, clock=lambda: now)
        found: list[EchoAnswer] = []
        threads = [
            threading.Thread(
                target=lambda: found.append(peers.echo(PeerKind.DESTINATION, "pacs", by="anna"))
            )
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(found) == 5
        assert len({id(answer) for answer in found}) == 1


def test_the_settings_page_names_whom_the_node_talks_to_and_when_they_last_sent(tmp_path: Path):
    settings = (
        entry("peers", "modality", more="may_store = true\n")
        + entry("sources", "old", 104)
        + '[[pull]]\nsource = "old"\nevery_minutes = 5\n'
    )
    with console_under_test(tmp_path, settings) as console:
        console.store.exams.accept(new_image(), now=datetime(2026, 3, 1, 8, 0, tzinfo=UTC))
        page = text_of(console.browser.get("/settings").text)
        assert "modality MODALITY from anywhere may store 2026-03-01" in page
        assert "old OLD 127.0.0.1:104 C-GET; pulled every 5 min (MG) none yet" in page
        peers = {p["name"]: p for p in console.browser.get("/api/v1/peers").json()}
        assert peers["modality"]["last_exam_at"].startswith("2026-03-01T08:00:00")
        assert peers["old"]["last_exam_at"] is None


def test_every_setting_is_on_the_page_with_where_it_came_from(tmp_path: Path):
    settings = '[work]\nmax_tries = 9\n[database]\nurl = ""\n'
    with console_under_test(tmp_path, settings) as console:
        page = text_of(console.browser.get("/settings").text)
        assert "work.max_tries 9 file" in page
        assert "exam.quiet_seconds 60.0 default" in page
        assert "has changed since" not in page
        answer = console.browser.get("/api/v1/settings").json()
        by_name = {f"{line['table']}.{line['key']}": line for line in answer["lines"]}
        assert by_name["work.max_tries"]["source"] == "file"
        assert by_name["work.max_tries"]["where"] == str(tmp_path / "cadnode.toml")
        (tmp_path / "cadnode.toml").write_text("[work]\nmax_tries = 8\n")
        assert "The file has changed since" in console.browser.get("/settings").text
        assert console.browser.get("/api/v1/settings").json()["file_changed"] is True


def test_certificates_are_listed_with_the_days_that_are_left(tmp_path: Path):
    ca = SiteCa(tmp_path / "tls")
    files = ca.issue("node", days=20.5)
    settings = (
        f'[tls]\ncertificate = "{files.certificate}"\nkey = "{files.key}"\nca = "{ca.file}"\n'
    )
    with console_under_test(tmp_path / "node", settings) as console:
        page = console.browser.get("/settings").text
        assert '<span class="badge warn">20 days left</span>' in page
        assert "belongs to it" in page
        found: Sequence[dict[str, object]] = console.browser.get("/api/v1/certificates").json()
        assert [item["key_matches"] for item in found] == [True, None]


def test_a_viewer_sees_the_page_and_asks_nobody(tmp_path: Path):
    from cadnode.core.accounts import LOCALHOST, Means, Role, User
    from cadnode.web.access.who import viewer

    with console_under_test(tmp_path, entry("destinations", "pacs", free_port())) as console:
        app = console.browser.app
        app.dependency_overrides[viewer] = lambda: User(LOCALHOST, Role.VIEWER, Means.LOCALHOST)  # type: ignore[attr-defined]
        assert "An operator may ask it." in console.browser.get("/settings").text
        assert console.browser.post("/api/v1/peers/destination/pacs/echo").status_code == 403
        assert console.browser.post("/settings/echo/destination/pacs").status_code == 403
