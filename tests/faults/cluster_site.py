"""A cluster on one machine: broker, database server, receiver, workers; what dies starts again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from tests.brokers import RabbitMQ
from tests.faults import processes
from tests.faults.processes import MARK
from tests.faults.site import REPOSITORY, STOP_SECONDS, Site
from tests.postgres import PostgreSQL

DATABASE = "cluster"

AGAIN_SECONDS = 0.3
"""Before a process that ended is started again, as a service manager does."""

_CELERY = """
[celery]
enabled = true
broker_url = "{url}"
sweep_seconds = 1.0
idle_seconds = 3.0
"""


@dataclass
class ClusterSite(Site):
    """See Site; the processes are the node's own, each started by itself."""

    with_volumes: bool = False
    workers: int = 2
    broker: RabbitMQ = field(kw_only=True)
    server: PostgreSQL = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.server.ask(f"CREATE DATABASE {DATABASE}")
        self.url = self.server.url(DATABASE)
        self._engine = create_engine(self.url, poolclass=NullPool)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    @property
    def commands(self) -> Mapping[str, Sequence[str]]:
        """Each process by its name: what it is told to do."""
        analysis = {
            f"analysis {number}": ("celery-worker", "--lane", "analysis")
            for number in range(1, self.workers + 1)
        }
        return {
            "receive": ("receive",),
            **analysis,
            "delivery": ("celery-worker", "--lane", "delivery"),
            "housekeeping": ("work", "--lanes", "housekeeping,proof"),
        }

    def start(self) -> None:
        """Every process, and each again when it ends; comes back when the receiver listens."""
        for name in self.commands:
            self._start(name)
        self._keeper.start()
        ends = threading.Event()
        while not self._listens():
            ends.wait(0.1)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to one process, which is then started again."""
        with self.node_lock:
            self._running[name].send_signal(number)

    def cut_connections(self) -> int:
        """End every connection to the database; how many there were."""
        ended = self.server.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{DATABASE}' AND pid <> pg_backend_pid()"
        )
        return len(ended)

    def rows(self, statement: str, *values: object) -> list[Any]:
        """What the database says; nothing while it cannot be read."""
        try:
            with self._engine.connect() as connection:
                return list(connection.exec_driver_sql(statement, values).mappings())
        except SQLAlchemyError:
            return []

    def _start(self, name: str) -> None:
        environment = {
            **os.environ,
            MARK: self.mark,
            "PYTHONPATH": str(REPOSITORY),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "cadnode", *self.commands[name]]
        with self.log.open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*command, "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
                env=environment,
            )

    def _keep(self) -> None:
        while not self._ending.wait(AGAIN_SECONDS):
            with self.node_lock:
                for name, process in list(self._running.items()):
                    if process.poll() is not None and not self._ending.is_set():
                        self._start(name)

    def _end(self) -> None:
        self._ending.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        for process in self._running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        processes.send_signal(self.processes, signal.SIGKILL)
        for process in self._running.values():
            process.wait()
        self._engine.dispose()

    def _settings(self) -> str:
        sqlite = f'url = "sqlite:///{self.database}"'
        settings = super()._settings().replace(sqlite, f'url = "{self.url}"')
        return settings + _CELERY.format(url=self.broker.url)
