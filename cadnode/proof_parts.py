"""The parts of the node that prove deliveries and commit to senders, built from its settings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from cadnode.committing import CommitmentLane, Committer
from cadnode.config import Settings
from cadnode.config.tables import DestinationTable
from cadnode.core.breaker import LineState
from cadnode.core.commitment import KeptImage
from cadnode.core.file_ports import NodeFiles
from cadnode.core.metrics import OTHER, PROOFS, Metrics
from cadnode.core.ports import ExamStore
from cadnode.core.proof import CommitmentReport, ProofWish, ReportTaken
from cadnode.dimse.commitment_reporter import DicomReporter
from cadnode.dimse.commitment_scp import CommitmentService
from cadnode.dimse.commitment_scu import DicomProver
from cadnode.dimse.destination import Timeouts
from cadnode.network import destination_of, report_address
from cadnode.proving import ProofLane

HAND_OVER = timedelta(seconds=30)
"""How long the receiver has to report on the association of a request before the worker does."""

Clock = Callable[[], datetime]


def commitment_service(
    settings: Settings,
    store: ExamStore,
    files: NodeFiles,
    *,
    owner: str,
    clock: Clock,
    metrics: Metrics,
) -> CommitmentService:
    """What the receiver's port answers to storage commitment."""
    names = {table.ae_title: table.name for table in settings.destinations}

    def take(report: CommitmentReport, by: str) -> ReportTaken:
        taken = store.record_report(report, by=by, now=clock())
        if taken is ReportTaken.TAKEN:
            name = names.get(by, OTHER)
            metrics.add(PROOFS, name, "committed", by=len(report.committed))
            metrics.add(PROOFS, name, "refused", by=len(report.failed))
        return taken

    return CommitmentService(
        _committer(settings, store, files, owner=owner, clock=clock, lease=HAND_OVER),
        take=take,
    )


def commitment_lane(
    settings: Settings,
    store: ExamStore,
    files: NodeFiles,
    *,
    owner: str,
    clock: Clock,
    lease: timedelta,
) -> CommitmentLane:
    """Brings the worker's reports to senders."""
    timeouts = Timeouts(delivery=min(Timeouts().delivery, lease.total_seconds()))
    return CommitmentLane(
        _committer(settings, store, files, owner=owner, clock=clock, lease=lease),
        DicomReporter(
            lambda request: report_address(settings, request), settings.node.ae_title, timeouts
        ),
    )


def proof_lanes(
    settings: Settings,
    store: ExamStore,
    *,
    owner: str,
    clock: Clock,
    lease: timedelta,
    metrics: Metrics,
) -> list[ProofLane]:
    """One lane for each enabled destination; one that is `off` ends what was wanted before."""
    return [
        _proof_lane(settings, table, store, owner=owner, clock=clock, lease=lease, metrics=metrics)
        for table in settings.destinations
        if table.enabled
    ]


def _proof_lane(
    settings: Settings,
    table: DestinationTable,
    store: ExamStore,
    *,
    owner: str,
    clock: Clock,
    lease: timedelta,
    metrics: Metrics,
) -> ProofLane:
    return ProofLane(
        table.name,
        ProofWish(table.commitment),
        store,
        DicomProver(
            destination_of(settings, table),
            settings.node.ae_title,
            Timeouts(delivery=settings.delivery.deadline_seconds),
        ),
        owner=owner,
        lease=lease,
        rules=settings.proof_rules,
        clock=clock,
        reachable=lambda: store.line(table.name).state is not LineState.OPEN,
        metrics=metrics,
    )


def _committer(
    settings: Settings,
    store: ExamStore,
    files: NodeFiles,
    *,
    owner: str,
    clock: Clock,
    lease: timedelta,
) -> Committer:
    def is_whole(image: KeptImage) -> bool:
        return files.size_of(image.path) == image.size

    return Committer(
        store,
        is_whole,
        owner=owner,
        lease=lease,
        reaches=lambda request: report_address(settings, request) is not None,
        retry=settings.retry_rules,
        clock=clock,
    )
