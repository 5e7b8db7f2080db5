"""The half of a node that proves deliveries and commits to senders, with time moved by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import generate_uid
from sqlalchemy import select

from cadnode.committing import CommitmentLane, Committer
from cadnode.core.commitment import CommitmentRequest, KeptImage
from cadnode.core.exam import ImageState
from cadnode.core.jobs import Acceptance, DeliveryStatus, ExamStatus, NewImage, StoredResult
from cadnode.core.ports import OutgoingObject
from cadnode.core.proof import ProofRules, ProofWish
from cadnode.core.retry import Decision, RetryRules, Verdict
from cadnode.dimse.admission import Peer
from cadnode.dimse.commitment_reporter import DicomReporter
from cadnode.dimse.commitment_scp import CommitmentService
from cadnode.dimse.commitment_scu import DicomProver
from cadnode.dimse.destination import Destination, Timeouts
from cadnode.dimse.scp import ScpSettings, StorageScp
from cadnode.dimse.scu import DicomSender
from cadnode.dimse.storing import IncomingObject
from cadnode.proving import ProofLane
from cadnode.storage import tables
from cadnode.storage.database import Database, upgrade
from cadnode.storage.exam_store import SqlExamStore
from cadnode.storage.reading import ExamRecords
from tests.objects import mammogram, write
from tests.peers import free_port

T0 = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=60)
RULES = ProofRules()
DONE = Decision(Verdict.DONE, None, "the destination answered 0x0000")
SMALL = mammogram(rows=64, columns=48)
QUICK = Timeouts(connect=5, association=10, answer=10, delivery=20)


@dataclass
class ProofNode:
    """A job database and a port; `now` is what its clock says."""

    folder: Path
    store: SqlExamStore
    records: ExamRecords
    database: Database
    port: int
    listens_at: dict[str, Destination] = field(default_factory=dict)
    """Where senders take commitment reports, by AE title."""
    now: datetime = T0

    def clock(self) -> datetime:
        return self.now

    # delivering

    def exam(self, objects: int = 2) -> list[StoredResult]:
        """A reported exam with so many result objects, due at the destination `pacs`."""
        study, series = generate_uid(), generate_uid()
        self.store.accept(
            NewImage(
                generate_uid(), "1.2.840.10008.5.1.4.1.1.1.2", study, series, "1.2", "images/1", 1,
                "a", "MG1",
            ),
            now=self.now,
        )  # fmt: skip
        exam = self.store.claim_exam("w", now=self.now, lease=LEASE)
        assert exam is not None
        image_id = exam.images[0].id
        self.store.record_image(exam, image_id, state=ImageState.ANALYZED, now=self.now)
        self.store.move_exam(exam, ExamStatus.ANALYZED, text="Closed.", now=self.now)
        exam = self.store.claim_exam("w", now=self.now, lease=LEASE)
        assert exam is not None
        results = [self._result(study, series) for _ in range(objects)]
        self.store.record_results(exam, results, {"pacs": ["image"]}, now=self.now)
        return results

    def deliver(self, destination: Destination | None = None) -> int:
        """Send what is due, or only write it down; returns how many objects that was."""
        claimed = self.store.claim_deliveries("pacs", "s", now=self.now, lease=LEASE, limit=99)
        outgoing = [
            OutgoingObject(
                d.result.sop_class_uid, d.result.sop_instance_uid, self.folder / d.result.path
            )
            for d in claimed
        ]
        if destination is not None:
            outcomes = DicomSender(destination, "CADNODE", QUICK).send(outgoing)
            assert [outcome.status for outcome in outcomes] == [0] * len(claimed)
        for delivery in claimed:
            from tests.contract.exams import sent

            self.store.record_delivery(
                delivery, sent(delivery), DONE, proof_due_at=self.now + RULES.delay, now=self.now
            )
        self.now += RULES.delay
        return len(claimed)

    def lane(
        self, archive: Destination, wish: ProofWish = ProofWish.AUTO, linger: float = 1.0
    ) -> ProofLane:
        """The proof lane for the destination `pacs`."""
        return ProofLane(
            "pacs",
            wish,
            self.store,
            DicomProver(archive, "CADNODE", QUICK, linger=linger),
            owner="p",
            lease=LEASE,
            rules=RULES,
            clock=self.clock,
            jitter=lambda: 1.0,
        )

    # what is known

    def proofs(self) -> list[str | None]:
        """Where the proof of each delivery stands."""
        return [row.proof for row in self._deliveries()]

    def deliveries(self) -> list[str]:
        """The status of each delivery."""
        return [row.status for row in self._deliveries()]

    def transactions(self) -> list[str | None]:
        """The transaction that each delivery was last asked about in."""
        return [row.transaction_uid for row in self._deliveries()]

    def exams(self) -> list[ExamStatus]:
        """The status of each exam."""
        return [exam.status for exam in self.records.list_exams()][::-1]

    def events(self) -> list[str]:
        """What happened to the proofs, in order."""
        with self.database.read() as connection:
            kinds = connection.execute(select(tables.events.c.kind).order_by(tables.events.c.id))
            return [kind for kind in kinds.scalars() if kind.startswith("proof")]

    def requests(self) -> list[tuple[str, int | None, int | None]]:
        """Of each request of a sender: status, objects committed to, objects not."""
        requests = tables.commitment_requests.c
        with self.database.read() as connection:
            rows = connection.execute(
                select(requests.status, requests.committed, requests.failed).order_by(requests.id)
            )
            return [tuple(row) for row in rows]

    # receiving

    def keep(self, incoming: IncomingObject) -> Acceptance:
        """As the node keeps an image."""
        place = self.folder / "images" / f"{incoming.sop_instance_uid}.dcm"
        size = incoming.path.stat().st_size
        incoming.path.rename(place)
        return self.store.accept(
            NewImage(
                incoming.sop_instance_uid, incoming.sop_class_uid, incoming.study_instance_uid,
                incoming.series_instance_uid, incoming.transfer_syntax_uid,
                str(place.relative_to(self.folder)), size, "a", incoming.calling_ae,
            ),
            now=self.now,
        )  # fmt: skip

    def is_whole(self, image: KeptImage) -> bool:
        """As the node looks at its disk."""
        path = self.folder / image.path
        return path.exists() and path.stat().st_size == image.size

    def where(self, request: CommitmentRequest) -> Destination | None:
        """Where the one who asked listens."""
        return self.listens_at.get(request.calling_ae)

    def committer(self) -> Committer:
        """What decides about requests of senders."""
        return Committer(
            self.store,
            self.is_whole,
            owner="r",
            lease=LEASE,
            reaches=lambda request: self.where(request) is not None,
            retry=RetryRules(),
            clock=self.clock,
            jitter=lambda: 1.0,
        )

    def commitment_lane(self) -> CommitmentLane:
        """What brings reports to senders."""
        return CommitmentLane(self.committer(), DicomReporter(self.where, "CADNODE", QUICK))

    def _deliveries(self) -> Sequence[Any]:
        with self.database.read() as connection:
            return connection.execute(
                select(tables.deliveries).order_by(tables.deliveries.c.id)
            ).all()

    def _result(self, study: str, series: str) -> StoredResult:
        """A small image in the place of a result object: archives take it more gladly."""
        uid = generate_uid()
        dataset = SMALL.copy()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        path = write(dataset, self.folder / f"{uid}.dcm")
        read = dcmread(path)
        return StoredResult(
            "image", str(read.SOPClassUID), uid, series, path.name, "a", path.stat().st_size
        )


@contextmanager
def proof_node(folder: Path, **settings: object) -> Iterator[ProofNode]:
    """A node that listens on a free port; `settings` as for ScpSettings."""
    url = f"sqlite:///{folder / 'node' / 'jobs.db'}"
    upgrade(url)
    (folder / "node" / "images").mkdir()
    database = Database(url)
    store = SqlExamStore(database)
    node = ProofNode(folder / "node", store, ExamRecords(database), database, free_port())
    service = CommitmentService(
        node.committer(), lambda report, by: store.record_report(report, by=by, now=node.now)
    )
    chosen = {"peers": (Peer("room 1", "MG1"),), **settings}
    scp = StorageScp(
        ScpSettings("CADNODE", "127.0.0.1", node.port, folder / "incoming", **chosen),  # type: ignore[arg-type]
        node.keep,
        services=[service],
    )
    scp.start()
    try:
        yield node
    finally:
        scp.stop()
        database.close()


__all__ = ["RULES", "SECOND", "T0", "DeliveryStatus", "ProofNode", "proof_node"]
