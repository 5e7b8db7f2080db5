"""A Celery worker that runs in a thread of a process of the node, one message at a time.

Solo, because a step has the model and the leases of its process. The process has its own signals,
heartbeat and log; Celery's are off.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from cadnode.core.hints import Line
from cadnode.queueing.broker import TASK, BrokerSettings, make_app, queue_name

log = structlog.get_logger(__name__)

STOP_SECONDS = 3.0
"""The longest that the loop takes to see that it is to end, when no step is being run."""


AGAIN_SECONDS = 5.0
"""Before a loop that ended by itself is started again, as when a queue could not be made."""


class Step(Protocol):
    """What a message is for."""

    def __call__(self, line: Line, exam_id: int) -> None:
        """Do it; come back when it is done. Raises nothing."""
        ...


class Consumer:
    """Takes messages from some queues, from `start` to `stop`; one in a process at a time."""

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        queues: Sequence[Line],
        step: Step,
    ) -> None:
        """Nothing is connected yet. Raises ConfigError when Celery is not installed."""
        self._app = make_app(settings)
        self._queues = [queue_name(settings.prefix, line) for line in queues]
        self._app.task(_task(step), name=TASK, shared=False)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="celery", daemon=True)

    @property
    def thread(self) -> threading.Thread:
        """Where steps are run."""
        return self._thread

    def start(self) -> None:
        """Take messages from now on, also when the broker can only be reached later."""
        self._thread.start()

    def stop(self) -> None:
        """Take no further message; does not wait for the one in hand."""
        from celery.worker import state

        self._stopping.set()
        state.should_stop = os.EX_OK

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._work()
            if not self._stopping.wait(AGAIN_SECONDS):
                log.error("Celery has ended by itself and starts again")

    def _work(self) -> None:
        from celery.worker import WorkController, state

        state.should_stop = None
        logging.getLogger("celery.worker.consumer.consumer").addFilter(_said_once)
        # Celery looks for a message's task in the application that is current in the thread.
        self._app.set_current()
        # Not Celery's event loop: it waits up to a second before it acknowledges a message.
        WorkController(
            app=self._app,
            hostname=f"cadnode-{os.getpid()}@{socket.gethostname()}",
            pool_cls="solo",
            concurrency=1,
            queues=self._queues,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            use_eventloop=False,
            loglevel="WARNING",
        ).start()


def _said_once(record: logging.LogRecord) -> bool:
    """Of a broker that is away only the first try is worth a line."""
    text = record.getMessage()
    return "Cannot connect to" not in text or "(1/" in text


def _task(step: Step) -> Callable[[str, int, str], None]:
    def run(lane: str, exam_id: int, destination: str = "") -> None:
        step(Line(lane, destination), exam_id)

    return run
