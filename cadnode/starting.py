"""The job database at the start of a process: a server that does not answer yet is waited for."""

from __future__ import annotations

import threading
from time import monotonic

import structlog

from cadnode.app import App
from cadnode.core.errors import DatabaseUnavailable
from cadnode.storage.database import wait_for_server
from cadnode.store import Store

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 2.0
"""Between two tries."""

SAME_TROUBLE_SECONDS = 60.0
"""How often the log repeats that the database does not answer."""


def open_store(app: App, stopping: threading.Event) -> Store:
    """The job database, made or upgraded where needed; once its server answers.

    Ends the process when it is to stop meanwhile. Raises DatabaseUnavailable for a database that
    answers and does not serve.
    """
    said, again_from = "", 0.0

    def say(error: DatabaseUnavailable) -> None:
        nonlocal said, again_from
        if error.detail != said or monotonic() >= again_from:
            log.error("waiting for the database server", code=error.code, detail=error.detail)
            said, again_from = error.detail, monotonic() + SAME_TROUBLE_SECONDS

    try:
        wait_for_server(
            app.settings.database_url, pause=lambda: not stopping.wait(PAUSE_SECONDS), say=say
        )
    except DatabaseUnavailable as error:
        if stopping.is_set():
            raise SystemExit(0) from error
        raise
    return app.open_store(create=True)
