"""What an object store costs: `python -m tests.bench.objectstore`.

The same receiver with its files in a folder and in OpenStack Swift (by its S3 API, on this machine
and this disk, one copy), in turn. A sender in this process sends images of 17 MB over loopback.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cadnode.storage.object_spool import ObjectSpool
from cadnode.storage.objects import ObjectAccess, Objects
from cadnode.storage.spool import Spool
from tests.bench.receivers import cadnode, fresh
from tests.bench.section import Section, interleaved, run_alone
from tests.integration import pdus
from tests.integration.modality import FOR_PRESENTATION, Modality, image
from tests.integration.test_storage_spool import dicom_file
from tests.swift import Swift, swift

BYTES = 17_039_360
PDU = 100_000
VIEWS = 4


def measure(quick: bool) -> Section:
    """Seconds of a sender and of a worker, folder and store side by side."""
    runs = 2 if quick else 7
    with tempfile.TemporaryDirectory(prefix="cadnode-bench-") as name, running(Path(name)) as peer:
        folder = Path(name)
        measures: dict[str, Callable[[], float]] = {}
        for where, access in (("folder", None), ("object store", peer.access())):
            found: dict[str, list[float]] = {}
            measures[f"{where}: one image (s)"] = partial(_sent, folder, access, found)
            for part in ("the wait for its answer", "four views"):
                measures[f"{where}: {part} (s)"] = partial(_later, found, part)
        measures |= {
            "folder: keep_image (s)": partial(_kept_in_folder, folder),
            "object store: keep_image (s)": partial(_kept, folder, peer),
            "object store: read on another machine (s)": partial(_read, folder, peer, fresh=True),
            "object store: read again (s)": partial(_read, folder, peer, fresh=False),
        }
        return section(interleaved(measures, runs))


def section(raw: Mapping[str, Sequence[float]]) -> Section:
    """What was measured, as a section of the page."""
    rows = [["", "folder, median", "object store, median", "more"]]
    for name, values in raw.items():
        where, _, what = name.partition(": ")
        if where == "folder":
            local, remote = statistics.median(values), raw[f"object store: {what}"]
            more = statistics.median(remote) - local
            rows.append(
                [
                    what.removesuffix(" (s)"),
                    *(f"{1000 * value:.0f} ms" for value in (local, statistics.median(remote))),
                    f"{1000 * more:+.0f} ms",
                ]
            )
        elif "read" in what:
            said = f"{1000 * statistics.median(values):.0f} ms"
            rows.append([what.removesuffix(" (s)"), "0 ms", said, ""])
    return Section(
        "Images in an object store",
        f"One association, images of {BYTES / 1e6:.0f} MB over loopback, a sender in Python;"
        " `the wait` is from its last byte to 0x0000. The store is OpenStack Swift 2.30 by its S3"
        " API, one copy, on the same two processors and disk, so it competes with the receiver;"
        " Swift syncs each object, as the node syncs each file. `keep_image` is the durable write"
        " alone, without network, database and identifiers. `read on another machine` is fetched,"
        " hashed, and then read from the copy.",
        rows,
        {name: list(values) for name, values in raw.items()},
    )


@contextmanager
def running(folder: Path) -> Iterator[Swift]:
    """An object store that is warm."""
    with swift(folder / "swift") as peer:
        objects = Objects(peer.access())
        for number in range(3):
            objects.put_bytes(os.urandom(BYTES), f"warm/{number}")
        yield peer


@contextmanager
def _stored_in(access: ObjectAccess | None) -> Iterator[None]:
    values = (
        {}
        if access is None
        else {
            "CADNODE_STORAGE__URL": access.url,
            "CADNODE_STORAGE__ENDPOINT_URL": access.endpoint_url,
            "CADNODE_STORAGE__ACCESS_KEY": access.access_key,
            "CADNODE_STORAGE__SECRET_KEY": access.secret_key,
        }
    )
    os.environ.update(values)
    try:
        yield
    finally:
        for key in values:
            del os.environ[key]


def _sent(folder: Path, access: ObjectAccess | None, found: dict[str, list[float]]) -> float:
    """Seconds of one image; the wait for its answer and the time of four views into `found`."""
    with (
        _stored_in(access),
        fresh(folder / "received", cadnode) as receiver,
        Modality(receiver.port) as modality,
    ):
        modality.associate()
        _send(modality)
        whole, wait = _send(modality)
        os.sync()
        began = time.perf_counter()
        for _ in range(VIEWS):
            _send(modality)
        found["four views"] = [time.perf_counter() - began]
        found["the wait for its answer"] = [wait]
        return whole


def _later(found: Mapping[str, list[float]], part: str) -> float:
    return found[part][0]


def _send(modality: Modality) -> tuple[float, float]:
    """Seconds from the first byte to the answer, and from the last one."""
    uid = f"2.25.{uuid.uuid4().int}"
    data_set = image(uid, study="2.25.1", size=BYTES)
    command = pdus.c_store_rq(FOR_PRESENTATION, uid, 1)
    pieces = [pdus.fragment(1, command, command=True, last=True)]
    for at in range(0, len(data_set), PDU):
        last = at + PDU >= len(data_set)
        pieces.append(pdus.fragment(1, data_set[at : at + PDU], command=False, last=last))
    began = time.perf_counter()
    for piece in pieces:
        modality.connection.sendall(piece)
    sent = time.perf_counter()
    status, _ = modality.answer()
    if status != 0:
        raise RuntimeError(f"answered 0x{status:04X}")
    ended = time.perf_counter()
    return ended - began, ended - sent


def _received(spool: Spool | ObjectSpool) -> Path:
    path = spool.incoming_dir / f"{uuid.uuid4().hex}.part"
    path.write_bytes(dicom_file(os.urandom(BYTES)))
    return path


def _keep(spool: Spool | ObjectSpool) -> tuple[str, float]:
    """Where an image is kept, and the seconds it took; its hash was taken while it came."""
    incoming, sha256 = _received(spool), uuid.uuid4().hex * 2
    began = time.perf_counter()
    kept = spool.keep_image(
        incoming,
        study_instance_uid="2.25.1",
        sop_instance_uid=f"2.25.{uuid.uuid4().int}",
        sha256=sha256,
    )
    return kept.path, time.perf_counter() - began


def _kept_in_folder(folder: Path) -> float:
    spool = Spool(folder / "kept", reserve_bytes=0)
    path, seconds = _keep(spool)
    spool.remove(path)
    return seconds


def _machine(folder: Path, peer: Swift) -> ObjectSpool:
    return ObjectSpool(
        Objects(peer.access("bench")),
        folder / uuid.uuid4().hex,
        reserve_bytes=0,
        cache_bytes=1 << 30,
    )


def _kept(folder: Path, peer: Swift) -> float:
    spool = _machine(folder, peer)
    spool.size_of("images/00/none.dcm")
    path, seconds = _keep(spool)
    spool.remove(path)
    return seconds


def _read(folder: Path, peer: Swift, *, fresh: bool) -> float:
    incoming = _machine(folder, peer)
    kept = incoming.keep_image(
        _received(incoming), study_instance_uid="2.25.1", sop_instance_uid="2.25.2"
    )
    reader = _machine(folder, peer)
    reader.size_of(kept.path)
    if not fresh:
        reader.path_of(kept.path)
    began = time.perf_counter()
    reader.path_of(kept.path).read_bytes()
    seconds = time.perf_counter() - began
    reader.remove(kept.path)
    return seconds


if __name__ == "__main__":
    run_alone(measure, __doc__)
