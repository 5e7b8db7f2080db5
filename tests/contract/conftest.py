"""The stores that every test of the contract runs on: the SQL one on each engine, and the one in
memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cadnode.core.ports import ExamStore
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from tests.contract.fake_store import FakeExamStore


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sql", "postgresql", "memory"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path
) -> Iterator[ExamStore]:
    if request.param == "memory":
        yield FakeExamStore()
        return
    if request.param == "postgresql":
        yield SqlExamStore(request.getfixturevalue("postgres_database"))
        return
    path = tmp_path / "jobs.db"
    path.write_bytes(empty_database.read_bytes())
    database = Database(f"sqlite:///{path}")
    yield SqlExamStore(database)
    database.close()
