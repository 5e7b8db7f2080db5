"""The end of the retention time: the files go, the rows stay."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

from cadnode.core.ports import ExamStore, ResultFiles
from cadnode.storage.reading import ExamRecords
from cadnode.storage.spool import Spool

UNKNOWN_AFTER = timedelta(days=1)
"""A file without a row is left alone for so long: its row may be on its way."""


def remove_unknown(records: ExamRecords, spool: Spool, *, now: datetime) -> int:
    """Delete kept files that no exam knows; returns how many.

    They come from a crash between the file and its row, so none of them was acknowledged.
    """
    kept, removed = spool.kept_before(now - UNKNOWN_AFTER), 0
    while paths := list(islice(kept, 500)):
        for path in records.unknown_paths(paths):
            spool.remove(path)
            removed += 1
    return removed


def purge(
    store: ExamStore, files: ResultFiles, *, keep: timedelta, now: datetime, limit: int = 100
) -> int:
    """Delete the files of exams finished longer than `keep` ago; returns how many exams.

    At most `limit` exams. Files go first and the mark follows: after a crash in between, the same
    exam comes again and the files already gone do no harm.
    """
    purged = 0
    while purged < limit:
        # A study's older revisions show up once its newer ones are purged.
        exams = store.purgeable(finished_before=now - keep, limit=limit - purged)
        if not exams:
            break
        for exam_id, paths in exams:
            for path in paths:
                files.remove(path)
            store.mark_purged(exam_id, now=now)
        purged += len(exams)
    return purged
