"""The lanes of a process that works, as its settings and its command want them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog

from cadnode.app import App, lease_owner, utc_now
from cadnode.bell import Bell
from cadnode.clock_watch import ClockLane, horizons
from cadnode.core.errors import CadnodeError
from cadnode.core.file_ports import NodeFiles
from cadnode.core.hints import Line
from cadnode.core.metrics import HINTS_TAKEN
from cadnode.core.processes import ANALYSIS, DELIVERY, HOUSEKEEPING, PROOF
from cadnode.hint_parts import consumer_of, delivery_lines, sweep_lanes
from cadnode.hinted import HintedLane
from cadnode.notifying import notice_lanes
from cadnode.pipeline import Pipeline
from cadnode.proof_parts import HAND_OVER, commitment_lane, proof_lanes
from cadnode.pulling import PullLane
from cadnode.queueing.consumer import Consumer
from cadnode.store import Store
from cadnode.worker import AnalysisLane, DeliveryLane, Lane

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class WorkLanes:
    """What one process works on."""

    owner: str
    """In whose name it holds leases."""
    analysis: AnalysisLane | HintedLane | None
    deliveries: Sequence[DeliveryLane]
    pulls: Sequence[PullLane]
    others: Sequence[Lane]
    consumer: Consumer | None = None
    patience: Mapping[str, float] = field(default_factory=dict)
    """By name, how many seconds lanes that are told wait before they look by themselves."""

    @property
    def taking(self) -> Sequence[threading.Thread]:
        """The thread that takes messages, not started; it may have a step to do as well."""
        return [] if self.consumer is None else [self.consumer.thread]

    def stop(self) -> None:
        """Take no further message."""
        if self.consumer is not None:
            self.consumer.stop()

    @property
    def all(self) -> Sequence[Lane]:
        """Each to be run by a thread of its own."""
        analysis = [] if self.analysis is None else [self.analysis]
        return [*analysis, *self.deliveries, *self.pulls, *self.others]

    def hand_back(self) -> None:
        """Give up what is in hand and could not be finished, for other processes to take."""
        try:
            for lane in self.deliveries:
                lane.hand_back()
            for pull in self.pulls:
                pull.hand_back()
        except CadnodeError as error:
            # The database may be why it could not be finished: the leases end by themselves.
            log.warning("could not hand back what was in hand", detail=str(error))


def work_lanes(
    app: App,
    store: Store,
    files: NodeFiles,
    pipeline: Pipeline,
    chosen: Collection[str],
    *,
    hinted: bool,
    results: Bell,
    set_back: Callable[[], None],
    stopping: threading.Event,
) -> WorkLanes:
    """Those of `chosen` (see `core.processes.LANES`); `hinted` ones are told by messages.

    `results` is rung when there may be something to deliver, `set_back` called when the clock was
    set back.
    """
    settings, owner = app.settings, lease_owner()
    lease = timedelta(seconds=settings.work.lease_seconds)
    others: list[Lane] = []
    if PROOF in chosen:
        others += proof_lanes(
            settings,
            store.exams,
            owner=owner,
            clock=utc_now,
            lease=lease,
            metrics=app.metrics,
        )
        others.append(
            commitment_lane(settings, store.exams, files, owner=owner, clock=utc_now, lease=lease)
        )
    if HOUSEKEEPING in chosen:
        clock = ClockLane(
            store.database,
            horizons(settings, longest_lease=HAND_OVER),
            set_back=set_back,
            clock=utc_now,
        )
        others += [
            clock,
            *sweep_lanes(settings, store.database, app.metrics, utc_now),
            *notice_lanes(app, store, owner=owner, clock=utc_now),
        ]
    analysis = AnalysisLane(
        store.exams,
        pipeline,
        owner=owner,
        lease=lease,
        retry=settings.retry_rules,
        clock=utc_now,
        stopping=stopping,
        metrics=app.metrics,
        stepped=results.ring,
    )
    lanes = WorkLanes(
        owner,
        analysis=analysis if ANALYSIS in chosen else None,
        deliveries=[
            DeliveryLane(
                name,
                store.exams,
                pipeline,
                owner=owner,
                lease=lease,
                clock=utc_now,
                retry=settings.retry_rules,
            )
            for name in app.rules().destinations
            if DELIVERY in chosen
        ],
        pulls=[
            PullLane(app, table, store, files, owner=owner, clock=utc_now, stopping=stopping)
            for table in settings.pull
            if HOUSEKEEPING in chosen
        ],
        others=others,
    )
    return _hinted(app, lanes, results=results, stopping=stopping) if hinted else lanes


def _hinted(app: App, lanes: WorkLanes, *, results: Bell, stopping: threading.Event) -> WorkLanes:
    """The same lanes, told by messages what is due."""
    idle = app.settings.celery.idle_seconds
    analysis = None
    if isinstance(lanes.analysis, AnalysisLane):
        analysis = HintedLane(lanes.analysis, idle_seconds=idle)

    def step(line: Line, exam_id: int) -> None:
        if line.lane == DELIVERY or analysis is None:
            # Whoever sends to a destination sends all that is due there, and never holds up others.
            app.metrics.add(HINTS_TAKEN, line.lane, "worked")
            results.ring()
            return
        try:
            worked = analysis.take(exam_id)
        except CadnodeError as error:
            log.warning("a hint was of no use", exam=exam_id, detail=str(error))
            # So that a database that is away does not use up every message there is.
            stopping.wait(PAUSE_SECONDS)
        else:
            app.metrics.add(HINTS_TAKEN, line.lane, "worked" if worked else "idle")

    queues = [Line(ANALYSIS)] if analysis else []
    queues += delivery_lines(app.settings) if lanes.deliveries else []
    return replace(
        lanes,
        analysis=analysis,
        consumer=consumer_of(app.settings, queues, step),
        patience=dict.fromkeys([lane.name for lane in lanes.deliveries], idle),
    )
