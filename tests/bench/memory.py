"""The memory of receiver and worker over ten thousand images."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.flow import Modality, Sampler, counts, exam_files, node, open_exams
from tests.bench.section import Section, run_alone
from tests.node.running import write_all
from tests.objects import mammogram
from tests.peers import orthanc

IMAGES, QUICK_IMAGES = 10_000, 400
SENDERS = 4
QUIET_SECONDS = 5.0
PATIENCE = 3600.0
READ = (300, 240)
"""Rows and columns of an image that is read: one patch."""


def measure(quick: bool) -> Section:
    """Ten thousand images, or some."""
    return over(QUICK_IMAGES if quick else IMAGES)


def over(images: int) -> Section:
    """So many images in small exams: one in ten is read, the others are set aside by their view."""
    read = images // 10 // 4
    aside = (images // 4 - read) // (SENDERS - 1)
    with tempfile.TemporaryDirectory() as name, orthanc(Path(name)) as archive:
        folder = Path(name)
        small = exam_files(folder / "read", "memory", rows=READ[0], columns=READ[1])
        lateral = [mammogram(view="ML", sop_uid=f"1.2.{n}", instance_number=n) for n in range(4)]
        others = write_all(lateral, folder / "aside")
        extra = f"[exam]\nquiet_seconds = {QUIET_SECONDS}\n"
        with node(folder / "node", archive.port, extra=extra) as running:
            Modality(running, small, exams=1, calling="WARM").wait()
            processes = {"receiver": running.pid("receive"), "worker": running.pid("work")}
            with Sampler(processes) as ram:
                senders = [Modality(running, small, exams=read, calling="MG0")]
                senders += [
                    Modality(running, others, exams=aside, calling=f"MG{number}")
                    for number in range(1, SENDERS)
                ]
                answered = sum(len(sender.wait()) for sender in senders)
                received = len(ram.samples["receiver"])
                deadline = time.monotonic() + PATIENCE
                while open_exams(running):
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"exams are still open: {counts(running)}")
                    time.sleep(1)
            exams, kept, by_status = counts(running)
    if kept != answered + 4 or by_status != {"delivered": read + 1, "skipped": exams - read - 1}:
        raise RuntimeError(f"{answered} answered, {kept} kept, {by_status}")
    samples = {
        # Where it has nothing to do its memory says nothing.
        "receiver": ram.samples["receiver"][:received],
        "worker": ram.samples["worker"],
    }
    return _section(kept, 4 * read, samples)


def _section(images: int, read: int, samples: Mapping[str, Sequence[float]]) -> Section:
    rows = [["MiB resident", "after a tenth", "at the end", "growth", "most"]]
    for name, values in samples.items():
        early, late = _early(values), _late(values)
        growth = 100 * (late / early - 1)
        rows.append([name, f"{early:.0f}", f"{late:.0f}", f"{growth:+.1f} %", f"{max(values):.0f}"])
    text = (
        f"{images} images from {SENDERS} senders to `cadnode serve` with its default settings "
        f"(but a quiet time of {QUIET_SECONDS:.0f} s): {read} of them ({READ[1]} x {READ[0]} "
        "pixels, one patch each) are read, reported and sent to Orthanc; the others, of a view "
        "that is not read, are kept and set aside. The memory of both processes each second; the "
        "receiver's while it receives. *After a tenth* is the median of the second tenth of the "
        "samples, *at the end* that of the last tenth."
    )
    raw = {f"memory of the {name} (MiB, each second)": list(v) for name, v in samples.items()}
    return Section("Memory over many images", text, rows, raw)


def _early(values: Sequence[float]) -> float:
    tenth = max(1, len(values) // 10)
    return statistics.median(values[tenth : 2 * tenth] or values)


def _late(values: Sequence[float]) -> float:
    return statistics.median(values[-max(1, len(values) // 10) :])


if __name__ == "__main__":
    run_alone(measure, __doc__, images=over)
