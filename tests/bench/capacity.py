"""What one machine can take, predicted and measured, and how many a national programme needs."""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cadnode.config import load_settings
from cadnode.core.analysis import prepare
from cadnode.dicom.reader import DicomReader
from cadnode.inference.bundle import find_bundle
from tests.bench.capacity_model import (
    VIEWS,
    Costs,
    Programme,
    arrivals,
    exams_per_hour,
    needed,
    simulate,
)
from tests.bench.database_cost import DatabaseCost, on_postgresql, on_sqlite
from tests.bench.flow import (
    COLUMNS,
    ROWS,
    Event,
    Modality,
    events_of,
    exam_files,
    node,
    percentile,
    wait_for,
)
from tests.bench.section import Section, load, save, table
from tests.node.running import Node
from tests.peers import orthanc

WORKERS = 3
SENDERS = 4
LOAD = 0.6
"""Of the predicted capacity, for the run with exams at random."""
PATIENCE = 3600.0
PATCH_FLOP = 7.55e9
"""Of the shipped network, one patch."""
GPU_FLOPS, GPU_SHARE = 120e12, 0.4
"""Assumed: a small GPU of a data centre in bfloat16, and what the model gets out of it."""
MACHINE_CORES = 32
RETENTION_DAYS = 30
BEGIN, END = "<!-- capacity: begin -->", "<!-- capacity: end -->"


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rows: int
    columns: int
    calibration: int
    """Exams."""
    burst: int
    at_random: int


FULL = Sizes(ROWS // 2, COLUMNS // 2, calibration=12, burst=40, at_random=40)
QUICK = Sizes(ROWS // 8, COLUMNS // 8, calibration=4, burst=8, at_random=6)


def measure(quick: bool) -> Section:
    """Costs by one worker; three workers predicted, then measured; a national programme."""
    sizes = QUICK if quick else FULL
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name, orthanc(Path(name)) as archive:
        folder = Path(name)
        files = exam_files(folder / "images", "capacity", rows=sizes.rows, columns=sizes.columns)
        with node(folder / "one", archive.port) as running:
            costs = calibrate(running, files, sizes.calibration)
        capacity = exams_per_hour(costs, cores=cores, workers=WORKERS)
        begin = arrivals(sizes.at_random, LOAD * capacity, seed=1)
        with node(
            folder / "three", archive.port, extra=f"[work]\nprocesses = {WORKERS}\n"
        ) as running:
            per_hour = flooded(running, files, sizes.burst)
            delays = at_random(running, files, begin)
        whole = files
        if not quick:
            whole = exam_files(folder / "whole", "capacity of whole images")
        with node(folder / "whole node", archive.port) as running:
            of_whole = calibrate(running, whole, max(3, sizes.calibration // 2))
            patches = statistics.fmean(
                event["patches"] for event in running.events() if event.get("event") == "analyzed"
            )
    played = simulate(costs, [0.0] * sizes.burst, cores=cores, workers=WORKERS)
    predicted = simulate(costs, begin, cores=cores, workers=WORKERS).delays
    found = Found(
        sizes=sizes,
        cores=cores,
        costs=costs,
        whole=of_whole,
        patches=patches,
        by_arithmetic=capacity,
        by_simulation=3600 * sizes.burst / played.ended_at,
        measured=per_hour,
        delays_predicted=predicted,
        delays_measured=delays,
        databases=[on_sqlite(), *on_postgresql()],
    )
    return found.section()


def calibrate(running: Node, files: Sequence[Path], exams: int) -> Costs:
    """What one exam costs on a node with one worker and nothing else to do."""
    Modality(running, files, exams=1).wait()
    wait_for(running, 1)
    receiver, worker = running.pid("receive"), running.pid("work")
    received, sent = cpu_seconds(receiver), children_seconds()
    Modality(running, files, exams=exams).wait()
    images = VIEWS * exams
    receive = (cpu_seconds(receiver) - received) / images
    send = (children_seconds() - sent) / images
    # The sender is gone: from here on the worker has the cores for itself.
    began, used, before = time.time(), cpu_seconds(worker), analyzed(events_of(running))
    wait_for(running, exams + 1, patience=PATIENCE)
    used = cpu_seconds(worker) - used
    found = events_of(running)
    report = statistics.median(report_seconds(found))
    count = analyzed(found) - before
    reports = sum(event.kind == "delivered" and event.at > began for event in found)
    cpu_of_image = (used - reports * report) / count
    before_model = min(seconds_before_the_model(files), cpu_of_image)
    return Costs(
        receive=receive,
        send=send,
        prepare=before_model,
        model=cpu_of_image - before_model,
        report=report,
    )


def seconds_before_the_model(files: Sequence[Path]) -> float:
    """Of one image on one core: reading, resampling, normalising and cutting it, the median."""
    model = load_settings(None, {}).model
    assert model.folder is not None
    spec = find_bundle(model.folder, model.name, model.version).spec
    reader, took = DicomReader(), []
    for file in (files[0], *files):
        began = time.perf_counter()
        prepare(reader.mammogram(file, reader.header(file)), spec)
        took.append(time.perf_counter() - began)
    # The first one starts the decoder.
    return statistics.median(took[1:])


def analyzed(found: Sequence[Event]) -> int:
    """How many images have been read."""
    return sum(event.kind == "image-analyzed" for event in found)


def report_seconds(found: Sequence[Event]) -> list[float]:
    """Of each exam, from its being closed to its results in the archive."""
    closed = {event.exam: event.at for event in found if event.kind == "analyzed"}
    return [event.at - closed[event.exam] for event in found if event.kind == "delivered"]


def flooded(running: Node, files: Sequence[Path], exams: int) -> float:
    """Exams per hour while more are there than can be done."""
    each = exams // SENDERS
    began = time.time()
    senders = [Modality(running, files, exams=each, calling=f"MG{n}") for n in range(SENDERS)]
    for sender in senders:
        sender.wait()
    wait_for(running, each * SENDERS, patience=PATIENCE)
    ended = max(event.at for event in events_of(running) if event.kind == "delivered")
    return 3600 * each * SENDERS / (ended - began)


def at_random(running: Node, files: Sequence[Path], begin: Sequence[float]) -> list[float]:
    """Seconds from the last image to the result, of exams sent at these moments."""
    before = max(event.exam for event in events_of(running))
    started, senders = time.monotonic(), []
    for moment in begin:
        time.sleep(max(0.0, started + moment - time.monotonic()))
        senders.append(Modality(running, files, exams=1))
    for sender in senders:
        sender.wait()
    wait_for(running, before + len(begin), patience=PATIENCE)
    found = [event for event in events_of(running) if event.exam > before]
    complete: dict[int, float] = {}
    for event in found:
        if event.kind == "image-received":
            complete[event.exam] = event.at
    return [event.at - complete[event.exam] for event in found if event.kind == "delivered"]


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far, in core seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_seconds() -> float:
    """What our own programs that have ended have computed, in core seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Found:
    """Everything measured and predicted."""

    sizes: Sizes
    cores: int
    costs: Costs
    whole: Costs
    patches: float
    """Of one full-size image."""
    by_arithmetic: float
    by_simulation: float
    measured: float
    delays_predicted: Sequence[float]
    delays_measured: Sequence[float]
    databases: Sequence[DatabaseCost]

    def section(self) -> Section:
        """The section of the page."""
        sizes = self.sizes
        rows = [["", "predicted", "measured"]]
        rows.append(
            [
                f"{WORKERS} workers, {sizes.burst} exams at once (exams/h)",
                f"{self.by_arithmetic:.0f} by arithmetic, {self.by_simulation:.0f} by simulation",
                f"{self.measured:.0f}",
            ]
        )
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            rows.append(
                [
                    f"last image to result, {sizes.at_random} exams at random, {name} (s)",
                    f"{percentile(self.delays_predicted, share):.2f}",
                    f"{percentile(self.delays_measured, share):.2f}",
                ]
            )
        rows += [["", "", ""], ["**one full-size exam**", "core seconds", "exams/h and core"]]
        whole = self.whole
        parts = {
            "receiver": whole.of_receiver,
            "worker, beside the model": VIEWS * whole.prepare + whole.report,
            "model": VIEWS * whole.model,
        }
        rows += [
            [name, f"{value:.3f}", f"{3600 / value:.0f}" if value else "-"]
            for name, value in parts.items()
        ]
        rows += [
            [
                f"database: {each.name}",
                f"{each.seconds:.3f} of {each.scarce}, {each.transactions:.0f} transactions",
                f"{3600 / each.seconds:.0f}",
            ]
            for each in self.databases
        ]
        rows += [["", "", ""], *self._programme()]
        text = (
            f"Costs were measured with one worker on {self.cores} cores, {sizes.calibration} exams "
            f"of {sizes.columns} x {sizes.rows} pixels; {WORKERS} workers on the same cores were "
            "then predicted from them (tests/bench/capacity_model.py) and measured: all exams at "
            f"once from {SENDERS} senders, and exams at random at {LOAD:.0%} of the predicted "
            "capacity, the same moments in the simulation and in the run. Senders and archive are "
            "on the same machine. The run made "
            f"{self.kept_up:.0%} of the exams an hour of the simulation, which knows nothing of the "
            "memory and the disk that all processes share, nor of their looking for work. The "
            f"lower part carries the costs of full-size exams (of {self.patches:.0f} patches an "
            "image) on, those of workers on CPUs with that share."
        )
        costs = {
            name: [getattr(self.whole, name), getattr(self.costs, name)]
            for name in Costs.__dataclass_fields__
        }
        raw = {
            **{f"{name}, full size and reduced (core s)": each for name, each in costs.items()},
            "delay, predicted (s)": list(self.delays_predicted),
            "delay, measured (s)": list(self.delays_measured),
        }
        return Section("Capacity", text, rows, raw)

    @property
    def kept_up(self) -> float:
        """The share of the simulated exams an hour that the run made; at most 1."""
        return min(1.0, self.measured / self.by_simulation)

    def _programme(self) -> list[list[str]]:
        programme, whole = Programme(), self.whole
        demand = programme.per_hour
        by_core = self.kept_up * 3600 / whole.of_worker
        on_host = 3600 / (whole.of_worker - VIEWS * whole.model)
        receiver = 3600 / whole.of_receiver
        gpu = 3600 * GPU_SHARE * GPU_FLOPS / (PATCH_FLOP * self.patches * VIEWS)
        return [
            [
                f"**{programme.exams_per_year:,.0f} exams a year**, {programme.days:.0f} days of "
                f"{programme.hours:.0f} h, busy hour {programme.busy:.0f} x the mean",
                f"{demand:,.0f} exams/h, {programme.mb_per_second:.0f} MB/s",
                "needed at 70 %, and one spare",
            ],
            ["receiver processes, a core each", "", str(needed(demand, receiver))],
            ["**on CPUs**: cores of workers", "", str(needed(demand, by_core))],
            [
                f"machines of {MACHINE_CORES} cores like these",
                "",
                str(needed(demand, MACHINE_CORES * by_core)),
            ],
            ["**with GPUs**: cores of workers beside them", "", str(needed(demand, on_host))],
            [
                f"GPUs, assumed to do {GPU_SHARE:.0%} of {GPU_FLOPS / 1e12:.0f} TFLOP/s",
                f"{gpu:,.0f} exams/h each",
                str(needed(demand, gpu)),
            ],
            [
                f"room for images of {RETENTION_DAYS} days",
                f"{programme.tb_per_day:.1f} TB a day",
                f"{RETENTION_DAYS * programme.tb_per_day:.0f} TB",
            ],
            *(
                [
                    "cores of the database server, and its replica",
                    f"{demand / 3600 * each.transactions:.0f} transactions/s that write",
                    str(needed(demand, 3600 / each.seconds)),
                ]
                for each in self.databases
                if each.name != "SQLite"
            ),
        ]


def write_into(page: Path, section: Section) -> None:
    """Put the section's text and table between the marks of `page`, in place of what is there."""
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{page} has no {BEGIN} ... {END}")
    content = f"{section.text}\n\n{table(section.rows)}"
    page.write_text(f"{before}{BEGIN}\n{content}{END}{after}", "utf-8")


def main() -> None:
    """Measure, print, and write where it is asked for."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="a look in minutes, no figure")
    arguments.add_argument("--out", type=Path, metavar="FILE", help="the section as JSON")
    arguments.add_argument("--docs", type=Path, metavar="FILE", help="docs/scaling.md")
    arguments.add_argument("--kept", type=Path, metavar="FILE", help="what --out wrote; no run")
    given = arguments.parse_args()
    section = load(given.kept) if given.kept else measure(given.quick)
    print(section.markdown())  # noqa: T201
    if given.out:
        save(section, given.out)
    if given.docs:
        write_into(given.docs, section)


if __name__ == "__main__":
    main()
