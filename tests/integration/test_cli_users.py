"""`cadnode users` and `cadnode tokens`, as an administrator types them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cadnode.app import App
from cadnode.cli import cli
from cadnode.config import load_settings
from cadnode.console.access import open_access
from cadnode.core.accounts import Role
from cadnode.core.errors import AccountRefused, NotFound
from cadnode.web.access.ports import Visitor

WORD = "correct horse"
ME = Visitor("127.0.0.1", "")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "cadnode.toml"
    file.write_text('[node]\ndata_dir = "data"\n')
    return file


def run(config: Path, *arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(cli, [*arguments, "--config", str(config)], input=stdin)


def add(config: Path, name: str = "anna", role: str = "admin") -> Result:
    return run(config, "users", "add", name, "--role", role, "--password-stdin", stdin=f"{WORD}\n")


@pytest.fixture
def access(config: Path):
    store = App(load_settings(config, {})).open_store(create=True)
    yield open_access(App(load_settings(config, {})), store)
    store.close()


def test_the_first_user_is_made_before_the_node_has_ever_run(config, access):
    assert "There is no user yet" in run(config, "users", "list").output
    assert "anna can sign in as admin" in add(config, " Anna ").output
    assert access.sign_in("anna", WORD, ME)
    listed = run(config, "users", "list").output
    assert "anna" in listed
    assert "with a password" in listed
    (only,) = json.loads(run(config, "users", "list", "--json").output)
    assert (only["name"], only["role"], only["origin"]) == ("anna", "admin", "local")
    assert "hash" not in str(only)


def test_a_password_is_asked_for_twice_where_somebody_types(config, access):
    refused = run(config, "users", "add", "anna", "--role", "admin", stdin=f"{WORD}\nother\n")
    assert refused.exit_code != 0
    done = run(config, "users", "add", "anna", "--role", "admin", stdin=f"{WORD}\n{WORD}\n")
    assert done.exit_code == 0
    assert WORD not in done.output
    assert access.sign_in("anna", WORD, ME)


def test_no_option_takes_a_password(config):
    for command in ("add", "passwd"):
        assert run(config, "users", command, "anna", "--password", WORD).exit_code == 2


def test_what_cannot_be_is_refused_with_the_reason(config):
    with pytest.raises(AccountRefused, match="first user"):
        raise add(config, role="viewer").exception or AssertionError
    add(config)
    short = run(config, "users", "add", "bert", "--password-stdin", stdin="short\n")
    assert isinstance(short.exception, AccountRefused)
    last = run(config, "users", "remove", "anna")
    assert isinstance(last.exception, AccountRefused)
    nobody = run(config, "users", "passwd", "nobody", "--password-stdin", stdin=f"{WORD}\n")
    assert isinstance(nobody.exception, NotFound)


def test_a_new_password_a_new_role_and_no_user_any_more(config, access):
    add(config)
    add(config, "bert", "viewer")
    secret = access.sign_in("bert", WORD, ME)
    new = "another long one"
    done = run(config, "users", "passwd", "Bert", "--password-stdin", stdin=f"{new}\n")
    assert "bert has a new password" in done.output
    assert access.signed_in(secret, used=False) is None
    secret = access.sign_in("bert", new, ME)
    assert "bert is operator now" in run(config, "users", "role", "bert", "operator").output
    user = access.signed_in(secret, used=False)
    assert user is not None
    assert user.role is Role.OPERATOR
    assert "bert is removed" in run(config, "users", "remove", "bert").output
    assert access.signed_in(secret, used=False) is None


def test_a_token_stands_alone_on_standard_output_and_is_not_shown_again(config, access):
    assert "There is no token" in run(config, "tokens", "list").output
    made = run(config, "tokens", "add", "grafana", "--role", "viewer", "--days", "30")
    token = made.stdout.strip()
    assert "Token 1 is good until" in made.stderr
    user = access.holder(token)
    assert user is not None
    assert (user.name, user.role) == ("token:grafana", Role.VIEWER)
    listed = run(config, "tokens", "list").output
    assert "grafana" in listed
    assert token not in listed
    (only,) = json.loads(run(config, "tokens", "list", "--json").output)
    days = (datetime.fromisoformat(only["expires_at"]) - datetime.now(UTC)).days
    assert (only["role"], days) == ("viewer", 29)
    assert "Token 1 is revoked" in run(config, "tokens", "revoke", "1").output
    assert access.holder(token) is None


def test_what_is_typed_at_a_terminal_is_not_seen(config, access):
    command = ["-m", "cadnode", "users", "add", "anna", "--role", "admin", "-c", str(config)]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = ""
    for asked in ("Password: ", "Again: "):
        while not seen.endswith(asked):
            seen += os.read(ours, 1024).decode()
        os.write(ours, f"{WORD}\n".encode())
    # Linux ends a terminal that nobody holds any more with EIO.
    with contextlib.suppress(OSError):
        while more := os.read(ours, 1024):
            seen += more.decode()
    os.close(ours)
    assert process.wait() == 0
    assert "anna can sign in as admin" in seen
    assert WORD not in seen
    assert access.sign_in("anna", WORD, ME)
