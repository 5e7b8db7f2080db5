"""A console of accounts alone, on a real store, with a clock that is moved by hand."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cadnode.app import App
from cadnode.config import load_settings
from cadnode.console import open_console
from cadnode.console.access import ConsoleAccess, provider_of
from cadnode.core.accounts import AttemptRules, Role
from cadnode.core.audit import AuditEvent, NoTrail
from cadnode.storage.account_store import AccountStore
from cadnode.storage.database import upgrade
from cadnode.storage.passwords import Passwords
from cadnode.store import Store
from cadnode.web import accounts as accounts_feature
from cadnode.web.access.guard import GuardRules
from cadnode.web.console import Console
from cadnode.web.server import Feature, create_app

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
