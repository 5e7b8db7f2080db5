"""What the benchmarks of the whole way share: a node as processes, full-size exams, its events."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import Select, func, select

from cadnode.config import load_settings
from cadnode.core.uids import derive_uid
from cadnode.storage.database import Database
from cadnode.storage.tables import events, images, jobs, results
from tests.node.running import PATIENCE, Node, wait_until
from tests.objects import SCREENING_VIEWS, breast_phantom, four_views, write
from tests.peers import free_port, require

ROWS, COLUMNS, SPACING = 3328, 2560, 0.07
BREAST_COLUMNS = 2000
"""Of the 2560: a breast 11 cm deep and 21 cm long, with air beside it."""


def exam_files(
    folder: Path,
    name: str,
    *,
    rows: int = ROWS,
    columns: int = COLUMNS,
    transfer_syntax_uid: str = ExplicitVRLittleEndian,
) -> list[Path]:
    """The four views of one exam as DICOM files, 17 MB each at full size."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {}
    for seed, (side, view) in enumerate(SCREENING_VIEWS):
        wide = columns * BREAST_COLUMNS // COLUMNS
        breast = breast_phantom(rows, wide, SPACING, seed, side)
        air = [(0, 0), (0, columns - wide) if side == "L" else (columns - wide, 0)]
        pictures[f"{side}{view}"] = np.pad(breast, air)
    datasets = four_views(
        study_uid=derive_uid("bench", name),
        pictures=pictures,
        spacing_mm=SPACING,
        transfer_syntax_uid=transfer_syntax_uid,
    )
    return [write(each, folder / f"{number}.dcm") for number, each in enumerate(datasets)]


def as_another(files: Sequence[Path], folder: Path, name: str) -> list[Path]:
    """The same views as those of another exam, called `name`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for file in files:
        dataset = dcmread(file)
        dataset.StudyInstanceUID = derive_uid("bench", name)
        for keyword in ("SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, derive_uid(name, dataset[keyword].value))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        written.append(write(dataset, folder / file.name))
    return written


@contextmanager
def node(folder: Path, archive_port: int, *, extra: str = "") -> Iterator[Node]:
    """`cadnode serve` with the settings a site has, its model loaded; it sends to one archive.

    `extra` is more of the settings file. The retention stays out of the way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (folder / "cadnode.toml").write_text(
        f'[node]\nhost = "127.0.0.1"\nport = {port}\ndata_dir = "data"\naccept_unknown = true\n'
        '[[destinations]]\nname = "pacs"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\n'
        f'port = {archive_port}\ncommitment = "off"\n'
        '[log]\nformat = "json"\n[web]\nenabled = false\n'
        "[retention]\nreserve_mb = 64\nhigh_water_percent = 100.0\n" + extra
    )
    with (folder / "node.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cadnode", "serve", "--config", str(folder / "cadnode.toml")],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    running = Node(folder, port, process)
    workers = len(load_settings(running.config, {}).work.places)
    try:
        wait_until(lambda: '"event": "receiving"' in running.log, "the node listens", running)
        wait_until(
            lambda: running.log.count('"event": "the model is') >= workers,
            "every model is loaded",
            running,
        )
        if "the model is unfit" in running.log:
            raise RuntimeError(running.log)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Modality:
    """One `storescu`, which sends over one association and notes each answer."""

    def __init__(
        self, node: Node, files: Sequence[Path], *, exams: int = 0, calling: str = "MG1"
    ) -> None:
        """`files` are the views of one exam, sent as they are, or as so many new exams."""
        many = ["--repeat", str(exams)] if exams > 1 else []
        new = ["+IR", str(len(files)), "+IS", "1", "+IP", "1"] if exams else []
        command = [require("storescu", "dcmtk"), "-v", "-R", "-aet", calling, "-aec", "CADNODE"]
        self.answered: list[float] = []
        """The time of day (seconds) of every success."""
        self._process = subprocess.Popen(
            [*command, *new, *many, "127.0.0.1", str(node.port), *map(str, files)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TCP_NODELAY": "1"},
        )
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def wait(self) -> Sequence[float]:
        """Until all is sent: `answered`."""
        self._thread.join()
        self._process.wait()
        return self.answered

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if re.search(rb"Received Store Response \(Success\)", line):
                self.answered.append(time.time())


@dataclass(frozen=True)
class Event:
    """One row of the events."""

    exam: int
    kind: str
    at: float
    """Seconds of the day's clock."""


def events_of(node: Node) -> list[Event]:
    """Everything the node wrote down, in order."""
    statement = select(events.c.job_id, events.c.kind, events.c.at).order_by(events.c.id)
    return [
        Event(row.job_id, row.kind, seconds(row.at)) for row in _rows(node, statement) if row.job_id
    ]


def counts(node: Node) -> tuple[int, int, dict[str, int]]:
    """(exams, images, exams by status)."""
    by_status: dict[str, int] = {}
    for row in _rows(node, select(jobs.c.status)):
        by_status[row.status] = by_status.get(row.status, 0) + 1
    kept = len(_rows(node, select(images.c.id)))
    return sum(by_status.values()), kept, by_status


def results_made(node: Node) -> int:
    """How many result objects there are."""
    return int(_rows(node, select(func.count()).select_from(results))[0][0])


def open_exams(node: Node) -> int:
    """How many exams are neither delivered nor ended otherwise."""
    unfinished = ("receiving", "analyzed", "reported")
    return len(_rows(node, select(jobs.c.id).where(jobs.c.status.in_(unfinished))))


def wait_for(node: Node, exams: int, *, patience: float = PATIENCE) -> None:
    """Until so many exams are delivered."""
    deadline = time.monotonic() + patience
    statement = select(func.count()).select_from(jobs).where(jobs.c.status == "delivered")
    while _rows(node, statement)[0][0] < exams:
        if time.monotonic() > deadline or node.process.poll() is not None:
            raise RuntimeError(f"{exams} exams were not delivered:\n{node.log[-4000:]}")
        time.sleep(0.1)


def seconds(moment: datetime) -> float:
    """Since the epoch."""
    return moment.timestamp()


def _rows(node: Node, statement: Select[Any]) -> Sequence[Any]:
    with _database(node.config).read() as connection:
        return connection.execute(statement).all()


@functools.cache
def _database(config: Path) -> Database:
    # Opened once: what looks ten times a second shall not take a core from what it looks at.
    return Database(load_settings(config, {}).database_url)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed, between neighbours in proportion."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


class Sampler:
    """Notes the memory of processes every second while its block runs, as /proc has it."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        """`processes` are process ids by what they are called."""
        self._processes = processes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.samples: dict[str, list[float]] = {name: [] for name in processes}
        """MiB resident, by name."""

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            for name, pid in self._processes.items():
                self.samples[name].append(resident_mb(pid))
            if self._over.wait(1.0):
                return


def resident_mb(pid: int) -> float:
    """The memory that one process has resident, in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", text)
    return int(kilobytes) / 1024
