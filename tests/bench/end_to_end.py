"""From the last C-STORE answer of an exam to its results in the archive, on an idle node."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.flow import (
    COLUMNS,
    ROWS,
    Event,
    Modality,
    as_another,
    events_of,
    exam_files,
    node,
    percentile,
    results_made,
    wait_for,
)
from tests.bench.section import Section, run_alone
from tests.node.running import Node
from tests.peers import orthanc

EXAMS, QUICK_EXAMS = 10, 3
PACE_SECONDS = 2.0
"""Between two views of an exam as it is taken; a modality needs longer."""

STAGES = {
    "last image analyzed": "image-analyzed",
    "exam closed": "analyzed",
    "results built": "reported",
    "results in the archive": "delivery-done",
}
"""What is reached, and the event that says so."""


def measure(quick: bool) -> Section:
    """Exams sent one after the other to a node that has nothing else to do."""
    exams = QUICK_EXAMS if quick else EXAMS
    found: dict[str, list[Mapping[str, float]]] = {"at once": [], "as taken": []}
    with tempfile.TemporaryDirectory() as name, orthanc(Path(name)) as archive:
        folder = Path(name)
        shape = (ROWS // 4, COLUMNS // 4) if quick else (ROWS, COLUMNS)
        files = exam_files(folder / "images", "end to end", rows=shape[0], columns=shape[1])
        with node(folder / "node", archive.port) as running:
            # The first exam finds cold caches everywhere.
            for number in range(exams + 1):
                for how, pace in (("at once", 0.0), ("as taken", PACE_SECONDS)):
                    exam = as_another(files, folder / "exam", f"{how} {number}")
                    answered = sent(running, exam, pace)
                    reached = one_exam(running, sum(map(len, found.values())) + 1, answered)
                    found[how].append(reached)
            made = results_made(running)
        stored = len(archive.get("/instances"))
    if stored != made:
        raise RuntimeError(f"the archive holds {stored} of {made} result objects")
    return _section(shape, {how: reached[1:] for how, reached in found.items()})


def sent(running: Node, files: Sequence[Path], pace: float) -> float:
    """Send one exam, over one association or a view every `pace` seconds; when the last image
    was answered."""
    if not pace:
        return Modality(running, files).wait()[-1]
    answered = [0.0]
    for file in files:
        time.sleep(pace)
        answered = list(Modality(running, [file]).wait())
    return answered[-1]


def one_exam(running: Node, exams: int, answered: float) -> Mapping[str, float]:
    """Seconds from `answered` to each of `STAGES`, of the last of so many exams."""
    wait_for(running, exams)
    return stages(events_of(running), exams, answered)


def stages(found: Sequence[Event], exam: int, answered: float) -> Mapping[str, float]:
    """Seconds from `answered` to the last event of each of `STAGES`."""
    last = {event.kind: event.at for event in found if event.exam == exam}
    return {stage: last[kind] - answered for stage, kind in STAGES.items()}


def _section(shape: tuple[int, int], found: Mapping[str, Sequence[Mapping[str, float]]]) -> Section:
    rows = [
        ["reached (seconds after the last answer)", "at once: p50", "p95", "as taken: p50", "p95"]
    ]
    raw: dict[str, list[float]] = {}
    for stage in STAGES:
        row = [stage]
        for how, each in found.items():
            values = [reached[stage] for reached in each]
            raw[f"{stage}, {how} (s)"] = values
            row += [f"{statistics.median(values):.2f}", f"{percentile(values, 0.95):.2f}"]
        rows.append(row)
    exams = len(next(iter(found.values())))
    text = (
        "From the last C-STORE answer, as `storescu` saw it, to the moment the archive (Orthanc) "
        f"had stored the last result object, {exams} exams one after the other on an idle node: "
        f"`cadnode serve` with its default settings. Four views of {shape[1]} x {shape[0]} pixels. "
        f"*At once*: "
        f"all four over one association, as fast as it goes; *as taken*: a view every "
        f"{PACE_SECONDS:.0f} s, so that all but the last are read before the exam is complete."
    )
    return Section("End to end", text, rows, raw)


if __name__ == "__main__":
    run_alone(measure, __doc__)
