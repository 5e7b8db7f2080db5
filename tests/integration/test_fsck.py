"""`cadnode fsck` on a real database, real files and a real archive."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cadnode.app import App
from cadnode.cli import cli
from cadnode.config import load_settings
from cadnode.core.errors import DatabaseUnavailable, Unreachable
from cadnode.core.exam import BuiltResult, ImageState
from cadnode.core.jobs import Exam, ExamStatus, NewImage
from cadnode.core.ports import OutgoingObject
from cadnode.core.retention import RetentionRules
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.fsck import ON_ITS_WAY, Fsck, Outcome
from cadnode.storage.reading import ExamRecords
from cadnode.storage.repair import Repair
from cadnode.storage.retention import purge
from cadnode.storage.spool import Spool
from tests.contract.exams import DONE, LEASE, sent
from tests.integration.test_storage_spool import dicom_file
from tests.objects import mammogram, write
from tests.peers import free_port, orthanc

SECOND = timedelta(seconds=1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PACS = {"pacs": True}


@dataclass
class Node:
    """A store and a spool in a folder, and the steps of an exam by hand."""

    folder: Path
    database: Database
    store: SqlExamStore
    spool: Spool

    def receive(self, number: int, study: str = "1.2.3", content: bytes = b"pixels") -> None:
        uid = f"{study}.{number}"
        incoming = self.spool.incoming_dir / f"{number}.part"
        incoming.write_bytes(dicom_file(uid.encode() + content))
        with self.spool.receiving(study):
            self._keep(incoming, uid, study)

    def _keep(self, incoming: Path, uid: str, study: str) -> None:
        kept = self.spool.keep_image(incoming, study_instance_uid=study, sop_instance_uid=uid)
        image = NewImage(
            sop_instance_uid=uid,
            sop_class_uid="1.2.840.10008.5.1.4.1.1.1.2",
            study_instance_uid=study,
            series_instance_uid=f"{study}.0",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            path=kept.path,
            size=kept.size,
            sha256=kept.sha256,
            calling_ae="MG1",
        )
        self.store.accept(image, now=NOW)

    def claim(self) -> Exam:
        exam = self.store.claim_exam("worker", now=NOW, lease=LEASE)
        assert exam
        return exam

    def report(self, built: BuiltResult | None = None) -> Exam:
        exam = self.claim()
        for image in exam.images:
            if image.state is ImageState.RECEIVED:
                self.store.record_image(exam, image.id, state=ImageState.ANALYZED, now=NOW)
        self.store.move_exam(exam, ExamStatus.ANALYZED, text="closed", now=NOW)
        exam = self.claim()
        built = built or BuiltResult(
            "mammography-cad-sr", "1.2.88.50", f"2.25.{exam.id}", "2.25", b"result"
        )
        kept = self.spool.keep_result(exam.study_instance_uid, built)
        self.store.record_results(
            exam,
            [kept],
            {"pacs": [built.kind]},
            predecessors=self.store.predecessors(exam),
            now=NOW,
        )
        return exam

    def deliver(self) -> None:
        for delivery in self.store.claim_deliveries(
            "pacs", "worker", now=NOW, lease=LEASE, limit=9
        ):
            self.store.record_delivery(delivery, sent(delivery), DONE, now=NOW)

    def whole_exam(self, study: str = "1.2.3") -> Exam:
        self.receive(1, study)
        exam = self.report()
        self.deliver()
        return exam

    def file_of(self, kind: str) -> Path:
        """The one kept file of that folder."""
        (path,) = (self.folder / kind).rglob("*.dcm")
        return path

    def everything(self) -> list[object]:
        """Every file with its mode, and the whole database as text."""
        with closing(sqlite3.connect(self.folder / "cadnode.db")) as connection:
            dump = list(connection.iterdump())
        self._date_files()
        files = sorted(path for path in self.folder.rglob("*") if not path.name.startswith("cad"))
        return [dump, [(path, path.stat().st_mode, path.stat().st_mtime) for path in files]]

    def sql(self, statement: str, *values: object) -> None:
        """What a bug or a stranger would do to the database."""
        with closing(sqlite3.connect(self.folder / "cadnode.db")) as connection:
            connection.execute(statement, values)
            connection.commit()

    def check(self, *, now: datetime = NOW, deep: bool = False, **archives) -> Outcome:
        self._date_files()
        fsck = Fsck(self.database, self.spool, destinations=PACS, now=now)
        return fsck.check(deep=deep, archives=archives)

    def _date_files(self) -> None:
        """Time is moved by hand for files as well: all were written at NOW."""
        for path in self.folder.rglob("*"):
            with suppress(FileNotFoundError):
                if path.is_file() and path.stat().st_mtime > NOW.timestamp():
                    os.utime(path, (NOW.timestamp(), NOW.timestamp()))

    def codes(self, *, now: datetime = NOW, deep: bool = False) -> list[str]:
        return [item.kind.code for item in self.check(now=now, deep=deep).discrepancies]

    def repair(self, *, now: datetime = NOW, **archives) -> list[str]:
        """What was mended, by code."""
        found = self.check(now=now, **archives).discrepancies
        return [item.kind.code for item in Repair(self.database, self.spool, now=now).all(found)]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    folder = tmp_path / "data"
    spool = Spool(folder, reserve_bytes=0)
    upgrade(f"sqlite:///{folder / 'cadnode.db'}")
    database = Database(f"sqlite:///{folder / 'cadnode.db'}")
    yield Node(folder, database, SqlExamStore(database), spool)
    database.close()


def test_nothing_is_wrong_with_an_exam_at_any_step_of_its_life(node: Node):
    assert node.codes() == []
    node.receive(1)
    assert node.codes() == []
    node.report()
    assert node.codes() == []
    node.deliver()
    assert node.codes(deep=True) == []
    node.receive(2)
    node.report()
    assert node.codes(deep=True) == []


OLD = NOW + ON_ITS_WAY + timedelta(minutes=1)


def test_a_file_that_is_missing_shortened_or_altered_is_told(node: Node):
    node.whole_exam()
    image, result = node.file_of("images"), node.file_of("results")
    whole = image.read_bytes()
    image.write_bytes(whole[:-1])
    result.write_bytes(b"resulT")
    assert node.codes() == ["F202"]
    assert node.codes(deep=True) == ["F202", "F204"]
    image.write_bytes(whole[:-1] + b"?")
    assert node.codes() == []
    assert node.codes(deep=True) == ["F202", "F204"]
    image.unlink()
    result.unlink()
    (first, second) = node.check().discrepancies
    assert (first.kind.code, second.kind.code) == ("F201", "F203")
    assert "1.2.3.1 of exam 1" in first.detail


def test_an_image_that_is_sent_again_mends_its_file(node: Node):
    node.whole_exam()
    node.file_of("images").unlink()
    assert node.codes() == ["F201"]
    node.receive(1)
    assert node.codes(deep=True) == []


def test_a_purged_exam_has_no_files_and_that_is_right(node: Node):
    node.whole_exam()
    for path in node.store.mark_purged(1, now=NOW):
        node.spool.remove(path)
    assert node.codes(now=OLD, deep=True) == []


def test_bytes_that_others_took_the_place_of_are_looked_at_too(node: Node):
    node.whole_exam()
    kept = node.file_of("images")
    node.receive(1, content=b"other bytes")
    assert node.codes(now=OLD - ON_ITS_WAY) == []
    kept.unlink()
    assert node.codes() == ["F201"]


@pytest.mark.parametrize("name", ["incoming/x.part", "images/00/x.dcm", "results/00/.y.part"])
def test_what_no_exam_knows_is_told_when_it_is_old_and_removed_on_demand(node: Node, name: str):
    path = node.folder / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(b"half")
    path.chmod(0o600)
    expected = "F206" if name.endswith(".part") else "F205"
    assert node.codes() == []
    outcome = node.check(now=OLD)
    assert [item.kind.code for item in outcome.discrepancies] == [expected]
    assert outcome.is_clean
    assert path.exists()
    assert node.repair(now=OLD) == [expected]
    assert not path.exists()
    assert node.codes(now=OLD) == []


def test_rights_that_others_have_are_told_and_taken_away(node: Node):
    node.whole_exam()
    image = node.file_of("images")
    open_to_all = [image, image.parent, node.folder / "incoming", node.folder / "cadnode.db"]
    for path in open_to_all:
        path.chmod(path.stat().st_mode | 0o044)
    assert node.codes() == ["F207"] * 4
    assert node.repair() == ["F207"] * 4
    assert node.codes() == []
    assert image.read_bytes()


def test_looking_changes_nothing(node: Node):
    node.whole_exam()
    (node.folder / "incoming").chmod(0o755)
    node.file_of("images").unlink()
    node.sql("UPDATE jobs SET finished_at = NULL")
    before = node.everything()
    assert node.codes(now=OLD, deep=True) != []
    assert node.everything() == before


def test_an_exam_that_a_bug_left_waiting_moves_on(node: Node):
    node.receive(1)
    node.report()
    node.sql("UPDATE deliveries SET status = 'delivered'")
    assert node.codes() == ["F305"]
    assert node.repair() == ["F305"]
    assert node.codes() == []
    assert [str(exam.status) for exam in ExamRecords(node.database).list_exams()] == ["delivered"]


def test_an_end_that_a_bug_left_out_begins_the_retention_now(node: Node):
    node.whole_exam()
    node.sql("UPDATE jobs SET finished_at = NULL")
    assert node.repair() == ["F307"]
    (exam,) = node.store.purgeable(finished_before=NOW + SECOND, limit=9)
    assert exam.finished_at == NOW


def test_what_needs_a_decision_is_never_mended(node: Node):
    node.whole_exam()
    node.file_of("images").unlink()
    node.sql("UPDATE jobs SET status = 'nonsense'")
    before = node.everything()
    assert set(node.codes()) == {"F103", "F201"}
    assert node.repair() == []
    assert node.everything() == before


def test_a_row_that_refers_to_nothing_is_told(node: Node):
    node.whole_exam()
    node.sql("DELETE FROM findings")
    node.sql("PRAGMA foreign_keys = OFF")
    node.sql("DELETE FROM results")
    assert set(node.codes(now=OLD)) == {"F102", "F205", "F303"}


def test_a_database_that_cannot_be_read_is_not_called_clean(node: Node):
    node.sql("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(DatabaseUnavailable, match="upgrade the database"):
        node.check()


class TestArchive:
    def test_what_the_archive_lost_is_told_and_sent_again(self, node: Node):
        exam = node.whole_exam()
        assert node.check(pacs=lambda study: {"2.25.1"}).is_clean
        outcome = node.check(pacs=lambda study: {"2.25.99"})
        assert [str(item) for item in outcome.discrepancies] == [
            "F401 2.25.1: a destination does not hold an object that it stored (exam 1 at pacs)"
        ]
        assert node.repair(pacs=lambda study: ()) == ["F401"]
        assert node.codes() == []
        (summary,) = ExamRecords(node.database).list_exams()
        assert (summary.status, summary.deliveries_pending) == ("reported", 1)
        node.deliver()
        assert node.check(pacs=lambda study: {"2.25.1"}).is_clean
        assert any(
            "does not hold" in event.text
            for event in ExamRecords(node.database).exam_detail(exam.id).events
        )

    def test_what_is_superseded_or_purged_or_on_its_way_is_not_asked_for(self, node: Node):
        node.whole_exam("1.2.4")
        node.store.mark_purged(1, now=NOW)
        node.whole_exam()
        node.receive(2)
        node.report()

        def nothing(study: str) -> set[str]:
            raise AssertionError(study)

        assert node.check(pacs=nothing).is_clean

    def test_a_file_that_is_gone_cannot_be_sent_again(self, node: Node):
        node.whole_exam()
        node.file_of("results").unlink()
        assert node.repair(pacs=lambda study: ()) == []
        assert node.codes() == ["F203"]

    def test_nobody_waits_for_the_files_while_an_object_is_made_due_again(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ):
        node.whole_exam()
        looked = []

        def size_of(relative: str) -> int | None:
            with closing(sqlite3.connect(node.folder / "cadnode.db", timeout=0)) as other:
                other.execute("BEGIN IMMEDIATE")
            looked.append(relative)
            return Spool.size_of(node.spool, relative)

        monkeypatch.setattr(node.spool, "size_of", size_of)
        assert node.repair(pacs=lambda study: ()) == ["F401"]
        assert looked

    def test_an_archive_that_does_not_answer_leaves_the_question_open(self, node: Node):
        node.whole_exam()

        def silent(study: str) -> set[str]:
            raise Unreachable("no connection")

        outcome = node.check(pacs=silent)
        assert (outcome.discrepancies, outcome.unchecked) == ([], ["pacs: E601 no connection"])


class TestCommand:
    @pytest.fixture
    def config(self, node: Node) -> Path:
        file = node.folder.parent / "cadnode.toml"
        file.write_text(
            '[node]\ndata_dir = "data"\n[[destinations]]\nname = "pacs"\nae_title = "PACS"\n'
            f'host = "127.0.0.1"\nport = {free_port()}\n'
        )
        return file

    def run(self, config: Path, *options: str) -> Result:
        return CliRunner().invoke(cli, ["fsck", *options, "--config", str(config)])

    def test_a_clean_node_says_what_was_looked_at(self, node: Node, config: Path):
        node.whole_exam()
        answer = self.run(config)
        assert answer.exit_code == 0
        assert "1 exam, 1 image, 1 result, 1 delivery, 2 files: no errors." in answer.output
        report = json.loads(self.run(config, "--json").output)
        assert (report["clean"], report["problems"], report["unchecked"]) == (True, [], [])

    def test_an_error_ends_with_status_1_and_a_mended_one_does_not(self, node: Node, config: Path):
        node.whole_exam()
        node.file_of("images").chmod(0o644)
        answer = self.run(config)
        assert (answer.exit_code, "error  F207" in answer.output) == (1, True)
        (item,) = json.loads(self.run(config, "--json").output)["problems"]
        assert (item["code"], item["severity"], item["mended"]) == ("F207", "error", None)
        answer = self.run(config, "--repair")
        assert (answer.exit_code, "mended: only the node" in answer.output) == (0, True)
        assert self.run(config).exit_code == 0

    def test_what_cannot_be_checked_ends_with_status_3(self, node: Node, config: Path):
        node.whole_exam()
        answer = self.run(config, "--archive")
        assert (answer.exit_code, "not checked: pacs: E601" in answer.output) == (3, True)
        node.sql("UPDATE alembic_version SET version_num = '0001'")
        assert self.run(config).exit_code == 3

    def test_what_orthanc_lost_is_sent_again(self, node: Node, config: Path, tmp_path: Path):
        with orthanc(tmp_path, ae_title="PACS") as archive:
            config.write_text(re.sub(r"port = \d+", f"port = {archive.port}", config.read_text()))
            app = App(load_settings(config, {}))
            dataset = mammogram()
            content = write(dataset, tmp_path / "object.dcm").read_bytes()
            uid = str(dataset.SOPInstanceUID)
            built = BuiltResult(
                "mammography-cad-sr", str(dataset.SOPClassUID), uid, "2.25", content
            )
            node.receive(1, str(dataset.StudyInstanceUID))
            node.report(built)
            outgoing = OutgoingObject(built.sop_class_uid, uid, node.file_of("results"))
            sender = app.sender(app.settings.destination("pacs"))
            assert sender.send([outgoing])[0].status == 0
            node.deliver()
            assert self.run(config, "--archive").exit_code == 0

            (instance,) = archive.get("/instances")
            archive.delete(f"/instances/{instance}")
            lost = self.run(config, "--archive")
            assert (lost.exit_code, f"error  F401 {uid}" in lost.output) == (1, True)
            mended = self.run(config, "--archive", "--repair")
            assert (mended.exit_code, "mended: it will be sent again" in mended.output) == (0, True)
            assert sender.send([outgoing])[0].status == 0
            node.deliver()
            assert self.run(config, "--archive").exit_code == 0

    def test_bad_usage_ends_with_status_2(self, config: Path):
        assert self.run(config, "--mend").exit_code == 2


def test_a_running_node_is_never_called_wrong(node: Node):
    """Exams flow, are replaced and purged in one thread while another one looks."""
    stopping = threading.Event()
    told: list[str] = []
    looks = 0

    def look() -> None:
        nonlocal looks
        while not stopping.is_set():
            told.extend(map(str, node.check(deep=True).discrepancies))
            looks += 1

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for number in range(5):
            study = f"1.2.{number}"
            node.whole_exam(study)
            node.receive(2, study)
            node.receive(1, study, content=str(number).encode())
            node.report()
            node.deliver()
            purge(node.store, node.spool, rules=RetentionRules(timedelta(0)), now=NOW + SECOND)
            node.receive(2, study)
            node.report()
            node.deliver()
    finally:
        stopping.set()
        looking.join()
    assert told == []
    assert looks > 10
