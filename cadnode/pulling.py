"""Scheduled pulls: what a modality cannot send here is fetched from the archive, over and over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from cadnode.app import App
from cadnode.config.tables import PullTable
from cadnode.core.errors import CadnodeError, LeaseLost, Refused
from cadnode.core.file_ports import NodeFiles
from cadnode.dimse.find import FoundStudy, StudyQuery
from cadnode.fetching import Fetcher
from cadnode.storage.fetching import FetchRecords
from cadnode.store import Store

log = structlog.get_logger(__name__)

MOST_STUDIES = 10_000
"""In one turn."""

LOOK = timedelta(minutes=1)
"""At most so long after a turn is due it is begun."""

QUERIES = timedelta(minutes=10)
"""The queries before an exam is fetched take no longer."""


class PullLane:
    """One `[[pull]]`: claims its turns, so that of several workers only one pulls.

    A `Lane` of the worker. An archive that is down is logged and asked again at the next turn.
    """

    def __init__(
        self,
        app: App,
        pull: PullTable,
        store: Store,
        spool: NodeFiles,
        *,
        owner: str,
        clock: Callable[[], datetime],
        stopping: threading.Event,
    ) -> None:
        self.name = f"pull from {pull.source}"
        source = app.settings.source(pull.source)
        self._pull = pull
        self._key = f"{pull.source} {pull.modality}"
        self._every = timedelta(minutes=pull.every_minutes)
        self._lease = timedelta(seconds=source.deadline_seconds) + QUERIES
        self._fetcher = Fetcher(app, source, store, spool, stopping)
        self._records = FetchRecords(store.database)
        self._owner = owner
        self._clock = clock
        self._stopping = stopping
        self._looked_at: datetime | None = None

    def run_once(self) -> bool:
        """Pull, if it is due and nobody else does."""
        now = self._clock()
        if self._looked_at is not None and abs(now - self._looked_at) < min(LOOK, self._every):
            return False
        self._looked_at = now
        if not self._records.claim_pull(
            self._key, self._owner, now=now, lease=self._lease, every=self._every
        ):
            return False
        try:
            self._turn(now)
        finally:
            self._records.release_pull(self._key, self._owner)
        return True

    def hand_back(self) -> None:
        """Give this turn up: the process ends now."""
        self._records.release_pull(self._key, self._owner)

    def _turn(self, now: datetime) -> None:
        today = now.astimezone().date()
        query = StudyQuery(
            first_date=today - timedelta(days=self._pull.days),
            last_date=today,
            modality=self._pull.modality,
        )
        fetched = failed = 0
        try:
            studies = self._fetcher.find(query, MOST_STUDIES)
            for study in studies:
                if self._stopping.is_set():
                    return
                self._records.renew_pull(
                    self._key, self._owner, now=self._clock(), lease=self._lease
                )
                images = self._one(study)
                fetched, failed = fetched + images[0], failed + images[1]
        except LeaseLost:
            log.warning("another process pulls now", source=self._pull.source)
            return
        except CadnodeError as error:
            log.error("the pull broke off", source=self._pull.source, detail=str(error))
            self._note(fetched, failed, str(error))
            return
        self._note(fetched, failed, "")
        log.info(
            "pulled",
            source=self._pull.source,
            studies=len(studies),
            images=fetched,
            failed=failed,
        )

    def _note(self, fetched: int, failed: int, error: str) -> None:
        self._records.note_pull(
            self._key, fetched=fetched, failed=failed, error=error, now=self._clock()
        )

    def _one(self, study: FoundStudy) -> tuple[int, int]:
        """How many images of one study were fetched, and how many failed."""
        try:
            # What the node has had and purged is not asked for again.
            plan = self._fetcher.plan(study, self._pull.modality, purged=True)
        except Refused as error:
            uid = study.study_instance_uid
            log.warning("a study cannot be pulled", study_instance_uid=uid, detail=str(error))
            return 0, 0
        outcome = self._fetcher.fetch(plan, _silent)
        for reason in dict.fromkeys(outcome.failed.values()):
            log.warning(
                "images were not pulled",
                source=self._pull.source,
                study_instance_uid=study.study_instance_uid,
                code="E204",
                detail=reason,
            )
        return outcome.fetched, len(outcome.failed)


def _silent(_done: int, _failed: int) -> None:
    pass
