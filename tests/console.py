"""The real console over a real job database, asked without a socket in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi.testclient import TestClient

from cadnode.app import App
from cadnode.config import load_with_origins
from cadnode.console import open_console
from cadnode.core.file_ports import NodeFiles
from cadnode.store import Store
from cadnode.web.access import csrf
from cadnode.web.server import create_app

VISIT = "a visit"


@dataclass(frozen=True)
class ConsoleUnderTest:
    """A node that is not running, and a browser on the same machine."""

    app: App
    store: Store
    spool: NodeFiles
    browser: TestClient


@contextmanager
def console_under_test(folder: Path, extra: str = "") -> Iterator[ConsoleUnderTest]:
    """The console of a node with its data in `folder`; `extra` goes into its settings file."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "cadnode.toml"
    config.write_text(f'[node]\ndata_dir = "data"\n[retention]\nreserve_mb = 1\n{extra}')
    app = App(*load_with_origins(config, {}))
    store = app.open_store(create=True)
    try:
        console = create_app(open_console(app, store))
        with TestClient(
            console, base_url="http://127.0.0.1", client=("127.0.0.1", 50000)
        ) as browser:
            # What each page would tell it.
            browser.cookies.set("cadnode_visit", VISIT, domain="127.0.0.1", path="/")
            browser.headers[csrf.HEADER] = csrf.token_from(VISIT)
            yield ConsoleUnderTest(app, store, app.spool(), browser)
    finally:
        store.close()
