"""Looks at a site for the oracle: its database, its files, its archives, its processes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from cadnode.core.errors import UnreadableObject
from cadnode.storage.spool import data_set_sha256
from tests.faults import processes
from tests.faults.archive import held_object
from tests.faults.ledger import Ledger
from tests.faults.oracle import ExamRow, ImageRow, ResultRow, Seen
from tests.faults.site import Site

PARTIAL = ("incoming/*.part",)
"""Files that only exist while an image is on its way in."""


def exam_rows(site: Site) -> list[ExamRow]:
    """Every exam."""
    return [
        ExamRow(
            row["id"],
            row["study_instance_uid"],
            row["revision"],
            row["status"],
            row["error_code"],
        )
        for row in site.rows("select * from jobs order by id")
    ]


def image_rows(site: Site, *, with_files: bool) -> list[ImageRow]:
    """Every image; `with_files` reads and hashes each file."""
    return [
        ImageRow(
            row["sop_instance_uid"],
            row["job_id"],
            row["state"],
            row["reason"],
            row["sha256"],
            _hash_of(site.data / row["path"]) if with_files else None,
        )
        for row in site.rows("select * from images")
    ]


def pending(site: Site) -> int:
    """Deliveries and proofs not yet ended of exams that go on."""
    rows = site.rows(
        "select count(*) as n from deliveries join jobs on jobs.id = job_id"
        " where jobs.status not in ('failed', 'cancelled') and"
        " (deliveries.status = 'pending' or proof in ('wanted', 'asked', 'refused'))"
    )
    return int(rows[0]["n"]) if rows else 1


def look(site: Site, ledger: Ledger, *, fsck: bool = True) -> Seen:
    """Everything there is to see now."""
    with site.using_disk():
        return Seen(
            acknowledged=list(ledger.images()),
            exams=exam_rows(site),
            images=image_rows(site, with_files=True),
            results=_result_rows(site),
            archives={name: dict(archive.held) for name, archive in site.archives.items()},
            partial_files=[
                str(path.relative_to(site.data))
                for pattern in PARTIAL
                for path in site.data.glob(pattern)
            ],
            orphans=[
                process.command for process in processes.orphans(site.processes, site.serve_pid)
            ],
            fsck=fsck_findings(site) if fsck else (),
        )


def fsck_findings(site: Site) -> list[str]:
    """What `cadnode fsck` finds wrong."""
    done = site.run("fsck", "--json")
    if done.returncode == 0:
        return []
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return [f"status {done.returncode}: {done.stderr.strip()[-300:]}"]
    return [json.dumps(found)[:600]]


def _result_rows(site: Site) -> list[ResultRow]:
    deliveries = site.rows("select * from deliveries")
    return [
        ResultRow(
            row["sop_instance_uid"],
            row["job_id"],
            row["sop_class_uid"],
            _predecessors(site.data / row["path"]),
            _is_whole(site.data / row["path"], row["sha256"]),
            delivered_to=frozenset(
                d["destination"]
                for d in deliveries
                if d["result_id"] == row["id"]
                and d["status"] == "delivered"
                and d["proof"] in (None, "committed", "verified")
            ),
            unproved_at=frozenset(
                d["destination"]
                for d in deliveries
                if d["result_id"] == row["id"] and d["proof"] in ("wanted", "asked", "refused")
            ),
        )
        for row in site.rows("select * from results")
    ]


def _hash_of(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return data_set_sha256(stream)
    except OSError:
        return None
    except UnreadableObject:
        return "not a DICOM file"


def _is_whole(path: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False


def _predecessors(path: Path) -> frozenset[str]:
    try:
        return held_object(dcmread(path), "").predecessors
    except (OSError, InvalidDicomError, AttributeError):
        return frozenset()


def unplanned(lines: Iterable[str]) -> list[str]:
    """Log lines that tell of an error nobody planned for."""
    return [line.strip()[:400] for line in lines if "unexpected" in line or "Traceback" in line]
