"""C-GET and C-MOVE: having an archive hand over images (PS3.4 annex C.4.2 and C.4.3, Study Root).

C-GET brings them on our own association; C-MOVE has the archive send them to our receiver.
Whether an image is kept is a question for the job database: what is told here is why one may not
have come.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Sequence

from pynetdicom.presentation import PresentationContext, build_context

from cadnode.dimse.contexts import (
    RECEIVED_SOP_CLASSES,
    RECEIVED_TRANSFER_SYNTAXES,
    UNCOMPRESSED_TRANSFER_SYNTAXES,
    proposed_contexts,
)
from cadnode.dimse.destination import Destination, Line, Timeouts, within
from cadnode.dimse.sub_operations import (
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    GetRun,
    Keeping,
    MoveRun,
    OwnReceiver,
    Progress,
    Run,
    WantedSeries,
)

SILENCE_SECONDS = 120.0
"""For the next byte of a C-GET; an archive may have to fetch an exam from afar."""

# An archive may send every image in the first syntax that both take for its class, and fail where
# it cannot convert (DCMTK's dcmqrscp): what is missing then is asked for in one syntax at a time.
_COMPRESSED = tuple(
    syntax for syntax in RECEIVED_TRANSFER_SYNTAXES if syntax not in UNCOMPRESSED_TRANSFER_SYNTAXES
)
_SYNTAXES = (*UNCOMPRESSED_TRANSFER_SYNTAXES, *_COMPRESSED)


def get_contexts(
    sop_class_uids: Iterable[str] = (), syntaxes: Iterable[str] = _SYNTAXES
) -> list[PresentationContext]:
    """What is proposed for a C-GET: the service, and each image SOP class (all that the node
    receives where none is named) in each of the syntaxes."""
    return [
        build_context(STUDY_ROOT_GET, list(UNCOMPRESSED_TRANSFER_SYNTAXES)),
        *proposed_contexts(
            (sop_class, syntax)
            for sop_class in tuple(sop_class_uids) or RECEIVED_SOP_CLASSES
            for syntax in tuple(syntaxes)
        ),
    ]


def move_contexts() -> list[PresentationContext]:
    """What is proposed for a C-MOVE."""
    return [build_context(STUDY_ROOT_MOVE, list(UNCOMPRESSED_TRANSFER_SYNTAXES))]


class Retriever:
    """Has one archive hand over images, one study at a time.

    Never raises for trouble at the other end and comes back within `deadline_seconds` (for one
    study), whatever the archive does; soon after `stopping` is set.
    """

    def __init__(
        self,
        source: Destination,
        receiver: OwnReceiver,
        *,
        deadline_seconds: float,
        stopping: threading.Event,
    ) -> None:
        self._source = source
        self._receiver = receiver
        self._deadline = deadline_seconds
        self._stopping = stopping

    def get(
        self,
        study_instance_uid: str,
        series: Sequence[WantedSeries],
        sop_class_uids: Sequence[str],
        keeping: Keeping,
        progress: Progress,
    ) -> dict[str, str]:
        """Have the images sent on this association; by SOP Instance UID, why one may be missing.

        `sop_class_uids` are those of the images; empty for all that the node receives.
        """
        ends = time.monotonic() + self._deadline
        left, reasons, done = tuple(series), dict[str, str](), 0
        syntaxes, others = _SYNTAXES, list(_COMPRESSED)
        while True:
            run = GetRun(self._source, study_instance_uid, _after(progress, done), keeping)
            contexts = get_contexts(sop_class_uids, syntaxes)
            seconds = max(0.1, ends - time.monotonic())
            now = self._within(run, contexts, left, min(SILENCE_SECONDS, seconds), seconds)
            asked = {uid for one in left for uid in one.sop_instance_uids}
            reasons = {uid: why for uid, why in reasons.items() if uid not in asked} | now
            done += run.done
            left = _narrowed(left, now.keys() - run.refused)
            others = [syntax for syntax in others if syntax in run.accepted]
            if not (left and others and run.another_syntax_may_do):
                return reasons
            syntaxes = (others.pop(0),)

    def move(
        self, study_instance_uid: str, series: Sequence[WantedSeries], progress: Progress
    ) -> dict[str, str]:
        """Have the images sent to our receiver; by SOP Instance UID, why one may be missing."""
        run = MoveRun(self._source, study_instance_uid, progress, self._receiver)
        # Pending answers are optional: all it says may be that it is done.
        return self._within(run, move_contexts(), series, self._deadline, self._deadline)

    def _within(
        self,
        run: Run,
        contexts: Sequence[PresentationContext],
        series: Sequence[WantedSeries],
        silence: float,
        seconds: float,
    ) -> dict[str, str]:
        line = Line(
            self._source, self._receiver.ae_title, Timeouts(answer=silence, delivery=seconds)
        )
        done = within(seconds, lambda: run.all(line, contexts, series, self._stopping), line.cut)
        if done is None:
            late = f"not finished within {self._deadline:g} s"
            return {uid: late for one in series for uid in one.sop_instance_uids} | dict(
                run.reasons
            )
        return run.reasons


def _after(progress: Progress, done: int) -> Progress:
    return lambda now_done, now_failed: progress(done + now_done, now_failed)


def _narrowed(series: Sequence[WantedSeries], missing: Collection[str]) -> tuple[WantedSeries, ...]:
    left = (
        WantedSeries(
            one.series_instance_uid,
            tuple(uid for uid in one.sop_instance_uids if uid in missing),
            one.whole and all(uid in missing for uid in one.sop_instance_uids),
        )
        for one in series
    )
    return tuple(one for one in left if one.sop_instance_uids)
