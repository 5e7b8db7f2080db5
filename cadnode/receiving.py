"""How a received object is kept for good, whether it was sent or fetched."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from cadnode.core.errors import CadnodeError, InstanceConflict
from cadnode.core.identifiers import NO_IDENTIFIERS
from cadnode.core.jobs import Acceptance, NewImage

if TYPE_CHECKING:
    from cadnode.core.file_ports import KeptFile, NodeFiles
    from cadnode.core.ports import ExamStore
    from cadnode.dimse.storing import IncomingObject
    from cadnode.dimse.watching import AssociationWatch

log = structlog.get_logger(__name__)


def keep(
    incoming: IncomingObject,
    spool: NodeFiles,
    store: ExamStore,
    watch: AssociationWatch | None = None,
    *,
    identify: bool,
    clock: Callable[[], datetime],
    announce: Callable[[], None] = lambda: None,
) -> Acceptance:
    """Keep one received object for good: its file made to last, then its row committed.

    `identify`: with what a person looks for the exam by. `announce` is called when there may be
    something new to analyze.
    """
    with spool.receiving(incoming.study_instance_uid):
        kept = spool.keep_image(
            incoming.path,
            study_instance_uid=incoming.study_instance_uid,
            sop_instance_uid=incoming.sop_instance_uid,
            sha256=incoming.sha256,
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
        path = _settle(kept, acceptance, incoming.sop_instance_uid, spool, store)
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
        watch.received(incoming, path, acceptance)
    return acceptance


def _settle(
    kept: KeptFile,
    acceptance: Acceptance,
    sop_instance_uid: str,
    spool: NodeFiles,
    store: ExamStore,
) -> Path:
    """Clear away what no row names; where the audit trail may read whose image it is.

    The answer is certain by now. What cannot be cleared away is, in time, by the housekeeping.
    """
    relative = kept.path
    try:
        if acceptance is Acceptance.CONFLICT:
            spool.remove(kept.path)
        elif acceptance is Acceptance.SAME and kept.is_copy:
            before = store.kept_images([sop_instance_uid]).get(sop_instance_uid)
            if before is None:
                spool.remove(kept.path)
            else:
                spool.mend(before.path, before.size, kept.path)
                relative = before.path
        return spool.path_of(relative)
    except CadnodeError as error:
        log.warning("a file is left to the housekeeping", detail=str(error))
        return Path(relative)
