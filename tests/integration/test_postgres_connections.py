"""The connection to PostgreSQL is lost: in mid-transaction, while idle, before the start."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cadnode.app import App
from cadnode.checks import run_checks
from cadnode.config import load_settings
from cadnode.core.errors import DatabaseUnavailable
from cadnode.core.jobs import Acceptance
from cadnode.starting import open_store
from cadnode.storage.database import (
    Database,
    schema_version,
    upgrade,
    wait_for_server,
    wanted_version,
)
from cadnode.storage.exam_store import SqlExamStore
from cadnode.store import Store
from cadnode.worker import run_lane
from tests.contract.exams import T0, claim, new_image
from tests.postgres import PostgreSQL, name_of, postgresql

_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"


def cut(server: PostgreSQL, database: Database) -> None:
    """End every connection to a database, as an administrator may."""
    server.ask(_CUT.format(name_of(database.name)))


@pytest.fixture
def frail() -> Iterator[PostgreSQL]:
    """A server that a test may stop."""
    with postgresql() as server:
        yield server


def test_a_transaction_that_is_cut_changes_nothing_and_says_why(
    postgres: PostgreSQL, postgres_database: Database
):
    store = SqlExamStore(postgres_database)

    def change() -> None:
        with postgres_database.write() as connection:
            connection.exec_driver_sql("INSERT INTO event_cursors VALUES ('a test', 1)")
            cut(postgres, postgres_database)
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(DatabaseUnavailable, match="terminating connection") as caught:
        change()
    assert caught.value.retry
    assert "\n" not in str(caught.value)
    with postgres_database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM event_cursors").scalar() == 0
    assert store.accept(new_image(), now=T0) is Acceptance.NEW


def test_idle_connections_that_were_cut_are_made_again_unnoticed(
    postgres: PostgreSQL, postgres_database: Database
):
    store = SqlExamStore(postgres_database)
    store.accept(new_image(), now=T0)
    cut(postgres, postgres_database)
    assert store.accept(new_image(2), now=T0) is Acceptance.NEW
    assert len(claim(store).images) == 2


def test_a_lane_goes_on_when_the_server_is_back(frail: PostgreSQL):
    with frail.migrated() as database:
        store, stopping = SqlExamStore(database), threading.Event()
        troubles: list[str] = []

        class Receiving:
            name = "receiving"

            def run_once(self) -> bool:
                try:
                    store.accept(new_image(len(troubles)), now=T0)
                except DatabaseUnavailable as error:
                    troubles.append(str(error))
                    if len(troubles) == 2:
                        frail.start()
                    raise
                if troubles:
                    stopping.set()
                else:
                    frail.stop()
                return True

        run_lane(Receiving(), stopping=stopping, poll_seconds=0.01)
        assert len(troubles) == 2
        assert len(claim(store).images) == 2


def test_a_start_waits_for_the_server_and_says_so(frail: PostgreSQL):
    with frail.empty() as url:
        frail.stop()
        said: list[DatabaseUnavailable] = []

        def pause() -> bool:
            if len(said) == 2:
                frail.start()
            return True

        wait_for_server(url, pause=pause, say=said.append)
        assert len(said) == 2
        assert "onnection refused" in str(said[0]) or "No such file" in str(said[0])
        upgrade(url)


def test_whoever_stops_does_not_wait_for_the_server_any_longer(frail: PostgreSQL):
    url = frail.url("postgres")
    frail.stop()
    with pytest.raises(DatabaseUnavailable):
        wait_for_server(url, pause=lambda: False, say=lambda _: None)
    frail.start()


def test_several_machines_that_start_at_once_make_the_tables_once(postgres: PostgreSQL):
    with postgres.empty() as url:
        barrier = threading.Barrier(3)

        def start(_: int) -> None:
            barrier.wait()
            upgrade(url)

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(start, range(3)))
        assert schema_version(url) == wanted_version()


def test_a_user_who_may_make_no_tables_is_told_so(postgres: PostgreSQL):
    with postgres.empty() as url:
        postgres.ask("DROP ROLE IF EXISTS visitor")
        postgres.ask("CREATE ROLE visitor LOGIN")
        with pytest.raises(DatabaseUnavailable, match="permission denied for schema public"):
            upgrade(url.replace("//postgres@", "//visitor@"))
        postgres.ask("DROP ROLE visitor")


def test_what_is_committed_is_on_disk_whatever_the_server_is_set_to(postgres_database: Database):
    with postgres_database.read() as connection:
        setting = connection.exec_driver_sql("SHOW synchronous_commit").scalar_one()
    assert setting == "on"


def test_a_process_waits_for_its_database_and_stops_when_it_is_told_to(
    frail: PostgreSQL, tmp_path: Path
):
    with frail.empty() as url:
        frail.stop()
        file = tmp_path / "cadnode.toml"
        file.write_text(f'[node]\ndata_dir = "."\n[database]\nurl = "{url}"\n')
        app, stopping = App(load_settings(file, {})), threading.Event()
        opened: list[Store] = []
        waiting = threading.Thread(target=lambda: opened.append(open_store(app, stopping)))
        waiting.start()
        frail.start()
        waiting.join(timeout=30)
        opened[0].database.check()
        opened[0].close()
        frail.stop()
        stopping.set()
        with pytest.raises(SystemExit):
            open_store(app, stopping)
        frail.start()


@pytest.mark.parametrize(("seconds", "well"), [(0, True), (90, False), (-90, False)])
def test_check_says_when_this_machine_has_another_time_than_the_server(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int, well: bool
):
    monkeypatch.setattr(
        "cadnode.checks.utc_now", lambda: datetime.now(UTC) + timedelta(seconds=seconds)
    )
    file = tmp_path / "cadnode.toml"
    file.write_text(f'[node]\ndata_dir = "data"\n[database]\nurl = "{postgres_url}"\n')
    checks = run_checks(App(load_settings(file, {})))
    clock = next(check for check in checks if check.name == "clock")
    assert clock.well is well
    assert well or ("90.0 s ahead" if seconds > 0 else "90.0 s behind") in clock.detail
