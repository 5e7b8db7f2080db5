"""The parts of the node that speak to the message broker, built from its settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from cadnode.config import Settings
from cadnode.core.hints import Hints, Line, NoHints
from cadnode.core.metrics import Metrics
from cadnode.core.processes import DELIVERY
from cadnode.queueing.background import BackgroundHints
from cadnode.queueing.broker import Broker, BrokerSettings
from cadnode.queueing.consumer import Consumer, Step
from cadnode.storage.database import Database
from cadnode.storage.hints import HintRecords
from cadnode.sweeping import SweepLane
from cadnode.worker import run_lane

Clock = Callable[[], datetime]


def open_hints(settings: Settings, database: Database, metrics: Metrics, clock: Clock) -> Hints:
    """Hints given to the broker from now on, from a thread of their own; none without a broker.

    Raises ConfigError when Celery is not installed.
    """
    if not settings.celery.enabled:
        return NoHints()
    hints = BackgroundHints(
        HintRecords(database), broker_of(settings), metrics=metrics, clock=clock
    )
    threading.Thread(
        target=run_lane,
        args=(hints,),
        kwargs={"stopping": hints.closing, "poll_seconds": 1.0},
        name=hints.name,
        daemon=True,
    ).start()
    return hints


def sweep_lanes(
    settings: Settings, database: Database, metrics: Metrics, clock: Clock
) -> list[SweepLane]:
    """The sweep of a node with a broker."""
    if not settings.celery.enabled:
        return []
    return [
        SweepLane(
            HintRecords(database),
            broker_of(settings),
            destinations_of(settings),
            every_seconds=settings.celery.sweep_seconds,
            clock=clock,
            metrics=metrics,
        )
    ]


def broker_of(settings: Settings) -> Broker:
    """The broker that the settings name, not connected yet; for one thread."""
    return Broker(broker_settings(settings))


def consumer_of(settings: Settings, queues: Sequence[Line], step: Step) -> Consumer:
    """Takes messages from these queues, not started yet."""
    return Consumer(broker_settings(settings), queues=queues, step=step)


def broker_settings(settings: Settings) -> BrokerSettings:
    """Where the broker is."""
    table = settings.celery
    return BrokerSettings(
        table.broker_url, table.prefix, tuple(destinations_of(settings)), table.ca
    )


def delivery_lines(settings: Settings) -> Sequence[Line]:
    """The queues of the enabled destinations."""
    return [Line(DELIVERY, name) for name in destinations_of(settings)]


def destinations_of(settings: Settings) -> Sequence[str]:
    """The names of the enabled destinations."""
    return [table.name for table in settings.destinations if table.enabled]
