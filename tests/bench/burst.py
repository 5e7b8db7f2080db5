"""Many exams at once from four senders: how fast they are done, with how much memory, none lost."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.flow import (
    COLUMNS,
    ROWS,
    Modality,
    Sampler,
    counts,
    events_of,
    exam_files,
    node,
    percentile,
    results_made,
    wait_for,
)
from tests.bench.section import Section, run_alone
from tests.peers import orthanc

SENDERS = 4
EXAMS, QUICK_EXAMS = 200, 8
PATIENCE = 3600.0


def measure(quick: bool) -> Section:
    """A burst of full-size exams; small ones for a quick look."""
    return burst(QUICK_EXAMS if quick else EXAMS, *((416, 320) if quick else (ROWS, COLUMNS)))


def burst(exams: int, rows: int, columns: int, *, extra: str = "") -> Section:
    """`exams` exams, shared out among the senders, to a node whose settings `extra` adds to."""
    each = exams // SENDERS
    with tempfile.TemporaryDirectory() as name, orthanc(Path(name)) as archive:
        folder = Path(name)
        files = exam_files(folder / "images", "burst", rows=rows, columns=columns)
        with node(folder / "node", archive.port, extra=extra) as running:
            Modality(running, files, exams=1, calling="WARM").wait()
            wait_for(running, 1)
            with Sampler(
                {"receiver": running.pid("receive"), "worker": running.pid("work")}
            ) as ram:
                began = time.time()
                senders = [
                    Modality(running, files, exams=each, calling=f"MG{number}")
                    for number in range(1, SENDERS + 1)
                ]
                answered = [moment for sender in senders for moment in sender.wait()]
                wait_for(running, each * SENDERS + 1, patience=PATIENCE)
            kept = counts(running)
            done = [event.at for event in events_of(running) if event.kind == "delivered"]
            patches = [
                event["patches"]
                for event in running.events()
                if event.get("event") == "analyzed" and "patches" in event
            ]
            made = results_made(running)
        stored = len(archive.get("/instances"))
    whole = (each * SENDERS + 1, 4 * (each * SENDERS + 1))
    if kept[:2] != whole or len(answered) != 4 * each * SENDERS or stored != made:
        raise RuntimeError(
            f"lost: {len(answered)} answered, {kept} kept, {stored} of {made} stored"
        )
    return _section(
        (rows, columns),
        exams=each * SENDERS,
        received=max(answered) - began,
        took=max(done) - began,
        patches=statistics.fmean(patches),
        done=[moment - began for moment in done[1:]],
        memory=ram.samples,
    )


def _section(
    shape: tuple[int, int],
    *,
    exams: int,
    received: float,
    took: float,
    patches: float,
    done: Sequence[float],
    memory: Mapping[str, Sequence[float]],
) -> Section:
    rows = [
        ["", ""],
        ["exams per minute, until the last result was stored", f"{60 * exams / took:.1f}"],
        ["exams per minute, received", f"{60 * exams / received:.1f}"],
        ["patches per image", f"{patches:.0f}"],
        ["patches per second", f"{4 * exams * patches / took:.0f}"],
        ["images lost", "0"],
        *(
            [f"memory of the {name} (MiB): first quarter, last quarter, most", _course(values)]
            for name, values in memory.items()
        ),
    ]
    text = (
        f"{exams} exams of four views of {shape[1]} x {shape[0]} pixels, sent at once by {SENDERS} "
        "senders (`storescu`, one association each) to `cadnode serve` with its default settings; "
        "results to Orthanc. Every image was counted in the job database and every result object "
        "in the archive."
    )
    raw = {
        "exams delivered (s since the burst began)": list(done),
        **{f"memory of the {name} (MiB, each second)": list(v) for name, v in memory.items()},
        "all received (s)": [received],
        "all delivered (s)": [took],
        "half of the exams delivered (s)": [percentile(done, 0.5)],
    }
    return Section("A burst of exams", text, rows, raw)


def _course(values: Sequence[float]) -> str:
    quarter = max(1, len(values) // 4)
    first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
    return f"{first:.0f}, {last:.0f}, {max(values):.0f}"


if __name__ == "__main__":
    run_alone(measure, __doc__, exams=lambda exams: burst(exams, ROWS, COLUMNS))
