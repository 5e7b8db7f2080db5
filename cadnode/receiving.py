"""How a received object is kept for good, whether it was sent or fetched."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from cadnode.core.errors import InstanceConflict
from cadnode.core.identifiers import NO_IDENTIFIERS
from cadnode.core.jobs import Acceptance, NewImage

if TYPE_CHECKING:
    from cadnode.core.ports import ExamStore
    from cadnode.dimse.storing import IncomingObject
    from cadnode.dimse.watching import AssociationWatch
    from cadnode.storage.spool import Spool

log = structlog.get_logger(__name__)


def keep(
    incoming: IncomingObject,
    spool: Spool,
    store: ExamStore,
    watch: AssociationWatch | None = None,
    *,
    identify: bool,
    clock: Callable[[], datetime],
    announce: Callable[[], None] = lambda: None,
) -> Acceptance:
    """Keep one received object for good: file synced and renamed, then its row committed.

    `identify`: with what a person looks for the exam by. `announce` is called when there may be
    something new to analyze.
    """
    with spool.receiving(incoming.study_instance_uid):
        kept = spool.keep_image(
            incoming.path,
            study_instance_uid=incoming.study_instance_uid,
            sop_instance_uid=incoming.sop_instance_uid,
        )
        acceptance = store.accept(
            NewImage(
                sop_instance_uid=incoming.sop_instance_uid,
                sop_class_uid=incoming.sop_class_uid,
                study_instance_uid=incoming.study_instance_uid,
                series_instance_uid=incoming.series_instance_uid,
                transfer_syntax_uid=incoming.transfer_syntax_uid,
                path=kept.path,
                size=kept.size,
                sha256=kept.sha256,
                calling_ae=incoming.calling_ae,
                identifiers=incoming.identifiers if identify else NO_IDENTIFIERS,
            ),
            now=clock(),
        )
        if acceptance is Acceptance.CONFLICT:
            spool.remove(kept.path)
    announce()
    log.info(
        "received",
        sop_instance_uid=incoming.sop_instance_uid,
        study_instance_uid=incoming.study_instance_uid,
        calling_ae=incoming.calling_ae,
        outcome=acceptance,
    )
    if acceptance is Acceptance.CHANGED:
        log.warning(
            "other bytes took the place of an image; a new revision reads them",
            code=InstanceConflict.code,
            sop_instance_uid=incoming.sop_instance_uid,
            calling_ae=incoming.calling_ae,
        )
    if watch is not None:
        watch.received(incoming, spool.path_of(kept.path), acceptance)
    return acceptance
