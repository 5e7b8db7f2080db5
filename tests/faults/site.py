"""The site under test: the real node as processes, its disks, its clock and two archives."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from cadnode.app import App
from cadnode.config import load_settings
from cadnode.store import Store
from tests.faults import processes
from tests.faults.archive import Archive
from tests.faults.clock import Clock
from tests.faults.modality import CALLING_AE
from tests.faults.plan import ARCHIVES, Fault
from tests.faults.processes import MARK, Process
from tests.faults.volumes import IMAGES, Volume

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
STOP_SECONDS = 30.0
RESTART_SECONDS = 1.0

_SETTINGS = """
[node]
host = "127.0.0.1"
port = {port}
data_dir = "data"
[[peers]]
name = "room 1"
ae_title = "{calling}"
[database]
url = "sqlite:///{database}"
[exam]
expected_views = ["RCC", "LCC"]
quiet_seconds = 3.0
[work]
lease_seconds = 2.0
poll_seconds = 0.1
[delivery]
deadline_seconds = 4.0
first_delay_seconds = 0.2
longest_delay_seconds = 2.0
commitment_delay_seconds = 0.5
[retention]
reserve_mb = 8
[web]
enabled = false
[log]
format = "json"
"""

_DESTINATION = """
[[destinations]]
name = "{name}"
ae_title = "{ae_title}"
host = "127.0.0.1"
port = {port}
"""


@dataclass
class Site:
    """Everything a round needs; made empty, ended with nothing left behind."""

    folder: Path
    fired: Callable[[Fault], None]
    with_volumes: bool = True

    archives: dict[str, Archive] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    node_lock: threading.RLock = field(default_factory=threading.RLock)
    """Held while somebody starts, stops or kills processes."""
    power_going: threading.Event = field(default_factory=threading.Event)
    """Set while somebody waits to take the disks away: whoever uses them lets go."""

    def __post_init__(self) -> None:
        self.mark = secrets.token_hex(8)
        self._exit = ExitStack()
        self._users = 0
        self._nobody = threading.Condition()
        self._serve: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clock = Clock(self.folder)

    def __enter__(self) -> Site:
        with ExitStack() as stack:
            for name in ARCHIVES:
                archive = Archive(name, lambda fault: self.fired(fault))
                self.archives[name] = stack.enter_context(archive)
            if self.with_volumes:
                self._make_volumes(stack)
            self.database.parent.mkdir(parents=True, exist_ok=True)
            self.config.write_text(self._settings())
            stack.callback(self._end)
            self.start()
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()

    # ---- places ----------------------------------------------------------------------------

    @property
    def config(self) -> Path:
        """The node's settings."""
        return self.folder / "cadnode.toml"

    @property
    def data(self) -> Path:
        """The node's data folder."""
        return self.folder / "data"

    @property
    def database(self) -> Path:
        """The job database."""
        return self.folder / "database" / "cadnode.db"

    @property
    def log(self) -> Path:
        """Everything its processes print."""
        return self.folder / "node.log"

    # ---- processes -------------------------------------------------------------------------

    @property
    def processes(self) -> list[Process]:
        """Every process of the node."""
        return processes.running(self.mark)

    def process(self, role: str, seconds: float = 30.0) -> Process | None:
        """The process with this role, as soon as there is one."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            found = processes.by_role(self.processes).get(role)
            if found is not None:
                return found
            time.sleep(0.05)
        return None

    def start(self) -> None:
        """`cadnode serve`, and again when it ends, as a service manager does, until it listens."""
        ends = time.monotonic() + START_SECONDS
        with self.node_lock:
            self._launch()
            while not self._listens():
                if time.monotonic() > ends:
                    raise RuntimeError(f"the node did not start:\n{self.log.read_text()[-4000:]}")
                if self.ended(0.1):
                    time.sleep(RESTART_SECONDS)
                    self._launch()

    def _launch(self) -> None:
        environment = {
            **os.environ,
            **self.clock.environment,
            MARK: self.mark,
            "PYTHONPATH": str(REPOSITORY),
            "OMP_NUM_THREADS": "1",
        }
        with self.log.open("ab") as log:
            self._serve = subprocess.Popen(
                [sys.executable, "-m", "cadnode", "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
                env=environment,
            )

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def ended(self, seconds: float) -> bool:
        """Wait for `serve` to end; False when it does not within `seconds`."""
        serve = self._serve
        if serve is None:
            return True
        try:
            serve.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    @property
    def serve_pid(self) -> int:
        """The process id of `serve`, running or not."""
        return self._serve.pid if self._serve else 0

    def _end(self) -> None:
        if self._serve is not None and self._serve.poll() is None:
            self._serve.send_signal(signal.SIGTERM)
            self.ended(STOP_SECONDS)
        processes.send_signal(self.processes, signal.SIGKILL)
        self.ended(STOP_SECONDS)
        processes.wait_gone(self.mark, STOP_SECONDS)

    # ---- what the node knows ---------------------------------------------------------------

    def rows(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """What the database says; nothing while it cannot be read."""
        with self.using_disk():
            try:
                uri = f"file:{self.database}?mode=ro"
                with closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection:
                    connection.row_factory = sqlite3.Row
                    return connection.execute(statement, values).fetchall()
            except sqlite3.Error:
                return []

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The node's own store, for what a person does."""
        with self.using_disk(), closing(App(load_settings(self.config, {})).open_store()) as store:
            yield store

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A `cadnode` command with this node's settings and clock."""
        return subprocess.run(
            [sys.executable, "-m", "cadnode", *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, **self.clock.environment, "PYTHONPATH": str(REPOSITORY)},
            timeout=120,
            check=False,
        )

    # ---- disks -----------------------------------------------------------------------------

    @contextmanager
    def using_disk(self) -> Iterator[None]:
        """While somebody looks into the database or the files, nobody takes their disk away."""
        with self._nobody:
            self._nobody.wait_for(lambda: not self.power_going.is_set())
            self._users += 1
        try:
            yield
        finally:
            with self._nobody:
                self._users -= 1
                self._nobody.notify_all()

    @contextmanager
    def _taking_disk(self) -> Iterator[None]:
        with self._nobody:
            self.power_going.set()
            self._nobody.wait_for(lambda: self._users == 0)
        try:
            yield
        finally:
            with self._nobody:
                self.power_going.clear()
                self._nobody.notify_all()

    def cut_power(self) -> None:
        """Every process stops in the same moment and what was not synced is gone; start again."""
        with self.node_lock:
            with self._taking_disk():
                marked = self.processes
                processes.send_signal(marked, signal.SIGSTOP)
                for volume in self.volumes.values():
                    volume.cut_power()
                processes.send_signal(marked, signal.SIGKILL)
                self.ended(STOP_SECONDS)
                processes.wait_gone(self.mark, STOP_SECONDS)
                # The results lie on a volume mounted within another one.
                for volume in reversed(self.volumes.values()):
                    volume.unmount()
                for volume in self.volumes.values():
                    volume.mount()
                    # That it had been given back was not synced either.
                    volume.drain()
            self.start()

    def _make_volumes(self, stack: ExitStack) -> None:
        for name, mount_point, megabytes in (
            ("spool", self.data, 192),
            ("results", self.data / "results", 48),
            ("database", self.database.parent, 48),
        ):
            image = IMAGES / f"cadnode-faults-{self.mark}-{name}.img"
            volume = Volume(mount_point, image, megabytes)
            stack.callback(volume.remove)
            volume.make()
            self.volumes[name] = volume
        # The mount points within volumes must outlast a power cut.
        os.sync()

    def _settings(self) -> str:
        settings = _SETTINGS.format(port=self.port, calling=CALLING_AE, database=self.database)
        return settings + "".join(
            _DESTINATION.format(name=a.name, ae_title=a.ae_title, port=a.port)
            for a in self.archives.values()
        )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
