"""The same SOP Instance UID with other bytes, from the port to the files and the database."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url, select

from cadnode.app import App
from cadnode.config import load_settings
from cadnode.core.file_ports import NodeFiles
from cadnode.dimse.scp import StorageScp
from cadnode.storage.database import upgrade
from cadnode.storage.retention import remove_unknown
from cadnode.storage.schema import downgrade
from cadnode.storage.tables import images, replaced_images
from cadnode.store import Store
from tests.contract.exams import T0, new_image, report
from tests.integration.modality import Modality, image

UID = "1.2.3.1"
LATER = datetime.now(UTC) + timedelta(days=30)


@pytest.fixture
def app(tmp_path: Path) -> App:
    file = tmp_path / "cadnode.toml"
    file.write_text(
        '[node]\ndata_dir = "data"\naccept_unknown = true\nhost = "127.0.0.1"\nport = 0\n'
        "[retention]\nreserve_mb = 0\n"
    )
    return App(load_settings(file, {}))


@pytest.fixture
def store(app: App) -> Iterator[Store]:
    opened = app.open_store(create=True)
    yield opened
    opened.close()


@pytest.fixture
def spool(app: App) -> NodeFiles:
    return app.spool()


@pytest.fixture
def scp(app: App, store: Store, spool: NodeFiles) -> Iterator[StorageScp]:
    running = app.storage_scp(store.exams, spool)
    running.start()
    yield running
    running.stop()


def send(scp: StorageScp, size: int, *, study: str | None = None) -> int:
    content = image(UID, size=size) if study is None else image(UID, size=size, study=study)
    with Modality(scp.port) as modality:
        modality.associate()
        return modality.store(UID, content)[0]


def paths(store: Store) -> tuple[list[str], list[str]]:
    """Of the image as it is now, and of the bytes that were replaced."""
    with store.database.read() as connection:
        now = connection.execute(select(images.c.path)).scalars().all()
        before = connection.execute(select(replaced_images.c.path)).scalars().all()
    return list(now), list(before)


def test_both_files_are_kept_and_known_and_the_new_one_is_the_image(
    scp: StorageScp, store: Store, spool: NodeFiles
):
    assert [send(scp, 1000), send(scp, 2000)] == [0x0000, 0x0000]
    (now,), (before,) = paths(store)
    assert spool.path_of(now).stat().st_size > spool.path_of(before).stat().st_size
    assert remove_unknown(store.records, spool, now=LATER) == 0
    said = [line.text for line in store.records.explain(UID)]
    assert any("with other bytes: revision 1 reads the new ones. [E202]" in text for text in said)


def test_three_senders_of_the_same_changed_image_at_once_make_one_change(
    scp: StorageScp, store: Store, spool: NodeFiles
):
    send(scp, 1000)
    meet, answers = threading.Barrier(3), list[int]()

    def change() -> None:
        meet.wait(10)
        answers.append(send(scp, 2000))

    threads = [threading.Thread(target=change) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [0x0000] * 3
    now, before = paths(store)
    assert (len(now), len(before)) == (1, 1)
    assert spool.path_of(now[0]).exists()
    assert remove_unknown(store.records, spool, now=LATER) == 0


def test_bytes_that_come_back_use_the_file_that_is_there(
    scp: StorageScp, store: Store, spool: NodeFiles
):
    for size in (1000, 2000, 1000):
        assert send(scp, size) == 0x0000
    (now,), (before,) = paths(store)
    assert spool.path_of(now).stat().st_size < spool.path_of(before).stat().st_size
    assert remove_unknown(store.records, spool, now=LATER) == 0


def test_a_cancelled_and_purged_exam_leaves_neither_file(
    scp: StorageScp, store: Store, spool: NodeFiles
):
    for size in (1000, 2000):
        send(scp, size)
    store.exams.cancel(1, why="a test", by="anna", now=LATER)
    now, before = paths(store)
    assert sorted(store.exams.mark_purged(1, now=LATER)) == sorted([*now, *before])
    assert remove_unknown(store.records, spool, now=LATER) == 2


def test_one_uid_in_two_studies_is_refused_and_its_file_is_not_kept(
    scp: StorageScp, store: Store, spool: NodeFiles
):
    assert send(scp, 1000) == 0x0000
    assert send(scp, 2000, study="1.2.99") == 0x0111
    kept = list(spool.kept_before(LATER))
    assert kept == paths(store)[0]


@pytest.mark.parametrize(
    ("at_a", "at_b", "after"),
    [
        ("superseded", "superseded", "superseded"),
        ("delivered", "superseded", "delivered"),
        ("delivered", "delivered", "delivered"),
    ],
)
def test_an_upgrade_no_longer_calls_delivered_what_nobody_got(
    app: App, store: Store, at_a: str, at_b: str, after: str
):
    store.exams.accept(new_image(), now=T0)
    report(store.exams, "A", "B")
    store.close()
    url = app.settings.database_url
    downgrade(url, "0001", now=LATER)
    with closing(sqlite3.connect(make_url(url).database or "")) as connection:
        connection.execute("UPDATE jobs SET status = 'delivered'")
        for name, status in (("A", at_a), ("B", at_b)):
            connection.execute(
                "UPDATE deliveries SET status = ? WHERE destination = ?", (status, name)
            )
        connection.commit()
        upgrade(url)
        assert connection.execute("SELECT status FROM jobs").fetchall() == [(after,)]
