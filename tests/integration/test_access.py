"""Who gets into the console, and what strangers try."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from cadnode.app import App
from cadnode.config import load_settings
from cadnode.console import open_console
from cadnode.console.access import UNKNOWN, ConsoleAccess, provider_of
from cadnode.core.accounts import AttemptRules, Role
from cadnode.core.audit import AuditEvent, NoTrail, UserLogin, UserLogout
from cadnode.storage.account_store import AccountStore
from cadnode.storage.database import upgrade
from cadnode.storage.passwords import Passwords
from cadnode.store import Store
from cadnode.web import accounts as accounts_feature
from cadnode.web.access import csrf
from cadnode.web.access.guard import GuardRules
from cadnode.web.accounts.pages import browser_name
from cadnode.web.console import Console
from cadnode.web.server import FEATURES, Feature, create_app

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
WORD = "correct horse"
Response = Any
"""Which library the test client stands on is its own affair."""
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
STRANGER = "203.0.113.9"
PROXY = "10.0.0.2"
NAME = "cad.hospital.example"


class Recorder(NoTrail):
    """An audit trail that can be read."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    def record(self, event: AuditEvent) -> None:
        self.events.append(event)


@dataclass
class Site:
    """A console with a clock that is moved by hand."""

    app: FastAPI
    access: ConsoleAccess
    accounts: AccountStore
    store: Store
    audit: Recorder
    now: list[datetime] = field(default_factory=lambda: [START])

    def pass_time(self, **span: float) -> None:
        self.now[0] += timedelta(**span)

    def browser(self, address: str = "127.0.0.1", base: str = "http://127.0.0.1") -> TestClient:
        return TestClient(self.app, base_url=base, client=(address, 50000), follow_redirects=False)

    def add(self, name: str, role: Role = Role.ADMIN) -> None:
        self.access.add_user(name, role, WORD, by="test")


@functools.cache
def empty_database() -> bytes:
    """Made once: a site of its own for each test shall not cost the migrations each time."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "cadnode.db"
        upgrade(f"sqlite:///{file}")
        return file.read_bytes()


ONLY_ACCOUNTS: Sequence[Feature] = (accounts_feature,)
_APPS: dict[GuardRules, FastAPI] = {}


def quick_app(console: Console) -> FastAPI:
    """The pages of accounts alone, which look their console up at each request: made once."""
    rules = console.access.guard_rules
    if rules not in _APPS:
        _APPS[rules] = create_app(console, ONLY_ACCOUNTS)
    _APPS[rules].state.console = console
    return _APPS[rules]


@contextmanager
def site_with(
    folder: Path, web: str = "", features: Sequence[Feature] = ONLY_ACCOUNTS
) -> Iterator[Site]:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "data" / "cadnode.db").write_bytes(empty_database())
    config = folder / "cadnode.toml"
    config.write_text(f'[node]\ndata_dir = "data"\n[web]\n{web}')
    app = App(load_settings(config, {}))
    store = app.open_store(create=True)
    now = [START]
    audit = Recorder()
    accounts = AccountStore(store.database)
    access = ConsoleAccess(
        accounts,
        app.settings.web,
        audit=audit,
        clock=lambda: now[0],
        passwords=Passwords(QUICK),
        provider=provider_of(app.settings.web) if app.settings.web.oidc_issuer else None,
        attempts=AttemptRules(free_by_name=3, free_by_address=6),
    )
    console = open_console(app, store)
    values = {name: getattr(console, name) for name in console.__dataclass_fields__}
    console = type(console)(**{**values, "access": access, "clock": lambda: now[0]})
    web_app = create_app(console, features) if features != ONLY_ACCOUNTS else quick_app(console)
    try:
        yield Site(web_app, access, accounts, store, audit, now)
    finally:
        store.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_with(tmp_path) as site:
        yield site


def token_on(page: Response) -> str:
    found = re.search(r'name="csrf_token" value="([0-9a-f]{64})"', page.text)
    assert found, page.text
    return found[1]


def sign_in(browser: TestClient, name: str = "anna", word: str = WORD, **more: str) -> Response:
    page = browser.get("/sign-in")
    form = {"name": name, "password": word, "csrf_token": token_on(page), **more}
    return browser.post("/sign-in", data=form)


def signed_in(site: Site, name: str = "anna", role: Role = Role.ADMIN, **where: str) -> TestClient:
    if name not in [account.name for account in site.accounts.accounts()]:
        site.add(name, role)
    browser = site.browser(**where)
    assert sign_in(browser, name).status_code == 303
    return browser


def post(browser: TestClient, path: str, **form: str) -> Response:
    token = token_on(browser.get("/account"))
    return browser.post(path, data={"csrf_token": token, **form})


def twice(word: str) -> dict[str, str]:
    return {"password": word, "again": word}


def cookies_of(answer: Response) -> list[str]:
    return list(answer.headers.get_list("set-cookie"))


class TestBeforeThereIsAUser:
    def test_whoever_sits_at_the_machine_is_admin_and_is_told_so(self, site):
        page = site.browser().get("/users")
        assert page.status_code == 200
        assert "Whoever sits at this machine is admin here" in page.text
        assert site.browser().get("/api/v1/me").json() == {
            "name": "localhost",
            "role": "admin",
            "means": "localhost",
        }

    @pytest.mark.parametrize("base", ["http://localhost:8080", "http://[::1]:8080"])
    def test_under_every_name_of_the_machine(self, site, base):
        address = "::1" if "::" in base else "127.0.0.1"
        assert site.browser(address, base).get("/api/v1/me").status_code == 200

    @pytest.mark.parametrize("address", [STRANGER, "10.0.0.1", "::ffff:10.0.0.1", ""])
    def test_from_another_machine_nobody_comes_in_but_is_told_what_to_do(self, site, address):
        browser = site.browser(address, "http://localhost")
        assert browser.get("/api/v1/me").status_code == 401
        assert browser.get("/users").headers["location"] == "/sign-in?next=/users"
        page = browser.get("/sign-in")
        assert "cadnode users add NAME --role admin" in page.text
        assert 'type="password"' not in page.text

    @pytest.mark.parametrize(
        "header",
        ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Proto"],
    )
    def test_a_proxy_on_this_machine_is_not_whoever_sits_at_it(self, site, header):
        browser = site.browser()
        answer = browser.get("/api/v1/me", headers={header: "127.0.0.1"})
        assert answer.status_code == 401

    def test_another_site_cannot_make_the_first_user(self, site):
        browser = site.browser()
        form = {"name": "eve", "role": "admin", "password": WORD, "again": WORD}
        browser.get("/users")
        for headers in (
            {},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://127.0.0.1:9999"},
        ):
            assert browser.post("/users", data=form, headers=headers).status_code == 403
            json = {"name": "eve", "role": "admin", "password": WORD}
            answer = browser.post("/api/v1/users", json=json, headers=headers)
            assert answer.status_code == 403
        assert not site.accounts.anybody()

    def test_the_first_user_is_an_admin_and_from_then_on_everybody_signs_in(self, site):
        browser = site.browser()
        token = token_on(browser.get("/users"))
        form = {"name": "Anna", "password": WORD, "again": WORD, "csrf_token": token}
        refused = browser.post("/users", data={**form, "role": "viewer"})
        assert (refused.status_code, "has to be an admin" in refused.text) == (422, True)
        assert browser.post("/users", data={**form, "role": "admin"}).status_code == 303
        assert browser.get("/users").headers["location"] == "/sign-in?next=/users"
        assert browser.get("/api/v1/me").status_code == 401
        assert sign_in(browser).status_code == 303
        assert browser.get("/api/v1/me").json()["name"] == "anna"


class TestSigningIn:
    def test_name_and_password_get_somebody_to_where_they_were_going(self, site):
        site.add("anna")
        browser = site.browser(STRANGER)
        answer = sign_in(browser, " Anna ", next="/users")
        assert (answer.status_code, answer.headers["location"]) == (303, "/users")
        page = browser.get("/users")
        assert page.status_code == 200
        assert "Whoever sits" not in page.text

    @pytest.mark.parametrize(
        "target", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\nb"]
    )
    def test_but_never_to_another_site(self, site, target):
        site.add("anna")
        browser = site.browser()
        assert browser.get("/sign-in", params={"next": target}).status_code == 200
        assert sign_in(browser, next=target).headers["location"] == "/"
        assert browser.get("/sign-in", params={"next": target}).headers["location"] == "/"

    def test_a_wrong_password_and_a_wrong_name_get_the_same_words(self, site):
        site.add("anna")
        browser = site.browser()
        wrong = sign_in(browser, "anna", "not this one")
        nobody = sign_in(browser, "nobody", "not this one")
        assert (wrong.status_code, nobody.status_code) == (401, 401)
        assert unescape(wrong.text).replace("anna", "nobody").replace(
            token_on(wrong), ""
        ) == unescape(nobody.text).replace(token_on(nobody), "")

    def test_and_the_same_work_is_done(self, site, monkeypatch):
        site.add("anna")
        looked_at: list[bool] = []
        real = Passwords.matches

        def matches(self: Passwords, kept: str | None, password: str) -> bool:
            looked_at.append(kept is None)
            return real(self, kept, password)

        monkeypatch.setattr(Passwords, "matches", matches)
        sign_in(site.browser(), "anna", "not this one")
        sign_in(site.browser(), "nobody", "not this one")
        assert looked_at == [False, True]

    def test_the_cookie_is_out_of_the_reach_of_scripts_and_other_sites(self, site):
        site.add("anna")
        (cookie,) = cookies_of(sign_in(site.browser()))
        parts = cookie.split("; ")
        assert parts[0].startswith("cadnode_session=")
        assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= set(parts)
        assert "Domain" not in cookie

    def test_signing_in_gives_a_new_session_whatever_the_browser_brought(self, site):
        site.add("anna")
        browser = site.browser()
        browser.cookies.set("cadnode_session", "planted", domain="127.0.0.1", path="/")
        # The page takes the planted cookie away.
        browser.get("/sign-in")
        sign_in(browser)
        first = browser.cookies["cadnode_session"]
        assert first != "planted"
        again = site.browser()
        sign_in(again)
        assert again.cookies["cadnode_session"] != first
        planted = site.browser()
        planted.cookies.set("cadnode_session", "planted", domain="127.0.0.1", path="/")
        assert planted.get("/api/v1/me").status_code == 401

    def test_signing_in_again_ends_the_session_before(self, site):
        browser = signed_in(site)
        before = browser.cookies["cadnode_session"]
        token = token_on(browser.get("/account"))
        form = {"name": "anna", "password": WORD, "csrf_token": token}
        assert browser.post("/sign-in", data=form).status_code == 303
        assert browser.get("/api/v1/me").status_code == 200
        replay = site.browser()
        replay.cookies.set("cadnode_session", before, domain="127.0.0.1", path="/")
        assert replay.get("/api/v1/me").status_code == 401

    def test_another_site_cannot_sign_somebody_in(self, site):
        site.add("anna")
        form = {"name": "anna", "password": WORD}
        assert site.browser().post("/sign-in", data=form).status_code == 403
        browser = site.browser()
        token = token_on(browser.get("/sign-in"))
        stranger = site.browser()
        stranger.get("/sign-in")
        # A token that the attacker was given does not fit the victim's cookie.
        answer = stranger.post("/sign-in", data={**form, "csrf_token": token})
        assert (answer.status_code, "E902" in answer.text) == (403, True)

    def test_the_secret_itself_is_nowhere_in_the_database(self, site):
        browser = signed_in(site)
        with site.store.database.read() as connection:
            driver: Any = connection.connection.driver_connection
            dump = "\n".join(driver.iterdump())
        assert browser.cookies["cadnode_session"] not in dump
        assert WORD not in dump

    def test_an_old_hash_is_made_anew(self, site):
        site.add("anna")
        old = Passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)).hash(WORD)
        site.accounts.set_password("anna", old, by="test", now=START)
        sign_in(site.browser())
        kept = site.accounts.password_hash("anna")
        assert kept is not None
        assert "t=1," in kept
        assert sign_in(site.browser()).status_code == 303

    def test_a_link_from_elsewhere_finds_somebody_signed_in(self, site):
        # Chromium sends a strict cookie only with what begins at a page of ours.
        browser = site.browser()
        site.add("anna")
        followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        page = browser.get("/users?x=1", headers=followed)
        assert page.status_code == 200
        assert '<meta http-equiv="refresh" content="0; url=/users?x=1">' in page.text
        sign_in(browser)
        assert browser.get("/users?x=1", headers=followed).status_code == 200

    def test_a_part_of_a_page_sends_the_whole_page_to_the_sign_in(self, site):
        site.add("anna")
        answer = site.browser().get(
            "/users",
            headers={"HX-Request": "true", "HX-Current-URL": "http://127.0.0.1/exams?page=2"},
        )
        assert answer.status_code == 401
        assert answer.headers["hx-redirect"] == "/sign-in?next=/exams%3Fpage%3D2"


class TestGuessing:
    def test_after_a_few_wrong_ones_even_the_right_password_waits(self, site):
        site.add("anna")
        for _ in range(3):
            assert sign_in(site.browser(), word="not this one").status_code == 401
        answer = sign_in(site.browser())
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "15")
        assert "try again in 15 s" in answer.text
        site.pass_time(seconds=14.9)
        assert sign_in(site.browser()).status_code == 429
        site.pass_time(seconds=0.1)
        assert sign_in(site.browser()).status_code == 303

    def test_a_name_that_nobody_has_waits_just_the_same(self, site):
        site.add("anna")
        for _ in range(3):
            sign_in(site.browser(), "nobody", "not this one")
        assert sign_in(site.browser(), "nobody", "not this one").status_code == 429

    def test_one_address_cannot_try_name_after_name(self, site):
        site.add("anna")
        for number in range(6):
            sign_in(site.browser(STRANGER), f"user{number}", "not this one")
        assert sign_in(site.browser(STRANGER)).status_code == 429
        assert sign_in(site.browser("203.0.113.10")).status_code == 303

    def test_an_address_that_is_made_up_in_a_header_does_not_help(self, site):
        site.add("anna")
        codes = []
        for number in range(8):
            browser = site.browser(STRANGER)
            browser.headers["X-Forwarded-For"] = f"198.51.100.{number}"
            codes.append(sign_in(browser, f"user{number}", "not this one").status_code)
        assert codes == [401] * 6 + [429] * 2

    def test_changing_the_password_is_no_way_around(self, site):
        browser = signed_in(site)
        form = {
            "old": "not this one",
            "password": "a longer password",
            "again": "a longer password",
        }
        codes = [post(browser, "/account/password", **form).status_code for _ in range(4)]
        assert codes == [422, 422, 422, 429]


class TestSessions:
    def test_a_session_that_was_signed_out_is_good_for_nothing(self, site):
        browser = signed_in(site)
        secret = browser.cookies["cadnode_session"]
        answer = post(browser, "/sign-out")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
        assert "cadnode_session" not in browser.cookies
        replay = site.browser()
        replay.cookies.set("cadnode_session", secret, domain="127.0.0.1", path="/")
        assert replay.get("/api/v1/me").status_code == 401

    def test_it_ends_without_use_and_after_the_longest_time(self, site):
        browser = signed_in(site)
        site.pass_time(minutes=59)
        assert browser.get("/api/v1/me").status_code == 200
        site.pass_time(minutes=60)
        assert browser.get("/api/v1/me").status_code == 401
        browser = signed_in(site)
        for _ in range(23):
            site.pass_time(minutes=30)
            assert browser.get("/api/v1/me").status_code == 200
        site.pass_time(minutes=30)
        assert browser.get("/api/v1/me").status_code == 401

    def test_a_page_that_refreshes_itself_does_not_keep_it(self, site):
        browser = signed_in(site)
        for _ in range(11):
            site.pass_time(minutes=5)
            headers = {"X-Passive": "1"}
            assert browser.get("/api/v1/me", headers=headers).status_code == 200
        site.pass_time(minutes=5)
        assert browser.get("/api/v1/me").status_code == 401

    def test_after_it_has_ended_the_sign_in_works_at_the_first_try(self, site):
        browser = signed_in(site)
        site.pass_time(hours=13)
        assert browser.get("/account").headers["location"] == "/sign-in?next=/account"
        assert sign_in(browser).status_code == 303

    def test_a_new_password_signs_the_other_browsers_out(self, site):
        mine, other = signed_in(site), signed_in(site)
        new = "another long one"
        done = post(mine, "/account/password", old=WORD, password=new, again=new)
        assert "Your password is changed" in done.text
        assert mine.get("/api/v1/me").status_code == 200
        assert other.get("/api/v1/me").status_code == 401
        assert sign_in(site.browser()).status_code == 401
        assert sign_in(site.browser(), word=new).status_code == 303

    @pytest.mark.parametrize(
        ("form", "says"),
        [
            ({"old": "not this one", "password": "x", "again": "x"}, "at least 12"),
            ({"old": WORD, "password": "annaannaanna", "again": "annaannaanna"}, "more than"),
            ({"old": WORD, "password": "a long one 1", "again": "a long one 2"}, "differ"),
            ({"old": "no", "password": "a long one 1", "again": "a long one 1"}, "no such user"),
        ],
    )
    def test_a_password_that_cannot_be_is_refused_with_the_reason(self, site, form, says):
        browser = signed_in(site)
        answer = post(browser, "/account/password", **form)
        assert (answer.status_code, says in answer.text) == (422, True)
        assert sign_in(site.browser()).status_code == 303

    def test_one_can_sign_out_a_browser_left_open_elsewhere(self, site):
        mine = signed_in(site)
        other = signed_in(site, address=STRANGER)
        there = next(
            session
            for session in mine.get("/api/v1/me/sessions").json()
            if session["address"] == STRANGER
        )
        assert "this one" in mine.get("/account").text
        assert not there["current"]
        assert "signed out" in post(mine, f"/account/sessions/{there['id']}/end").text
        assert other.get("/api/v1/me").status_code == 401
        assert mine.get("/api/v1/me").status_code == 200

    def test_a_removed_user_is_out_and_a_changed_role_counts_at_once(self, site):
        anna = signed_in(site)
        bert = signed_in(site, "bert", Role.VIEWER)
        assert bert.get("/users").status_code == 403
        assert post(anna, "/users/bert/role", role="admin").status_code == 200
        assert bert.get("/users").status_code == 200
        assert post(anna, "/users/bert/remove").status_code == 200
        assert bert.get("/api/v1/me").status_code == 401


class TestForgery:
    def test_a_change_without_the_token_of_the_session_is_refused(self, site):
        browser = signed_in(site)
        form = {"name": "eve", "role": "viewer", "password": WORD, "again": WORD}
        other = token_on(signed_in(site).get("/account"))
        visit = token_on(site.browser().get("/sign-in"))
        for token in ("", "0" * 64, other, visit, "ä"):
            answer = browser.post("/users", data={**form, "csrf_token": token})
            assert (answer.status_code, "E902" in answer.text) == (403, True), token
            answer = browser.post(
                "/api/v1/users",
                json={"name": "eve", "role": "viewer", "password": WORD},
                headers={b"X-CSRF-Token": token.encode()},
            )
            assert (answer.status_code, answer.json()["code"]) == (403, "E902"), token
        assert [account.name for account in site.accounts.accounts()] == ["anna"]

    def test_nor_one_that_begins_at_another_site_even_with_it(self, site):
        browser = signed_in(site)
        form = {"csrf_token": token_on(browser.get("/account"))}
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1.evil.example"},
            {"Origin": "http://127.0.0.1:99999"},
            {"Origin": ""},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            answer = browser.post("/sign-out", data=form, headers=headers)
            assert answer.status_code == 403, headers
        assert browser.get("/api/v1/me").status_code == 200
        for headers in ({"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"},):
            assert browser.post("/sign-out", data=form, headers=headers).status_code == 303

    def test_other_sites_cannot_use_pictures_of_ours(self, site):
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        assert site.browser().get("/account", headers=headers).status_code == 403

    def test_a_token_of_the_api_needs_no_other(self, site):
        browser = signed_in(site)
        made = browser.post(
            "/api/v1/me/tokens",
            json={"name": "script", "role": "admin"},
            headers={"X-CSRF-Token": token_on(browser.get("/account"))},
        )
        assert made.status_code == 201
        program = site.browser(STRANGER)
        program.headers["Authorization"] = f"Bearer {made.json()['token']}"
        body = {"name": "bert", "role": "viewer", "password": WORD}
        assert program.post("/api/v1/users", json=body).status_code == 201

    def test_where_there_is_a_token_the_cookie_does_not_count(self, site):
        browser = signed_in(site)
        for value in ("Bearer wrong", "Basic YW5uYTp4", "Bearer", "x"):
            answer = browser.get("/api/v1/me", headers={"Authorization": value})
            assert answer.status_code == 401, value
            answer = browser.post(
                "/api/v1/users",
                json={"name": "eve", "role": "admin", "password": WORD},
                headers={"Authorization": value},
            )
            assert answer.status_code == 401, value


class TestNames:
    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "",
            "localhost.evil",
            "[::2]",
        ],
    )
    def test_a_name_that_is_not_ours_gets_nothing(self, site, host):
        for path in ("/", "/api/v1/me", "/static/cadnode.css", "/sign-in"):
            answer = site.browser().get(path, headers={"Host": host})
            assert answer.status_code == 400, path
            assert "[web] hosts" in answer.text

    def test_names_in_the_settings_are_ours(self, tmp_path):
        with site_with(tmp_path, f'hosts = ["{NAME.upper()}"]\n') as site:
            site.add("anna")
            browser = site.browser(STRANGER, f"http://{NAME}:8080")
            assert sign_in(browser).status_code == 303
            origin = {"Origin": f"http://{NAME}:8080"}
            form = {"csrf_token": token_on(browser.get("/account"))}
            assert browser.post("/sign-out", data=form, headers=origin).status_code == 303

    def test_the_address_that_we_listen_on_is_ours(self, site):
        # The test client says that it reached the host it asks for.
        site.add("anna")
        browser = site.browser(STRANGER, "http://10.0.0.7:8080")
        assert browser.get("/sign-in").status_code == 200
        assert browser.get("/sign-in", headers={"Host": "10.0.0.8:8080"}).status_code == 400

    def test_before_there_is_a_user_a_name_in_the_settings_is_not_this_machine(self, tmp_path):
        with site_with(tmp_path, f'hosts = ["{NAME}"]\n') as site:
            browser = site.browser("127.0.0.1", f"http://{NAME}")
            assert browser.get("/api/v1/me").status_code == 401


class TestProxies:
    SETTINGS = f'host = "0.0.0.0"\ntrusted_proxies = ["{PROXY}"]\nhosts = ["{NAME}"]\n'

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Site]:
        with site_with(tmp_path, self.SETTINGS) as site:
            site.add("anna")
            yield site

    def browser(self, site: Site, peer: str = PROXY, client: str = STRANGER) -> TestClient:
        browser = site.browser(peer, f"http://{NAME}")
        browser.headers["X-Forwarded-For"] = client
        browser.headers["X-Forwarded-Proto"] = "https"
        return browser

    def test_behind_a_proxy_that_encrypts_the_cookie_is_for_encrypted_connections(self, site):
        browser = self.browser(site)
        page = browser.get("/sign-in")
        # The test client itself speaks http and would keep the cookies back.
        (visit,) = cookies_of(page)
        form = {"name": "anna", "password": WORD, "csrf_token": token_on(page)}
        answer = browser.post(
            "/sign-in",
            data=form,
            headers={"Cookie": visit.split(";")[0], "Origin": f"https://{NAME}"},
        )
        assert answer.status_code == 303
        (cookie,) = cookies_of(answer)
        assert cookie.startswith("__Host-cadnode_session=")
        assert "Secure" in cookie.split("; ")
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert site.audit.events == [UserLogin("anna", STRANGER)]

    def test_only_the_nearest_address_the_proxy_does_not_vouch_for_counts(self, site):
        codes = []
        for number in range(8):
            browser = self.browser(site, client=f"198.51.100.{number}, {STRANGER}, {PROXY}")
            page = browser.get("/sign-in")
            form = {"name": f"u{number}", "password": "x", "csrf_token": token_on(page)}
            visit = cookies_of(page)[0].split(";")[0]
            answer = browser.post("/sign-in", data=form, headers={"Cookie": visit})
            codes.append(answer.status_code)
        assert codes == [401] * 6 + [429] * 2

    def test_who_comes_around_the_proxy_gets_nothing(self, site):
        answer = self.browser(site, peer="10.0.0.3").get("/sign-in")
        assert (answer.status_code, "come by the proxy" in answer.text) == (403, True)

    def test_through_the_proxy_nobody_is_at_the_machine(self, tmp_path):
        with site_with(tmp_path / "new", 'trusted_proxies = ["127.0.0.1"]\n') as site:
            for forwarded in ({}, {"X-Forwarded-For": "127.0.0.1"}):
                browser = site.browser()
                assert browser.get("/api/v1/me", headers=forwarded).status_code == 401


class TestRoles:
    """Every route that changes something, found in the application itself."""

    PUBLIC = ("/sign-in", "/sign-out")
    SEARCHES = ("/exams", "/exams/csv", "/api/v1/exams/search", "/api/v1/exams/search.csv")
    """They change nothing; what is searched for shall not stand in an address."""

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Site]:
        with site_with(tmp_path, features=FEATURES) as site:
            yield site

    def routes(self, site: Site) -> Iterator[tuple[str, str]]:
        for method, path in every_route(site.app):
            if method not in ("GET", "HEAD", "OPTIONS") and path not in self.PUBLIC:
                yield method, path

    def test_there_are_some(self, site):
        assert len(list(self.routes(site))) > 15

    def test_nobody_may_do_any_of_it(self, site):
        site.add("anna")
        for method, path in self.routes(site):
            answer = site.browser().request(method, path)
            expected = 401 if path.startswith("/api/") else 403
            assert answer.status_code == expected, path
            token = {"Authorization": "Bearer wrong"}
            answer = site.browser().request(method, path, headers=token)
            assert answer.status_code in (303, 401), path

    def test_no_cookie_alone_does_any_of_it(self, site):
        browser = signed_in(site)
        for method, path in self.routes(site):
            assert browser.request(method, path).status_code == 403, path

    def test_a_viewer_changes_nothing_but_the_own_account(self, site):
        site.add("anna")
        browser = signed_in(site, "vera", Role.VIEWER)
        browser.headers["X-CSRF-Token"] = token_on(browser.get("/account"))
        for method, path in self.routes(site):
            if path.startswith(("/account/", "/api/v1/me/")) or path in self.SEARCHES:
                continue
            assert browser.request(method, path).status_code == 403, path

    def test_an_operator_does_nothing_about_accounts(self, site):
        site.add("anna")
        browser = signed_in(site, "otto", Role.OPERATOR)
        browser.headers["X-CSRF-Token"] = token_on(browser.get("/account"))
        about = ("/users", "/api/v1/users", "/api/v1/tokens", "/api/v1/account-changes")
        tried = [r for r in self.routes(site) if r[1].startswith(about)]
        assert len(tried) > 8
        for method, path in tried:
            assert browser.request(method, path).status_code == 403, path
        for path in about:
            assert browser.get(path).status_code == 403

    def test_no_page_with_data_is_shown_to_nobody(self, site):
        site.add("anna")
        open_to_all = {
            "/sign-in",
            "/sign-in/provider",
            "/sign-in/provider/arrival",
            "/api/v1/openapi.json",
        }
        machines = {"/healthz", "/readyz", "/metrics"}
        looked_at = 0
        for method, path in every_route(site.app):
            if method != "GET" or path in open_to_all | machines:
                continue
            answer = site.browser().get(path)
            assert answer.status_code in (303, 401), path
            looked_at += 1
        assert looked_at > 10


def every_route(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of every route, with 1 for each parameter."""
    for context in iter_route_contexts(app.routes):
        for method in sorted(context.methods or ()):
            yield method, re.sub(r"\{[^}]*\}", "1", context.path or "")


class TestTokens:
    def make(self, browser: TestClient, **body: Any) -> Response:
        token = token_on(browser.get("/account"))
        body = {"name": "script", **body}
        return browser.post("/api/v1/me/tokens", json=body, headers={"X-CSRF-Token": token})

    def program(self, site: Site, token: str) -> TestClient:
        program = site.browser(STRANGER)
        program.headers["Authorization"] = f"Bearer {token}"
        return program

    def test_a_token_is_shown_once_and_then_no_more(self, site):
        browser = signed_in(site)
        page = post(browser, "/account/tokens", name="script", role="viewer", days="7")
        found = re.search(r"cadnode_[\w-]{43}", page.text)
        assert found
        assert self.program(site, found[0]).get("/api/v1/me").json() == {
            "name": "anna",
            "role": "viewer",
            "means": "token",
        }
        assert found[0] not in browser.get("/account").text
        assert found[0] not in browser.get("/api/v1/me/tokens").text
        assert found[0] not in browser.get("/users").text

    def test_it_does_what_its_role_may_and_ends_when_it_is_over_or_revoked(self, site):
        browser = signed_in(site)
        made = self.make(browser, role="viewer", days=1).json()
        program = self.program(site, made["token"])
        assert program.get("/api/v1/users").status_code == 403
        site.pass_time(hours=24)
        assert program.get("/api/v1/me").status_code == 401
        browser = signed_in(site)
        made = self.make(browser, role="admin").json()
        program = self.program(site, made["token"])
        assert program.get("/api/v1/users").status_code == 200
        assert post(browser, f"/account/tokens/{made['id']}/revoke").status_code == 200
        assert program.get("/api/v1/users").status_code == 401
        assert program.get("/api/v1/users").headers["www-authenticate"] == "Bearer"

    def test_a_token_makes_no_token_and_no_password(self, site):
        program = self.program(site, self.make(signed_in(site), role="admin").json()["token"])
        assert program.post("/api/v1/me/tokens", json={"name": "more"}).status_code == 403
        body = {"old": WORD, "password": "another long one"}
        assert program.put("/api/v1/me/password", json=body).status_code == 403

    def test_nobody_makes_one_that_may_do_more_than_they(self, site):
        site.add("anna")
        vera = signed_in(site, "vera", Role.VIEWER)
        answer = self.make(vera, role="operator")
        assert (answer.status_code, answer.json()["code"]) == (409, "E905")

    @pytest.mark.parametrize("body", [{"days": 0}, {"days": 3651}, {"name": ""}, {"role": "root"}])
    def test_what_makes_no_sense_is_refused(self, site, body):
        assert self.make(signed_in(site), **body).status_code == 422

    def test_another_ones_token_is_not_theirs_to_revoke(self, site):
        made = self.make(signed_in(site)).json()
        vera = signed_in(site, "vera", Role.VIEWER)
        assert post(vera, f"/account/tokens/{made['id']}/revoke").status_code == 404
        assert self.program(site, made["token"]).get("/api/v1/me").status_code == 200

    def test_an_admin_sees_and_ends_them_all(self, site):
        anna, vera = signed_in(site), signed_in(site, "vera", Role.VIEWER)
        made = self.make(vera).json()
        (listed,) = anna.get("/api/v1/tokens").json()
        assert (listed["owner"], "token" in listed) == ("vera", False)
        assert post(anna, f"/users/tokens/{made['id']}/revoke").status_code == 200
        assert self.program(site, made["token"]).get("/api/v1/me").status_code == 401


class TestUsers:
    def api(self, site: Site) -> TestClient:
        browser = signed_in(site)
        browser.headers["X-CSRF-Token"] = token_on(browser.get("/account"))
        return browser

    def test_programs_do_what_the_pages_do(self, site):
        api = self.api(site)
        body = {"name": "Bert", "role": "viewer", "password": WORD}
        assert api.post("/api/v1/users", json=body).json()["name"] == "bert"
        assert api.post("/api/v1/users", json=body).status_code == 409
        assert [user["name"] for user in api.get("/api/v1/users").json()] == ["anna", "bert"]
        assert api.put("/api/v1/users/bert/role", json={"role": "operator"}).status_code == 204
        assert api.get("/api/v1/users/bert").json()["role"] == "operator"
        new = {"password": "another long one"}
        assert api.put("/api/v1/users/bert/password", json=new).status_code == 204
        assert sign_in(site.browser(), "bert", new["password"]).status_code == 303
        assert api.delete("/api/v1/users/bert").status_code == 204
        assert api.get("/api/v1/users/bert").status_code == 404
        assert api.delete("/api/v1/users/anna").status_code == 409
        assert api.put("/api/v1/users/anna/role", json={"role": "viewer"}).status_code == 409

    def test_an_admin_sees_who_changed_what(self, site):
        api = self.api(site)
        api.post("/api/v1/users", json={"name": "bert", "role": "viewer", "password": WORD})
        newest = api.get("/api/v1/account-changes").json()[0]
        assert (newest["text"], newest["actor"]) == ("User bert was added as viewer.", "anna")
        assert "User bert was added as viewer." in api.get("/users").text

    def test_a_new_password_ends_the_wait_of_whoever_forgot_the_old_one(self, site):
        api = self.api(site)
        site.add("bert", Role.VIEWER)
        for _ in range(3):
            sign_in(site.browser(), "bert", "not this one")
        assert sign_in(site.browser(), "bert").status_code == 429
        api.put("/api/v1/users/bert/password", json={"password": "another long one"})
        assert sign_in(site.browser(), "bert", "another long one").status_code == 303

    def test_pages_say_what_was_done_or_why_not(self, site):
        anna = signed_in(site)
        form = {"name": "bert", "role": "viewer", "password": WORD, "again": WORD}
        assert "bert can sign in now" in post(anna, "/users", **form).text
        again = post(anna, "/users", **form)
        assert (again.status_code, "already" in again.text) == (422, True)
        assert "bert" in anna.get("/users/bert").text
        assert anna.get("/users/nobody").status_code == 404
        assert "last admin" in post(anna, "/users/anna/remove").text
        assert "last admin" in post(anna, "/users/anna/role", role="viewer").text
        assert "no such role" in post(anna, "/users/bert/role", role="root").text
        done = post(anna, "/users/bert/password", password="x" * 20, again="y" * 20)
        assert "differ" in done.text
        done = post(anna, "/users/bert/password", **twice("a new one, long"))
        assert "has a new password" in done.text

    @pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 30])
    def test_a_number_that_is_none_of_ours_is_said_to_be_so(self, site, number):
        anna = signed_in(site)
        for path in (
            f"/account/tokens/{number}/revoke",
            f"/account/sessions/{number}/end",
            f"/users/tokens/{number}/revoke",
        ):
            assert post(anna, path).status_code == 422, path
        form = {"name": "x", "role": "viewer", "days": number}
        assert post(anna, "/account/tokens", **form).status_code == 422

    @pytest.mark.parametrize("name", ["\0", "x" * 4000, "\N{SNOWMAN}", "../anna", "%00"])
    def test_a_name_that_cannot_be_is_nobodys(self, site, name):
        anna = signed_in(site)
        assert sign_in(site.browser(), name, "x").status_code == 401
        assert anna.get(f"/users/{quote(name)}").status_code in (404, 422)
        form = {"name": name, "role": "viewer", "password": WORD, "again": WORD}
        assert post(anna, "/users", **form).status_code == 422

    def test_who_changes_themselves_is_where_that_leads(self, site):
        anna = signed_in(site)
        site.add("bert")
        answer = post(anna, "/users/anna/password", **twice("a new long one"))
        assert answer.headers["location"] == "/sign-in"
        sign_in(anna, word="a new long one")
        assert post(anna, "/users/anna/role", role="viewer").headers["location"] == "/account"
        assert anna.get("/users").status_code == 403

    @pytest.mark.parametrize(
        ("called", "name"),
        [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Firefox/128.0",
                "Firefox on Windows",
            ),
            ("Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0 Safari/537.36", "Chrome on Linux"),
            ("Mozilla/5.0 (Windows NT 10.0) Chrome/126.0 Safari/537 Edg/126.0", "Edge on Windows"),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17 like Mac OS X) Safari/604",
                "Safari on an iPhone",
            ),
            ("curl/8.0 (Linux)", "A browser on Linux"),
            ("curl/8.0", "unknown"),
            ("", "unknown"),
        ],
    )
    def test_a_browser_has_the_name_that_people_give_it(self, called, name):
        assert browser_name(called) == name

    def test_what_a_stranger_calls_themselves_is_shown_as_text(self, site):
        browser = site.browser()
        browser.headers["User-Agent"] = "<script>alert(1)</script>"
        site.add("anna")
        sign_in(browser)
        assert "<script>alert" not in browser.get("/account").text
        refused = sign_in(site.browser(), '"><script>alert(1)</script>', "x")
        assert "<script>alert" not in refused.text


class TestWhatIsWrittenDown:
    def test_sign_ins_sign_outs_and_refusals_go_to_the_audit_trail(self, site):
        browser = signed_in(site, address=STRANGER)
        post(browser, "/sign-out")
        sign_in(site.browser(STRANGER), word="not this one")
        sign_in(site.browser(STRANGER), "my password by mistake", "x")
        why = "there is no such user with this password"
        assert site.audit.events == [
            UserLogin("anna", STRANGER),
            UserLogout("anna", STRANGER),
            UserLogin("anna", STRANGER, why),
            UserLogin(UNKNOWN, STRANGER, why),
        ]

    def test_no_name_that_nobody_has_and_no_secret_is_logged(self, site, capsys):
        browser = signed_in(site)
        sign_in(site.browser(), "my password by mistake", "another mistake")
        said = "".join(capsys.readouterr())
        assert "signed in" in said
        assert "a sign-in was refused" in said
        for secret in ("mistake", WORD, browser.cookies["cadnode_session"]):
            assert secret not in said


class TestAnswers:
    def test_every_answer_says_what_a_browser_may_do_with_it(self, site):
        browser = signed_in(site)
        for path, status in (
            ("/account", 200),
            ("/static/cadnode.css", 200),
            ("/nowhere", 404),
            ("/api/v1/me", 200),
            ("/users/nobody", 404),
        ):
            answer = browser.get(path)
            assert answer.status_code == status
            headers = answer.headers
            assert "default-src 'self'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            static = path.startswith("/static")
            assert headers["cache-control"] == ("no-cache" if static else "no-store")
            assert "strict-transport-security" not in headers
            assert "server" not in headers

    def test_refusals_do_too(self, site):
        answer = site.browser().get("/", headers={"Host": "evil.example"})
        assert "default-src 'self'" in answer.headers["content-security-policy"]

    @pytest.mark.parametrize("path", ["/account", "/api/v1/me"])
    def test_an_answer_that_nobody_planned_does_too_and_tells_nothing(
        self, site, monkeypatch, path
    ):
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("Patient^Name")

        monkeypatch.setattr(site.access, "signed_in", fail)
        browser = TestClient(
            site.app,
            base_url="http://127.0.0.1",
            client=("127.0.0.1", 1),
            raise_server_exceptions=False,
        )
        browser.cookies.set("cadnode_session", "x", domain="127.0.0.1", path="/")
        answer = browser.get(path)
        assert (answer.status_code, "E000" in answer.text) == (500, True)
        assert "Patient^Name" not in answer.text
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"

    def test_no_page_holds_what_the_policy_forbids(self, site):
        browser = signed_in(site)
        for path in ("/account", "/users", "/users/anna"):
            text = browser.get(path).text
            assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=", text), path

    def test_a_body_is_no_larger_than_a_form(self, site):
        browser = site.browser()
        answer = browser.post("/sign-in", content=b"x" * (1 << 20) + b"x")
        assert answer.status_code == 413
        answer = browser.post("/sign-in", content=iter([b"x"]))
        assert answer.status_code == 411

    def test_over_tls_cookies_have_names_that_nobody_else_can_set(self, site):
        site.add("anna")
        browser = site.browser(base="https://127.0.0.1")
        answer = sign_in(browser)
        (cookie,) = cookies_of(answer)
        assert cookie.startswith("__Host-cadnode_session=")
        assert {"Secure", "Path=/", "HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
        # Of this machine other programs may be asked without TLS.
        assert "strict-transport-security" not in answer.headers
        browser.cookies.set("cadnode_session", "planted", domain="127.0.0.1", path="/")
        assert browser.get("/api/v1/me").status_code == 200


def test_the_token_of_a_page_is_not_the_cookie_itself():
    assert csrf.token_from("secret") != csrf.token_from("secret2")
    assert "secret" not in csrf.token_from("secret")
