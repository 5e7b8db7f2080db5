"""`cadnode fsck` on a real database, real files and a real archive."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cadnode.core.exam import BuiltResult, ImageState
from cadnode.core.jobs import Exam, ExamStatus, NewImage
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.fsck import Fsck, Outcome
from cadnode.storage.repair import Repair
from cadnode.storage.spool import Spool
from tests.contract.test_exam_store import DONE, LEASE, sent
from tests.integration.test_storage_spool import dicom_file

SECOND = timedelta(seconds=1)
NOW = datetime.now().astimezone()
PACS = {"pacs": True}


@dataclass
class Node:
    """A store and a spool in a folder, and the steps of an exam by hand."""

    folder: Path
    database: Database
    store: SqlExamStore
    spool: Spool

    def receive(self, number: int, study: str = "1.2.3") -> NewImage:
        uid = f"{study}.{number}"
        incoming = self.spool.incoming_dir / f"{number}.part"
        incoming.write_bytes(dicom_file(uid.encode()))
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
        return image

    def claim(self) -> Exam:
        exam = self.store.claim_exam("worker", now=NOW, lease=LEASE)
        assert exam
        return exam

    def report(self) -> Exam:
        exam = self.claim()
        for image in exam.images:
            if image.state is ImageState.RECEIVED:
                self.store.record_image(exam, image.id, state=ImageState.ANALYZED, now=NOW)
        self.store.move_exam(exam, ExamStatus.ANALYZED, text="closed", now=NOW)
        exam = self.claim()
        built = BuiltResult("mammography-cad-sr", "1.2.88.50", f"2.25.{exam.id}", "2.25", b"result")
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

    def sql(self, statement: str, *values: object) -> None:
        """What a bug or a stranger would do to the database."""
        with closing(sqlite3.connect(self.folder / "cadnode.db")) as connection:
            connection.execute(statement, values)
            connection.commit()

    def check(self, *, now: datetime = NOW, deep: bool = False, **archives) -> Outcome:
        fsck = Fsck(self.database, self.spool, destinations=PACS, now=now)
        return fsck.check(deep=deep, archives=archives)

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
