"""The end of the retention time: the files go, the rows stay.

Between an image that is just being kept and the deletion of its file stands a lock of the spool: a
receiver holds it from the file to its row, and nothing is deleted of that study meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from cadnode.core.errors import IllegalMove
from cadnode.core.file_ports import NodeFiles
from cadnode.core.ports import ExamStore
from cadnode.core.retention import (
    DiskState,
    Purgeable,
    RetentionRules,
    bytes_to_free,
    choose,
    is_above_high_water,
)
from cadnode.storage.reading import ExamRecords

UNKNOWN_AFTER = timedelta(days=1)
"""A file without a row is left alone for so long: its row may be on its way."""


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What one turn of the retention did."""

    exams: int
    """How many were purged."""
    missing: int
    """Bytes that should have gone too, but nothing more may be purged; 0 when all is well."""


def remove_unknown(records: ExamRecords, spool: NodeFiles, *, now: datetime) -> int:
    """Delete kept files that no exam knows; returns how many.

    They come from a crash between the file and its row, so none of them was acknowledged, or from
    one between the mark of a purge and its deletions.
    """
    kept, removed = spool.kept_before(now - UNKNOWN_AFTER), 0
    while paths := list(islice(kept, 500)):
        for path in records.unknown_paths(paths):
            with spool.clearing_path(path) as is_ours:
                # Its image may have come again since.
                if is_ours and records.unknown_paths([path]):
                    spool.remove(path)
                    removed += 1
    return removed


def remove_abandoned(spool: NodeFiles, *, now: datetime) -> int:
    """Delete what a receiver had begun a day ago and nobody went on with; returns how many files.

    A receiver clears up its own folder when it starts; that of a machine that is gone has nobody.
    """
    removed = 0
    for file in spool.walk(("incoming",)):
        if file.is_partial and file.modified_at < now - UNKNOWN_AFTER:
            spool.remove(file.path)
            removed += 1
    return removed


def purge(
    store: ExamStore,
    spool: NodeFiles,
    *,
    rules: RetentionRules,
    now: datetime,
    limit: int = 1000,
    deleted: Callable[[str, int], None] = lambda _study, _files: None,
) -> PurgeReport:
    """Delete the files of exams that may go and should: too old, or the room is needed.

    At most `limit` exams; `deleted` is told the Study Instance UID of each and how many files went.
    The mark goes first and the files follow: what a crash in between leaves
    is a file no exam knows, see `remove_unknown`.
    """
    purged, passed_over = 0, set[int]()
    draining = is_above_high_water(_disk(spool, rules), rules)
    while purged < limit:
        # A study's older revisions show up once its newer ones are purged.
        found = store.purgeable(finished_before=now, limit=limit + len(passed_over))
        wanted = bytes_to_free(_disk(spool, rules), rules, draining=draining)
        candidates = [exam for exam in found if exam.exam_id not in passed_over]
        chosen = choose(candidates, wanted=wanted, rules=rules, now=now)[: limit - purged]
        if not chosen:
            return PurgeReport(purged, missing=wanted)
        for exam in chosen:
            files = _purge_one(store, spool, exam, now)
            if files is not None:
                purged += 1
                # Another worker may have purged it since it was named, and has told of it.
                if files:
                    deleted(exam.study_instance_uid, files)
            else:
                passed_over.add(exam.exam_id)
    return PurgeReport(purged, missing=0)


def _purge_one(store: ExamStore, spool: NodeFiles, exam: Purgeable, now: datetime) -> int | None:
    """How many files went; None when the exam may not go after all."""
    with spool.clearing(exam.study_instance_uid) as is_ours:
        if not is_ours:
            return None
        try:
            paths = store.mark_purged(exam.exam_id, now=now)
        except IllegalMove:
            # An image came since the exam was named.
            return None
        for path in paths:
            spool.remove(path)
    return len(paths)


def _disk(spool: NodeFiles, rules: RetentionRules) -> DiskState:
    disk = spool.disk()
    return DiskState(disk.total, disk.free, spool.size() if rules.max_bytes else 0)
