"""An update machine by machine: the program of before goes on over the schema of after."""

from __future__ import annotations

from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Inspector, create_engine, inspect, text

from cadnode.core.errors import DatabaseUnavailable
from cadnode.core.jobs import ExamStatus
from cadnode.storage.database import MIGRATIONS, Database, alembic_config, upgrade
from cadnode.store import Store, open_store
from tests.contract.exams import T0, deliver, new_image, statuses

VERSIONS = [each.revision for each in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]


def opened(url: str) -> Store:
    return open_store(url, create=False, keep_identifiers=True)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'cadnode.db'}"


def broken_by(before: Inspector, after: Inspector) -> list[str]:
    """What a program written for `before` cannot do over `after` any more."""
    found = []
    for table in before.get_table_names():
        if table not in after.get_table_names():
            found.append(f"{table} is gone")
            continue
        old = {column["name"]: column for column in before.get_columns(table)}
        new = {column["name"]: column for column in after.get_columns(table)}
        found += [f"{table}.{name} is gone" for name in old.keys() - new.keys()]
        for name in new.keys() & old.keys():
            if str(new[name]["type"]) != str(old[name]["type"]):
                found.append(f"{table}.{name} has another type")
            if old[name]["nullable"] and not new[name]["nullable"]:
                found.append(f"{table}.{name} may not be empty any more")
        found += [
            f"{table}.{name} must be filled by whoever does not know it"
            for name in new.keys() - old.keys()
            if not new[name]["nullable"] and new[name]["default"] is None
        ]
        known = {tuple(each["column_names"]) for each in before.get_indexes(table)}
        found += [
            f"{table} {each['column_names']} must be unique now"
            for each in after.get_indexes(table)
            if each["unique"] and tuple(each["column_names"]) not in known
        ]
    return found


@pytest.mark.parametrize(("old", "new"), list(pairwise(VERSIONS)))
def test_every_version_of_the_schema_only_adds_to_the_one_before(url, tmp_path, old, new):
    (tmp_path / "cadnode.db").touch()
    with closing(Database(url)) as database:
        with database.write() as connection:
            command.upgrade(alembic_config(connection), old)
        before = inspect(database._engine)
        for table in before.get_table_names():
            # An inspector keeps what it has once seen.
            before.get_columns(table)
            before.get_indexes(table)
        with database.write() as connection:
            command.upgrade(alembic_config(connection), new)
        assert broken_by(before, inspect(database._engine)) == []


def test_what_would_break_a_running_program_is_found():
    before, after = create_engine("sqlite://"), create_engine("sqlite://")
    with before.begin() as connection:
        connection.execute(text("CREATE TABLE gone (a TEXT)"))
        connection.execute(text("CREATE TABLE kept (a TEXT, b TEXT, c TEXT, d TEXT)"))
    with after.begin() as connection:
        connection.execute(
            text("CREATE TABLE kept (b INTEGER, c TEXT NOT NULL, d TEXT, e TEXT NOT NULL)")
        )
        connection.execute(text("CREATE UNIQUE INDEX one ON kept (d)"))
    assert sorted(broken_by(inspect(before), inspect(after))) == [
        "gone is gone",
        "kept ['d'] must be unique now",
        "kept.a is gone",
        "kept.b has another type",
        "kept.c may not be empty any more",
        "kept.e must be filled by whoever does not know it",
    ]
    before.dispose()
    after.dispose()


def test_a_running_program_goes_on_when_a_newer_one_adds_to_the_schema(url):
    upgrade(url)
    with closing(opened(url)) as running:
        running.exams.accept(new_image(1), now=T0)
        with closing(Database(url)) as database, database.write() as connection:
            for statement in (
                "ALTER TABLE images ADD COLUMN future TEXT",
                "ALTER TABLE jobs ADD COLUMN future INTEGER NOT NULL DEFAULT 0",
                "CREATE TABLE future (id INTEGER PRIMARY KEY)",
                "UPDATE alembic_version SET version_num = '9999'",
            ):
                connection.execute(text(statement))
        running.exams.accept(new_image(2), now=T0)
        deliver(running.exams)
        assert statuses(running.exams) == [ExamStatus.DELIVERED]
        with pytest.raises(DatabaseUnavailable, match="upgrade the program"):
            opened(url)
        with pytest.raises(DatabaseUnavailable, match="upgrade the program"):
            upgrade(url)
