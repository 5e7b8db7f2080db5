"""Everything that a job database holds, copied into another."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from cadnode.cli import cli
from cadnode.core.errors import DatabaseUnavailable
from cadnode.core.jobs import Acceptance
from cadnode.core.processes import SEEN_WITHIN, ProcessRecord
from cadnode.storage.beats import BeatRecords
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.moving import copy_all
from cadnode.storage.schema import known_versions
from cadnode.storage.tables import metadata
from tests.contract.exams import LEASE, T0, new_image
from tests.postgres import PostgreSQL, name_of

LATER = T0 + timedelta(days=60)
DUMP = Path(__file__).parents[1] / "schemas" / f"v{known_versions()[-2]}.sql"


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A SQLite database with rows of every kind."""
    file = tmp_path / "old.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(DUMP.read_text())
    upgrade(f"sqlite:///{file}")
    return f"sqlite:///{file}"


def rows(url: str) -> dict[str, list[tuple[object, ...]]]:
    database = Database(url)
    with database.read() as connection:
        found = {
            table.name: [
                tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))
            ]
            for table in metadata.sorted_tables
        }
    database.close()
    return found


def test_every_row_is_there_and_the_node_goes_on_with_it(old: str, postgres: PostgreSQL):
    with postgres.empty() as url:
        before = rows(old)
        assert all(before.values())
        assert copy_all(old, url, now=LATER) == len(before["jobs"])
        assert rows(url) == before
        database = Database(url)
        store = SqlExamStore(database)
        assert store.accept(new_image(7, "1.99"), now=LATER) is Acceptance.NEW
        assert store.claim_deliveries("A", "w", now=LATER, lease=LEASE, limit=9)
        database.close()


def test_and_back(old: str, postgres: PostgreSQL, tmp_path: Path):
    with postgres.empty() as url:
        copy_all(old, url, now=LATER)
        copy_all(url, f"sqlite:///{tmp_path / 'new.db'}", now=LATER)
    assert rows(f"sqlite:///{tmp_path / 'new.db'}") == rows(old)


def test_a_database_that_holds_something_is_left_alone(old: str, postgres: PostgreSQL):
    with postgres.empty() as url:
        copy_all(old, url, now=LATER)
        with pytest.raises(DatabaseUnavailable, match="is not empty"):
            copy_all(old, url, now=LATER)


def test_nothing_is_copied_while_a_process_works_on_it(old: str, tmp_path: Path):
    database = Database(old)
    store = SqlExamStore(database)
    store.accept(new_image(7, "1.99"), now=LATER)
    while store.claim_exam("w", now=LATER, lease=LEASE) is not None:
        pass
    database.close()
    with pytest.raises(DatabaseUnavailable, match="stop `cadnode serve` first"):
        copy_all(old, f"sqlite:///{tmp_path / 'new.db'}", now=LATER)
    assert not (tmp_path / "new.db").exists()


def test_nothing_is_copied_while_a_receiver_runs_that_has_nothing_to_do(old: str, tmp_path: Path):
    new = f"sqlite:///{tmp_path / 'new.db'}"
    database = Database(old)
    record = ProcessRecord("a:1:b", "receive", "node1", 1, started_at=LATER, beat_at=LATER)
    BeatRecords(database).beat(record)
    database.close()
    with pytest.raises(DatabaseUnavailable, match="`cadnode receive` on node1 runs"):
        copy_all(old, new, now=LATER + SEEN_WITHIN)
    assert not (tmp_path / "new.db").exists()
    copy_all(old, new, now=LATER + 2 * SEEN_WITHIN)


def test_new_rows_get_numbers_of_their_own_in_every_table(old: str, postgres: PostgreSQL):
    with postgres.empty() as url:
        copy_all(old, url, now=LATER)
        counted = dict(
            postgres.ask(
                "SELECT c.relname, pg_get_serial_sequence(c.relname, 'id') FROM pg_class c"
                " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'id'"
                " JOIN pg_type t ON t.oid = a.atttypid AND t.typname = 'int4'"
                " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace",
                database=name_of(url),
            )
        )
        assert {"jobs", "images", "deliveries", "events", "notices"} <= set(counted)
        for table, sequence in counted.items():
            assert sequence, table
            ((highest, following),) = postgres.ask(
                f"SELECT max(id), nextval('{sequence}') FROM {table}", database=name_of(url)
            )
            assert following == highest + 1, table


def test_the_command_says_what_to_do_next(old: str, tmp_path: Path):
    file, url = tmp_path / "cadnode.toml", f"sqlite:///{tmp_path / 'new.db'}"
    file.write_text(f'[node]\ndata_dir = "."\n[database]\nurl = "{old}"\n')
    answer = CliRunner().invoke(cli, ["db", "copy", url, "--config", str(file)])
    assert (answer.exit_code, "let [database] url name it" in answer.output) == (0, True)
    assert rows(url) == rows(old)
