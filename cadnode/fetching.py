"""Fetching exams from an archive into the path that every received image takes.

Find the studies, look which of their images the node lacks, have those handed over, and believe
only the job database about what is kept.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from cadnode.app import App, utc_now
from cadnode.config.tables import SourceTable
from cadnode.core.audit import Party, Queried
from cadnode.core.file_ports import NodeFiles
from cadnode.dimse.contexts import RECEIVED_SOP_CLASSES
from cadnode.dimse.destination import Timeouts
from cadnode.dimse.find import (
    IDENTIFIER_SYNTAX,
    STUDY_ROOT_FIND,
    FoundInstance,
    FoundStudy,
    StudyQuery,
    encoded,
    find_instances,
    find_studies,
)
from cadnode.dimse.incoming import PARTIAL_SUFFIX
from cadnode.dimse.metering import AssociationMeter
from cadnode.dimse.retrieve import Retriever
from cadnode.dimse.sub_operations import Keeping, OwnReceiver, Progress, WantedSeries
from cadnode.dimse.watching import AssociationWatch
from cadnode.receiving import keep
from cadnode.storage.fetching import FetchRecords
from cadnode.store import Store

log = structlog.get_logger(__name__)

FOLDER = "fetch"
"""Below the spool's incoming folder, which a receiver sweeps when it starts."""

LEFT_BEHIND = timedelta(days=1)

LONGEST_QUERY_SECONDS = 120.0

_ONE_RETRIEVE = 0
"""The association of all images of one retrieve: one audit message, however many there were."""


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What a source holds of one study, and what of it is to be fetched."""

    study: FoundStudy
    images: int
    """Of the classes that the node receives."""
    series: tuple[WantedSeries, ...]
    """With the images that are to be fetched."""
    sop_class_uids: tuple[str, ...]
    """Of those; empty when the source does not tell."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """The SOP Instance UIDs that are to be fetched."""
        return tuple(uid for series in self.series for uid in series.sop_instance_uids)


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """What became of a plan."""

    plan: StudyPlan
    fetched: int
    failed: Mapping[str, str]
    """By SOP Instance UID: why the image is not kept."""


class Fetcher:
    """Fetches from one source; for one thread. `stopping` ends what is under way."""

    def __init__(
        self,
        app: App,
        source: SourceTable,
        store: Store,
        spool: NodeFiles,
        stopping: threading.Event,
    ) -> None:
        self._app = app
        self._source = source
        self._store = store
        self._spool = spool
        self._records = FetchRecords(store.database)
        self._archive = app.source(source)
        node = app.settings.node
        self._own_ae_title = node.ae_title
        self._retriever = Retriever(
            self._archive,
            OwnReceiver(node.ae_title, app.settings.tls.port if source.tls else node.port),
            deadline_seconds=source.deadline_seconds,
            stopping=stopping,
        )
        self._timeouts = Timeouts(delivery=min(source.deadline_seconds, LONGEST_QUERY_SECONDS))

    def find(self, query: StudyQuery, limit: int) -> Sequence[FoundStudy]:
        """The studies that match, the newest first.

        Raises Unreachable, Refused, and TooManyMatches beyond `limit`.
        """
        self._app.audit.record(
            Queried(
                self._app.party,
                Party(self._source.ae_title, self._source.host),
                STUDY_ROOT_FIND,
                encoded(query),
                IDENTIFIER_SYNTAX,
            )
        )
        return find_studies(self._archive, self._own_ae_title, query, limit, self._timeouts)

    def plan(
        self, study: FoundStudy, modality: str, *, again: bool = False, purged: bool = False
    ) -> StudyPlan:
        """Which images of the study to fetch: those of series in `modality` ("" for any) and of
        classes that the node receives, but for those it holds; with `again` these too, with
        `purged` not even those whose files it no longer has. Raises Unreachable and Refused."""
        found = find_instances(
            self._archive,
            self._own_ae_title,
            study.study_instance_uid,
            self._timeouts,
            modality=modality,
        )
        images = [one for one in found if _received(one)]
        uids = [one.sop_instance_uid for one in images]
        known = set() if again else self._records.known(uids, purged=purged)
        wanted = [one for one in images if one.sop_instance_uid not in known]
        classes = {one.sop_class_uid for one in wanted}
        return StudyPlan(
            study=study,
            images=len(images),
            series=_by_series(found, wanted),
            sop_class_uids=()
            if None in classes
            else tuple(sorted(uid for uid in classes if uid is not None)),
        )

    def fetch(self, plan: StudyPlan, progress: Progress) -> StudyOutcome:
        """Fetch what the plan wants. Never raises for trouble at the source."""
        wanted = plan.wanted
        if not wanted:
            return StudyOutcome(plan, 0, {})
        uid = plan.study.study_instance_uid
        before = self._records.known(wanted, purged=False)
        exact = self._source.retrieve == "get"
        if exact:
            watch = AssociationWatch(self._app.audit, self._app.party)
            watch.begin(_ONE_RETRIEVE)
            try:
                reasons = self._retriever.get(
                    uid, plan.series, plan.sop_class_uids, self._keeping(watch), progress
                )
            finally:
                watch.end(_ONE_RETRIEVE)
        else:
            reasons = self._retriever.move(uid, plan.series, progress)
        kept = self._records.known(wanted, purged=False)
        missing = f"{self._source.name} says that all was sent, but it did not come"
        failed = {
            image: reasons.get(image, missing)
            for image in wanted
            # By C-MOVE a reason may stand for a whole request; whether an image that was here
            # before came once more, only the source knows.
            if image not in kept or (image in reasons and (exact or image in before))
        }
        if kept - before:
            self._records.note(uid, self._source.name, len(kept - before), now=utc_now())
        return StudyOutcome(plan, len(wanted) - len(failed), failed)

    def _keeping(self, watch: AssociationWatch) -> Keeping:
        folder = self._spool.incoming_dir / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        # What a killed process left; another one may be fetching just now.
        for path in folder.glob(f"*{PARTIAL_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < (utc_now() - LEFT_BEHIND).timestamp():
                    path.unlink()
        meter = AssociationMeter(self._app.metrics, self._app.sender_label)
        return Keeping(
            folder,
            meter.counted(
                lambda incoming: keep(
                    replace(incoming, association=_ONE_RETRIEVE),
                    self._spool,
                    self._store.exams,
                    watch,
                    identify=self._app.settings.node.keep_identifiers,
                    announce=self._app.announce,
                    clock=utc_now,
                )
            ),
            self._spool.has_room,
        )


def _received(instance: FoundInstance) -> bool:
    # Our own reports lie in the archive too: they are of other classes.
    return instance.sop_class_uid is None or instance.sop_class_uid in RECEIVED_SOP_CLASSES


def _by_series(
    found: Sequence[FoundInstance], wanted: Sequence[FoundInstance]
) -> tuple[WantedSeries, ...]:
    held: dict[str, int] = {}
    for one in found:
        held[one.series_instance_uid] = held.get(one.series_instance_uid, 0) + 1
    series: dict[str, list[str]] = {}
    for one in wanted:
        series.setdefault(one.series_instance_uid, []).append(one.sop_instance_uid)
    return tuple(
        WantedSeries(uid, tuple(images), whole=len(images) == held[uid])
        for uid, images in series.items()
    )
