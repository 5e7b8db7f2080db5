"""Fills the console with this node: each module implements the ports of one feature."""

from __future__ import annotations

from cadnode import __version__
from cadnode.app import App, utc_now
from cadnode.console.access import open_access
from cadnode.console.exams import NodeExams
from cadnode.console.health import NodeHealth
from cadnode.console.model import NodeModel
from cadnode.console.peers import NodePeers
from cadnode.console.today import NodeToday
from cadnode.console.viewer import NodeViewer
from cadnode.store import Store
from cadnode.web.console import Console


def open_console(app: App, store: Store) -> Console:
    """The console over an open job database; close the store when it is done."""
    return Console(
        station_name=app.settings.node.station_name,
        version=__version__,
        clock=utc_now,
        access=open_access(app, store),
        today=NodeToday(app, store),
        peers=NodePeers(app, store),
        exams=NodeExams(app, store),
        health=NodeHealth(app, store),
        viewer=NodeViewer(app, store),
        model=NodeModel(app, store),
    )
