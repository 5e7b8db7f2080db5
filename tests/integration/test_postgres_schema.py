"""The schema on PostgreSQL: made, compared with the code, taken back, and what the commands say."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from cadnode.cli import cli
from cadnode.core.errors import DatabaseUnavailable
from cadnode.core.jobs import ExamStatus
from cadnode.storage.database import Database, schema_version, upgrade, wanted_version
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.reading import ExamRecords
from cadnode.storage.schema import downgrade, known_versions
from cadnode.storage.tables import jobs, metadata
from tests.contract.exams import DONE, LEASE, T0, claim, new_image, report, sent
from tests.postgres import PostgreSQL

LATER = T0 + timedelta(days=30)


def fill(store: SqlExamStore) -> None:
    """An exam on its way to two destinations, and one just begun."""
    store.accept(new_image(), now=T0)
    report(store, "A", "B")
    (delivery,) = store.claim_deliveries("A", "w", now=T0, lease=LEASE, limit=1)
    store.record_delivery(delivery, sent(delivery), DONE, now=T0)
    store.accept(new_image(1, "1.9"), now=T0)


def test_the_migrations_make_exactly_the_tables_of_the_code(postgres_database: Database):
    with postgres_database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("version", known_versions()[:-1])
def test_back_and_forward_keeps_the_exams_the_view_and_the_guard(
    version: str, postgres: PostgreSQL
):
    with postgres.empty() as url:
        upgrade(url)
        database = Database(url)
        fill(SqlExamStore(database))
        before = ExamRecords(database).list_exams()
        assert before[1].waits_for == "delivery to B"
        database.close()
        downgrade(url, version, now=LATER)
        assert schema_version(url) == version
        upgrade(url)
        assert schema_version(url) == wanted_version()
        after = ExamRecords(database).list_exams()
        assert [(exam.id, exam.status, exam.waits_for) for exam in after] == [
            (exam.id, exam.status, exam.waits_for) for exam in before
        ]
        assert claim(SqlExamStore(database), now=LATER).study_instance_uid == "1.9"
        database.close()


@pytest.mark.parametrize("change", ["UPDATE events SET text = 'nothing'", "DELETE FROM events"])
def test_the_history_cannot_be_changed(postgres_database: Database, change: str):
    SqlExamStore(postgres_database).accept(new_image(), now=T0)

    def administrator() -> None:
        with postgres_database.write() as connection:
            connection.exec_driver_sql(change)

    with pytest.raises((DatabaseUnavailable, DBAPIError), match="only ever grows"):
        administrator()


def test_a_reader_sees_one_state_and_can_change_nothing(postgres_database: Database):
    store = SqlExamStore(postgres_database)
    store.accept(new_image(), now=T0)
    with postgres_database.read() as connection:
        first = connection.execute(select(jobs.c.image_count)).scalar_one()
        store.accept(new_image(2), now=T0)
        assert connection.execute(select(jobs.c.image_count)).scalar_one() == first == 1
        with pytest.raises(DBAPIError, match="read-only transaction"):
            connection.execute(jobs.update().values(image_count=7))
        connection.rollback()


def test_the_commands_work_on_a_server(postgres: PostgreSQL, tmp_path: Path):
    file = tmp_path / "cadnode.toml"

    def run(*arguments: str) -> tuple[int, str]:
        answer = CliRunner().invoke(cli, [*arguments, "--config", str(file)])
        return answer.exit_code, answer.output

    with postgres.empty() as url:
        file.write_text(f'[node]\ndata_dir = "."\n[database]\nurl = "{url}"\n')
        assert run("db", "status")[0] == 1
        assert "became" in run("db", "upgrade")[1] or wanted_version() in run("db", "status")[1]
        assert run("db", "status")[0] == 0
        database = Database(url)
        fill(SqlExamStore(database))
        database.close()
        assert "2 exams" in " ".join(run("check")[1].split())
        assert "delivery to B" in " ".join(run("jobs", "show", "1")[1].split())
        assert "F203" in run("fsck")[1]
        code, said = run("db", "downgrade", "0001", "--yes", "--no-backup")
        assert (code, schema_version(url)) == (0, "0001"), said
        assert run("db", "upgrade")[0] == 0


def test_every_status_is_counted(postgres_database: Database):
    fill(SqlExamStore(postgres_database))
    counts = ExamRecords(postgres_database).counts()
    assert (counts[ExamStatus.RECEIVING], counts[ExamStatus.REPORTED]) == (1, 1)
