"""A store of accounts on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cadnode.core.accounts import Role
from cadnode.storage.account_store import AccountStore
from cadnode.storage.database import Database, upgrade
from tests.contract.accounts.kept import T0


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("accounts") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path.read_bytes()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path, empty: bytes) -> Iterator[Database]:
    if request.param == "postgresql":
        yield request.getfixturevalue("postgres_database")
        return
    path = tmp_path / "cadnode.db"
    path.write_bytes(empty)
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> AccountStore:
    store = AccountStore(database)
    store.add("anna", Role.ADMIN, "hash 1", by="setup", now=T0)
    return store
