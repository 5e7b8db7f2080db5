"""How fast images come in: `python -m tests.bench.receive`.

DCMTK `storescu` sends images of 17 MB over loopback, on one association and on four at once, to
this node (each image synced and committed before it is acknowledged), to Orthanc and to DCMTK
`storescp`, in turn and each time to an empty folder.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from cadnode.core.uids import derive_uid
from tests.bench.receivers import (
    Receiver,
    cadnode,
    echo_times,
    fresh,
    memory,
    orthanc_as_it_comes,
    storescp,
)
from tests.bench.section import Section, interleaved, ratios, run_alone
from tests.integration.modality import Modality, image
from tests.objects import mammogram, write
from tests.peers import require

ROWS, COLUMNS = 3328, 2560
BYTES = ROWS * COLUMNS * 2
ASSOCIATIONS = (1, 4)
OPEN = 20
"""Associations that memory is measured with."""


def measure(quick: bool) -> Section:
    """MB/s, memory per association, and how long a C-ECHO takes meanwhile."""
    images, runs = (9, 1) if quick else (25, 5)
    with tempfile.TemporaryDirectory(prefix="cadnode-bench-") as name:
        folder = Path(name)
        files = make_images(folder / "images", images)
        receivers: dict[str, Callable[[Path], object]] = {
            "cadnode": cadnode,
            "cadnode, 2 receivers": partial(cadnode, processes=2),
            "Orthanc": orthanc_as_it_comes,
            "storescp": storescp,
            "storescp +B": lambda to: storescp(to, "+B"),
        }
        echoes: dict[str, list[float]] = {}
        measures = {
            f"{receiver}, {count} (MB/s)": partial(
                speed, folder / "received", start, files, count, echoes.setdefault(receiver, [])
            )
            for count in ASSOCIATIONS
            for receiver, start in receivers.items()
            if not (count == 1 and "receivers" in receiver)
        }
        raw = interleaved(measures, runs)
        per_association = per_open_association(folder / "received")
    return section(raw, echoes["cadnode"], per_association, images)


def section(
    raw: dict[str, list[float]], echoes: Sequence[float], per_association: float, images: int
) -> Section:
    """What was measured, as a section of the page."""
    rows = [["receiver", "associations", "MB/s (median)", "of Orthanc", "of storescp"]]
    for name, values in raw.items():
        receiver, count = name.removesuffix(" (MB/s)").rsplit(", ", 1)
        best = max(
            (raw[f"{scp}, {count} (MB/s)"] for scp in ("storescp", "storescp +B")),
            key=statistics.median,
        )
        orthanc = ratios(values, raw[f"Orthanc, {count} (MB/s)"])
        rows.append(
            [
                receiver,
                count,
                f"{statistics.median(values):.0f}",
                f"{orthanc:.2f}",
                f"{ratios(values, best):.2f}",
            ]
        )
    milliseconds = sorted(1000 * value for value in echoes)
    worst = f"{milliseconds[-1]:.0f}"
    half = f"{statistics.median(milliseconds):.0f}"
    most = f"{milliseconds[int(0.99 * (len(milliseconds) - 1))]:.0f}"
    return Section(
        "Receiving",
        f"DCMTK `storescu` (TCP_NODELAY=1) sends {images} images of {BYTES / 1e6:.0f} MB over"
        " loopback, divided among the associations; from the start of the senders to their end."
        " cadnode has synced every image and committed its row before it acknowledges it, Orthanc"
        " syncs files, storescp nothing. All are offered PDUs of 128 kB. The last column is against"
        " the faster one of the two ways of storescp (+B: bytes as they came).\n\n"
        f"A C-ECHO on a new association while one process of cadnode receives: p50 {half} ms,"
        f" p99 {most} ms, at most {worst} ms, from connecting to the answer"
        f" ({len(milliseconds)} of them). Memory: {per_association:.2f} MB for each of {OPEN} open"
        " associations, all in the middle of an image, above the idle process.",
        rows,
        {
            **raw,
            "C-ECHO meanwhile: least, deciles, most (ms)": deciles(milliseconds),
            "memory per association (MB)": [per_association],
        },
    )


def deciles(ordered: Sequence[float]) -> list[float]:
    """The least value, every tenth part, the greatest."""
    return [ordered[tenth * (len(ordered) - 1) // 10] for tenth in range(11)]


def make_images(folder: Path, count: int) -> list[Path]:
    """Different instances with the same pixels, four to a study."""
    folder.mkdir(parents=True)
    dataset = mammogram(rows=ROWS, columns=COLUMNS)
    files = []
    for number in range(count):
        dataset.SOPInstanceUID = derive_uid("bench", "image", str(number))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.StudyInstanceUID = derive_uid("bench", "study", str(number // 4))
        dataset.SeriesInstanceUID = derive_uid("bench", "series", str(number // 4))
        files.append(folder / f"{number:03d}.dcm")
        write(dataset, files[-1])
    return files


def speed(
    folder: Path,
    start: Callable[[Path], object],
    files: Sequence[Path],
    associations: int,
    echoes: list[float],
) -> float:
    """MB/s from `associations` senders that share the files; C-ECHOs meanwhile into `echoes`."""
    with fresh(folder, start) as receiver:
        send(receiver, files[:1])
        os.sync()
        over = threading.Event()
        asking = threading.Thread(
            target=lambda: echoes.extend(
                echo_times(receiver.port, over.is_set, called=receiver.ae_title)
            )
        )
        asking.start()
        began = time.perf_counter()
        shares = [files[1:][number::associations] for number in range(associations)]
        threads = [threading.Thread(target=send, args=(receiver, share)) for share in shares]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = time.perf_counter() - began
        over.set()
        asking.join()
    return BYTES * (len(files) - 1) / taken / 1e6


def send(receiver: Receiver, files: Sequence[Path]) -> None:
    """Send on one association; raises unless every image is acknowledged."""
    command = [require("storescu", "dcmtk"), "-R", "-aec", receiver.ae_title, "127.0.0.1"]
    subprocess.run(
        [*command, str(receiver.port), *map(str, files)],
        env={**os.environ, "TCP_NODELAY": "1"},
        check=True,
        capture_output=True,
    )


def per_open_association(folder: Path) -> float:
    """MB of each of `OPEN` associations, every one in the middle of its second image."""
    data_set = image("1.2.3", size=BYTES)
    with fresh(folder, cadnode) as receiver, ExitStack() as stack:
        with Modality(receiver.port) as first:
            first.associate()
            first.store("1.2.3", data_set, chunk=131000)
            first.release()
        idle = memory(receiver.pids)
        for number in range(OPEN):
            modality = stack.enter_context(Modality(receiver.port))
            modality.associate()
            uid = f"1.2.3.{number}"
            modality.store(uid, image(uid, size=BYTES), chunk=131000)
            modality.store(f"{uid}.1", image(f"{uid}.1", size=BYTES), chunk=131000, only=0.5)
        time.sleep(0.5)
        return (memory(receiver.pids) - idle) / OPEN


if __name__ == "__main__":
    run_alone(measure, __doc__)
