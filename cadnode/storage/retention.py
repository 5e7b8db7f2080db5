"""The end of the retention time: the files go, the rows stay."""

from __future__ import annotations

from datetime import datetime, timedelta

from cadnode.core.ports import ExamStore, ResultFiles


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
