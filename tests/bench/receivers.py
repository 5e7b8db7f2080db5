"""Programs that receive images, started for a benchmark on a folder that they leave again."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.modality import Modality
from tests.peers import free_port, orthanc, running, stop
from tests.peers import require as program_of

READY_SECONDS = 60.0


@dataclass(frozen=True)
class Receiver:
    """Something that listens for C-STORE."""

    port: int
    ae_title: str
    pids: Sequence[int] = ()
    """Of what belongs to it, where that is asked for."""


Start = Callable[[Path], "Receiver"]


@contextmanager
def cadnode(folder: Path, processes: int = 1) -> Iterator[Receiver]:
    """`cadnode receive`, so many of them on one port, with the settings that come with it."""
    port = free_port()
    shared = f"receivers = {processes}\n" if processes > 1 else ""
    config = folder / "cadnode.toml"
    config.write_text(
        f'[node]\nhost = "127.0.0.1"\nport = {port}\ndata_dir = "data"\naccept_unknown = true\n'
        f'{shared}[retention]\nreserve_mb = 1\n[web]\nenabled = false\n[log]\nformat = "json"\n'
    )
    log = folder / "node.log"
    children = []
    try:
        with log.open("ab") as output:
            for _ in range(processes):
                command = [sys.executable, "-m", "cadnode", "receive", "--config", str(config)]
                children.append(subprocess.Popen(command, stdout=output, stderr=output))
        _until(lambda: log.read_text("utf-8").count('"event": "receiving"') == processes, log)
        yield Receiver(port, "CADNODE", tuple(child.pid for child in children))
    finally:
        for child in children:
            stop(child)


@contextmanager
def orthanc_as_it_comes(folder: Path) -> Iterator[Receiver]:
    """Orthanc, which syncs each file, with the longest PDUs that it can be set to."""
    with orthanc(folder, settings={"MaximumPduLength": 131072}) as peer:
        yield Receiver(peer.port, peer.ae_title)


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[Receiver]:
    """DCMTK `storescp`, a process for each association, with the longest PDUs; syncs nothing."""
    port, images = free_port(), folder / "images"
    images.mkdir()
    command = [program_of("storescp", "dcmtk"), "--fork", "+xa", "-pdu", "131072", *options]
    with running([*command, "-aet", "STORESCP", "-od", images, str(port)], port, folder / "log"):
        yield Receiver(port, "STORESCP")


@contextmanager
def fresh(folder: Path, start: Callable[[Path], object]) -> Iterator[Receiver]:
    """`start` on an empty folder; what it has received is deleted again."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield stack.enter_context(start(folder))  # type: ignore[arg-type]


def echo_times(port: int, until: Callable[[], bool], *, called: str = "CADNODE") -> list[float]:
    """Seconds from connecting to the answer to a C-ECHO, on a new association each time."""
    taken = []
    while not until():
        began = time.perf_counter()
        with Modality(port, called=called, calling="ECHO") as modality:
            modality.associate([("1.2.840.10008.1.1", "1.2.840.10008.1.2")])
            if modality.echo() != 0:
                raise RuntimeError("a C-ECHO was not answered")
            taken.append(time.perf_counter() - began)
            modality.release()
        time.sleep(0.02)
    return taken


def memory(pids: Sequence[int]) -> float:
    """Resident memory in MB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total / 1024


def _until(holds: Callable[[], bool], log: Path) -> None:
    ends = time.monotonic() + READY_SECONDS
    while not holds():
        if time.monotonic() > ends:
            raise RuntimeError(f"not ready:\n{log.read_text('utf-8')[-2000:]}")
        time.sleep(0.02)
