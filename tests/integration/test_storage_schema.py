"""The schema forward and back with rows of every kind in it, and copies of a database in use.

`tests/schemas/vNNNN.sql` is a database as the node wrote it when that schema was current, in
SQLite's text form (`sqlite3 cadnode.db .dump`): exams in every status, with images, findings,
results, deliveries and events.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from typer.testing import CliRunner, Result

from cadnode.app import App
from cadnode.cli import cli
from cadnode.config import load_settings
from cadnode.core.errors import DatabaseUnavailable
from cadnode.core.jobs import ExamStatus
from cadnode.storage.database import Database, schema_version, upgrade, wanted_version
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.reading import ExamRecords
from cadnode.storage.schema import back_up, downgrade, known_versions, schema_state
from cadnode.storage.tables import metadata
from tests.contract.exams import LEASE, T0, new_image

DUMPS = Path(__file__).parents[1] / "schemas"
LATER = T0 + timedelta(days=30)
Rows = dict[str, list[tuple[object, ...]]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cadnode.db"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite:///{file}"


def restore(version: str, file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((DUMPS / f"v{version}.sql").read_text())


def rows(file: Path, tables: Rows | None = None) -> Rows:
    """The rows of every table, or of those of `tables` alone; of the columns they have there."""
    with closing(sqlite3.connect(file)) as connection:
        names = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            )
            if name != "alembic_version" and (tables is None or name in tables)
        ]
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()
            for name in names
        }


def execute(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(statement)
        connection.commit()


def test_every_released_schema_has_a_database_to_upgrade():
    # The newest one is released with the program that has it; its rows are kept when it is not
    # the newest any more.
    released = known_versions()[:-1]
    assert [path.stem.removeprefix("v") for path in sorted(DUMPS.glob("v*.sql"))] == released


@pytest.mark.parametrize("version", known_versions()[:-1])
def test_a_released_schema_becomes_the_one_of_the_code(version: str, file: Path, url: str):
    restore(version, file)
    assert schema_version(url) == version
    upgrade(url)
    assert schema_version(url) == wanted_version()
    database = Database(url)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    database.close()


@pytest.mark.parametrize("version", known_versions()[:-1])
def test_forward_and_back_keeps_every_row_the_view_and_the_guards(
    version: str, file: Path, url: str, tmp_path: Path
):
    restore(version, file)
    before = rows(file)
    assert all(before[name] for name in ("jobs", "images", "findings", "results", "deliveries"))
    with closing(sqlite3.connect(file)) as connection:
        overview = connection.execute("SELECT id, status, waits_for FROM exam_overview").fetchall()
    upgrade(url)
    after = rows(file, before)
    for name, kept in before.items():
        # New columns come last; what was there is as it was.
        assert [row[: len(kept[0])] for row in after[name]] == kept, name
    downgrade(url, version, now=LATER)
    assert schema_version(url) == version
    assert rows(file) == before
    with closing(sqlite3.connect(file)) as connection:
        assert (
            overview
            == connection.execute("SELECT id, status, waits_for FROM exam_overview").fetchall()
        )
        with pytest.raises(sqlite3.IntegrityError, match="only ever grows"):
            connection.execute("DELETE FROM events")
    upgrade(url)
    assert rows(file, before) == after


@pytest.mark.parametrize("version", known_versions()[:-1])
def test_the_program_works_on_with_an_upgraded_database(version: str, file: Path, url: str):
    restore(version, file)
    upgrade(url)
    database = Database(url)
    store, records = SqlExamStore(database), ExamRecords(database)
    exams = records.list_exams()
    # The first schema had no word for these.
    later = {ExamStatus.COMMITTED, ExamStatus.SUPERSEDED} if version == "0001" else set()
    assert {exam.status for exam in exams} == set(ExamStatus) - later
    for exam in exams:
        assert records.exam_detail(exam.id).events
    store.accept(new_image(7, "1.1"), now=LATER)
    claimed = store.claim_exam("w2", now=LATER, lease=LEASE)
    assert claimed is not None
    assert store.claim_deliveries("A", "w2", now=LATER, lease=LEASE, limit=9)
    database.close()


def test_an_exam_that_the_older_schema_has_no_word_for_is_told_in_its_words(file: Path, url: str):
    upgrade(url)
    database = Database(url)
    SqlExamStore(database).accept(new_image(), now=T0)
    database.close()
    execute(file, "UPDATE jobs SET status = 'superseded'")
    downgrade(url, "0001", now=LATER)
    assert rows(file)["jobs"][0][3] == "cancelled"


@pytest.mark.parametrize("version", ["0002", "0003", "0004", "head", "base", "-1", ""])
def test_back_is_only_to_an_older_version(version: str, file: Path, url: str):
    restore("0001", file)
    if version == wanted_version():
        upgrade(url)
    before = schema_version(url)
    with pytest.raises(DatabaseUnavailable, match="it can go back to"):
        downgrade(url, version, now=LATER)
    assert schema_version(url) == before


def test_nothing_goes_back_while_a_process_works_on_it(file: Path, url: str):
    upgrade(url)
    database = Database(url)
    store = SqlExamStore(database)
    store.accept(new_image(), now=T0)
    store.claim_exam("w1", now=T0, lease=LEASE)
    database.close()
    assert schema_state(url, now=T0).leases == 1
    with pytest.raises(DatabaseUnavailable, match="stop `cadnode serve` first"):
        downgrade(url, "0001", now=T0)
    assert schema_version(url) == wanted_version()
    downgrade(url, "0001", now=T0 + LEASE)
    assert schema_version(url) == "0001"


def test_a_schema_of_a_newer_program_is_refused_with_a_line_and_left_alone(file: Path, url: str):
    upgrade(url)
    execute(file, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseUnavailable, match=r"version 9999.*upgrade the program"):
        upgrade(url)
    assert schema_version(url) == "9999"
    assert not schema_state(url, now=T0).known


@pytest.fixture
def busy(url: str) -> Iterator[SqlExamStore]:
    upgrade(url)
    database = Database(url)
    yield SqlExamStore(database)
    database.close()


def test_a_backup_of_a_node_in_full_swing_is_whole(busy: SqlExamStore, url: str, tmp_path: Path):
    stopping = threading.Event()
    accepted = 0

    def receive() -> None:
        nonlocal accepted
        while not stopping.is_set():
            busy.accept(new_image(accepted), now=T0)
            accepted += 1

    receiver = threading.Thread(target=receive)
    receiver.start()
    try:
        for number in range(5):
            at_least = accepted
            made = back_up(url, tmp_path / f"copy{number}")
            copied = rows(made.file)
            assert at_least <= len(copied["images"]) <= accepted + 1
            # One moment for all tables: each image has its event.
            assert len(copied["events"]) == len(copied["images"]) + (len(copied["jobs"]) > 0)
            assert made.version == wanted_version()
    finally:
        stopping.set()
        receiver.join()
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(("copy", "."))} == {
        f"copy{number}" for number in range(5)
    }


def test_a_backup_is_read_by_its_owner_only_and_opens_as_a_database(
    busy: SqlExamStore, url: str, tmp_path: Path
):
    busy.accept(new_image(), now=T0)
    made = back_up(url, tmp_path / "copy.db")
    assert made.file.stat().st_mode & 0o777 == 0o600
    assert made.bytes == made.file.stat().st_size
    copy = Database(f"sqlite:///{made.file}")
    copy.check()
    assert [exam.images for exam in ExamRecords(copy).list_exams()] == [1]
    copy.close()


def test_a_backup_of_a_node_at_rest_needs_nobody_running(file: Path, url: str, tmp_path: Path):
    upgrade(url)
    assert not file.with_name("cadnode.db-wal").exists()
    assert back_up(url, tmp_path / "copy.db").version == wanted_version()


def test_a_damaged_database_gives_no_backup(busy: SqlExamStore, file: Path, url, tmp_path: Path):
    for number in range(300):
        busy.accept(new_image(number), now=T0)
    # So that every page is in the file itself.
    execute(file, "PRAGMA wal_checkpoint(TRUNCATE)")
    with file.open("rb+") as stream:
        stream.seek(4096 * 20)
        stream.write(b"\xff" * 4096 * 10)
    with pytest.raises(DatabaseUnavailable):
        back_up(url, tmp_path / "copy.db")
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == []


def test_a_backup_never_replaces_another_file(busy: SqlExamStore, url: str, tmp_path: Path):
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(DatabaseUnavailable, match="is there already"):
        back_up(url, tmp_path / "copy.db")
    with pytest.raises(DatabaseUnavailable, match="is there already"):
        back_up(url, tmp_path / "cadnode.db")
    assert (tmp_path / "copy.db").read_text() == "precious"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [("postgresql://node@host/cad", "pg_dump"), ("sqlite:////nowhere/jobs.db", "is not there")],
)
def test_what_cannot_be_copied_is_said(url: str, sentence: str, tmp_path: Path):
    with pytest.raises(DatabaseUnavailable, match=sentence):
        back_up(url, tmp_path / "copy.db")


def test_a_backup_into_a_folder_that_is_not_there_is_said(busy: SqlExamStore, url: str):
    with pytest.raises(DatabaseUnavailable, match=r"no backup at /nowhere/copy\.db"):
        back_up(url, Path("/nowhere/copy.db"))


class TestCommands:
    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        file = tmp_path / "cadnode.toml"
        file.write_text('[node]\ndata_dir = "."\n')
        return file

    def run(self, config: Path, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["db", *arguments, "--config", str(config)])

    def test_status_says_whether_the_schema_is_the_right_one(self, config: Path, file: Path):
        missing = self.run(config, "status")
        assert (missing.exit_code, "version none" in missing.output) == (1, True)
        restore("0001", file)
        old = self.run(config, "status")
        assert (old.exit_code, "version 0001" in old.output) == (1, True)
        assert "Schema version 0001 became" in self.run(config, "upgrade").output
        assert "already" in self.run(config, "upgrade").output
        right = self.run(config, "status", "--json")
        assert (right.exit_code, '"leases": 0' in right.output) == (0, True)

    def test_a_backup_is_made_of_the_database_of_the_settings(self, config: Path, tmp_path: Path):
        App(load_settings(config, {})).open_store(create=True).close()
        answer = self.run(config, "backup", str(tmp_path / "copy.db"))
        assert (answer.exit_code, "checked" in answer.output) == (0, True)
        assert (tmp_path / "copy.db").exists()

    def test_going_back_asks_for_a_yes_and_makes_a_copy_first(
        self, config: Path, file: Path, tmp_path: Path
    ):
        restore("0001", file)
        self.run(config, "upgrade")
        assert self.run(config, "downgrade", "0001").exit_code == 2
        answer = self.run(config, "downgrade", "0001", "--yes")
        assert (answer.exit_code, "version 0001." in answer.output) == (0, True)
        (copy,) = tmp_path.glob("cadnode.db.*.backup")
        assert schema_version(f"sqlite:///{copy}") == wanted_version()
        assert schema_version(f"sqlite:///{file}") == "0001"
        refused = self.run(config, "downgrade", "0001", "--yes")
        assert (refused.exit_code, list(tmp_path.glob("cadnode.db.*.backup"))) == (1, [copy])
