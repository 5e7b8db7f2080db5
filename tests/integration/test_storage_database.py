"""The job database as a real file: schema, several processes, and a crash between two steps."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import insert, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from cadnode.core.errors import DatabaseUnavailable, IllegalMove
from cadnode.core.jobs import Acceptance
from cadnode.storage import renewal
from cadnode.storage.database import (
    Database,
    parse_url,
    schema_version,
    shown_url,
    upgrade,
    wanted_version,
)
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.tables import jobs, metadata
from tests.contract.exams import DAY, LEASE, T0, claim, close, new_image, statuses


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'node' / 'jobs.db'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    upgrade(url)
    database = Database(url)
    yield database
    database.close()


def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database):
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_an_upgrade_starts_from_nothing_and_a_second_one_changes_nothing(url: str):
    assert schema_version(url) is None
    upgrade(url)
    assert schema_version(url) == wanted_version()
    upgrade(url)
    assert schema_version(url) == wanted_version()


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(url: str, tmp_path: Path):
    (tmp_path / "node").mkdir()
    with sqlite3.connect(tmp_path / "node" / "jobs.db") as other:
        other.execute("CREATE TABLE deliveries (stranger INTEGER)")
    other.close()
    with pytest.raises(DatabaseUnavailable):
        upgrade(url)
    with sqlite3.connect(tmp_path / "node" / "jobs.db") as other:
        names = other.execute("SELECT name FROM sqlite_master").fetchall()
    other.close()
    assert names == [("deliveries",)]


def test_only_its_own_user_reads_the_database(database: Database, tmp_path: Path):
    SqlExamStore(database).accept(new_image(), now=T0)
    files = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "node").iterdir()}
    assert files == {"jobs.db": 0o600, "jobs.db-wal": 0o600, "jobs.db-shm": 0o600}


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        ("", "has no tables yet, this program needs version"),
        ("UPDATE alembic_version SET version_num = '0000'", "upgrade the program"),
    ],
)
def test_a_database_of_another_version_is_refused_with_a_sentence(
    url: str, tmp_path: Path, prepare: str, sentence: str
):
    if prepare:
        upgrade(url)
    (tmp_path / "node").mkdir(exist_ok=True)
    with sqlite3.connect(tmp_path / "node" / "jobs.db") as other:
        other.execute(prepare or "SELECT 1")
    other.close()
    database = Database(url)
    with pytest.raises(DatabaseUnavailable, match=sentence):
        database.check()
    database.close()


def test_a_missing_database_is_refused_and_not_made_by_looking(url: str, tmp_path: Path):
    database = Database(url)
    with pytest.raises(DatabaseUnavailable, match="is not there"):
        database.check()
    database.close()
    assert not (tmp_path / "node").exists()


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path):
    (tmp_path / "jobs.db").write_bytes(b"not a database, but long enough to look like one" * 40)
    database = Database(f"sqlite:///{tmp_path / 'jobs.db'}")
    with pytest.raises(DatabaseUnavailable):
        database.check()
    database.close()


@pytest.mark.parametrize("url", ["nonsense", "mysterydb://host/name"])
def test_a_url_nobody_knows_is_unavailable(url: str):
    with pytest.raises(DatabaseUnavailable):
        Database(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+psycopg://cadnode:a@host:hush/x", "is written %40"),
        ("postgresql+psycopg://cadnode:hush@localhost:1/x?sslmod=require", '"sslmod"'),
        ("postgresql+psycopg://cadnode:hush@localhost:1/x?connect_timeout=ten", "'ten'"),
    ],
)
def test_a_wrong_url_of_a_server_is_said_so_without_its_password(url: str, said: str):
    with pytest.raises(DatabaseUnavailable) as error:
        Database(url).check()
    assert said in str(error.value)
    assert "hush" not in str(error.value)
    assert error.value.__cause__ is None or "hush" not in str(error.value.__cause__)


def test_the_name_of_a_database_holds_no_password():
    url = parse_url(
        "postgresql+psycopg://u:hush@h/d?password=hush&sslpassword=hush&sslmode=require"
    )
    assert "hush" not in shown_url(url)
    assert "sslmode=require" in shown_url(url)


def test_the_name_of_a_database_shows_file_names_as_they_are_written():
    url = "postgresql+psycopg://u@h/d?passfile=/etc/cadnode/pgpass&sslmode=verify-full"
    assert shown_url(parse_url(url)) == url


def test_a_database_locked_by_another_program_is_unavailable(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with database.write() as connection:
        connection.execute(text("SELECT 1"))
    other = sqlite3.connect(tmp_path / "node" / "jobs.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr("cadnode.storage.dialect.BUSY_SECONDS", 0.05)
    impatient = Database(database.name)
    with pytest.raises(DatabaseUnavailable, match="locked"):
        SqlExamStore(impatient).accept(new_image(), now=T0)
    impatient.close()
    other.execute("ROLLBACK")
    other.close()
    assert SqlExamStore(database).accept(new_image(), now=T0) is Acceptance.NEW


@pytest.mark.parametrize("change", ["UPDATE events SET text = 'nothing'", "DELETE FROM events"])
def test_the_history_cannot_be_changed(database: Database, tmp_path: Path, change: str):
    SqlExamStore(database).accept(new_image(), now=T0)
    administrator = sqlite3.connect(tmp_path / "node" / "jobs.db")
    with pytest.raises(sqlite3.IntegrityError, match="events only ever grows"):
        administrator.execute(change)
    administrator.close()


def test_a_time_without_a_time_zone_is_refused(database: Database):
    with pytest.raises(Exception, match="without a time zone"):
        SqlExamStore(database).accept(new_image(), now=T0.replace(tzinfo=None))


def test_every_table_can_be_made_on_postgresql():
    dialect = postgresql.dialect()
    for table in metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))


def test_the_same_instance_at_the_same_moment_is_kept_once(database: Database):
    store, barrier = SqlExamStore(database), threading.Barrier(3)

    def accept(_: int) -> Acceptance:
        barrier.wait()
        return store.accept(new_image(), now=T0)

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(accept, range(3)))
    assert sorted(answers) == sorted([Acceptance.NEW, Acceptance.SAME, Acceptance.SAME])
    assert len(claim(store).images) == 1


def test_fifty_associations_at_once_are_all_kept(database: Database):
    store = SqlExamStore(database)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda n: store.accept(new_image(n), now=T0), range(50)))
    assert set(answers) == {Acceptance.NEW}
    assert len(claim(store).images) == 50


_CLAIM_ALL = """
import sys
from datetime import datetime, timedelta
from cadnode.storage.database import Database
from cadnode.storage.exam_store import SqlExamStore

url, owner, now = sys.argv[1], sys.argv[2], datetime.fromisoformat(sys.argv[3])
database = Database(url)
store = SqlExamStore(database)
sys.stdin.readline()
while (exam := store.claim_exam(owner, now=now, lease=timedelta(hours=1))) is not None:
    sys.stdout.write(f"{exam.id}\\n")
database.close()
"""


def test_several_processes_get_each_exam_once(database: Database, url: str):
    store = SqlExamStore(database)
    for number in range(24):
        store.accept(new_image(1, f"1.2.{number}"), now=T0)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _CLAIM_ALL, url, f"w{number}", T0.isoformat()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    claimed = [line for worker in workers for line in worker.communicate()[0].split()]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert sorted(map(int, claimed)) == list(range(1, 25))


_DIE_IN_ACCEPT = """
import os, sys
from datetime import datetime
from cadnode.core.jobs import NewImage
from cadnode.storage import receiving
from cadnode.storage.database import Database
from cadnode.storage.exam_store import SqlExamStore

url, now = sys.argv[1], datetime.fromisoformat(sys.argv[2])
store = SqlExamStore(Database(url))
image = NewImage("1.9.1", "1", "1.9", "1.9.0", "1.2", "images/1", 1, "a", "MODALITY")
store.accept(image, now=now)
# Die inside the next transaction, after its rows and before its commit.
receiving.log_event = lambda *_, **__: os._exit(9)
store.accept(NewImage("1.9.2", "1", "1.9", "1.9.0", "1.2", "images/2", 1, "a", "MODALITY"), now=now)
"""


def test_a_killed_receiver_leaves_what_it_acknowledged_and_nothing_half(
    database: Database, url: str
):
    died = subprocess.run(
        [sys.executable, "-c", _DIE_IN_ACCEPT, url, T0.isoformat()],
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert died.returncode == 9
    exam = claim(SqlExamStore(database))
    assert [image.sop_instance_uid for image in exam.images] == ["1.9.1"]
    with database.read() as connection:
        assert connection.execute(text("SELECT image_count FROM jobs")).scalar_one() == 1


def test_a_worker_that_dies_leaves_its_exam_to_the_next_one(database: Database, url: str):
    store = SqlExamStore(database)
    store.accept(new_image(), now=T0)
    closed = close(store)
    database.close()
    reopened = Database(url)
    after = SqlExamStore(reopened)
    assert statuses(after) == ["analyzed"]
    assert after.claim_exam("w2", now=T0, lease=LEASE) is None
    again = after.claim_exam("w2", now=T0 + DAY, lease=LEASE)
    assert again is not None
    assert again == replace(closed, owner="w2", lease_until=T0 + DAY + LEASE, tries=2)
    reopened.close()


def test_an_image_that_comes_while_an_exam_is_asked_for_again_is_no_traceback(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    store = SqlExamStore(database)
    store.accept(new_image(), now=T0)
    store.cancel(1, why="a test", by="anna", now=T0)

    def another_receiver(connection, revisions):
        (row,) = revisions
        values = row._asdict() | {"id": 2, "revision": 2}
        connection.execute(insert(jobs).values(values))

    monkeypatch.setattr(renewal, "_refuse", another_receiver)
    with pytest.raises(IllegalMove, match="try again"):
        store.reanalyze(1, by="anna", now=T0)
    assert statuses(store) == ["cancelled"]
