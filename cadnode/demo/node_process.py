"""The real node as the demo runs it: `cadnode serve` with settings of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cadnode.demo.running import require_alive, running, wait_for_echo
from cadnode.dimse.scu import Destination

NODE_AE_TITLE = "CADNODE"
MODALITY_AE_TITLE = "MODALITY"

# The node stops its processes within 12 s.
_STOP_SECONDS = 20.0

_SETTINGS = """\
[node]
ae_title = "{ae_title}"
host = "127.0.0.1"
port = {port}
data_dir = "data"

[[peers]]
name = "modality"
ae_title = "{modality}"

[[destinations]]
name = "{archive.name}"
ae_title = "{archive.ae_title}"
host = "{archive.host}"
port = {archive.port}

[retention]
reserve_mb = 64

[web]
enabled = {web}
port = {web_port}
"""


def write_settings(
    folder: Path, *, port: int, archive: Destination, web_port: int | None = None
) -> Path:
    """The `cadnode.toml` of the demo, in `folder`, which also gets the node's data.

    With a `web_port` the node has its console there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cadnode.toml"
    path.write_text(
        _SETTINGS.format(
            ae_title=NODE_AE_TITLE,
            port=port,
            modality=MODALITY_AE_TITLE,
            archive=archive,
            web="false" if web_port is None else "true",
            web_port=web_port or 0,
        )
    )
    return path


@dataclass(frozen=True, slots=True)
class RunningNode:
    """The node, answering C-ECHO."""

    destination: Destination
    process: subprocess.Popen[bytes]
    log: Path

    def require_alive(self) -> None:
        """Raise DemoFailed when it has ended."""
        require_alive("the node", self.process, self.log)


@contextmanager
def running_node(settings: Path, log: Path, *, port: int) -> Iterator[RunningNode]:
    """The node, once it answers C-ECHO; stopped at the end.

    Raises DemoFailed with the end of its log when it does not start.
    """
    node = Destination("node", NODE_AE_TITLE, "127.0.0.1", port)
    command = [sys.executable, "-m", "cadnode", "serve", "--config", str(settings)]
    # Settings from the environment win over the file: the caller's are not for the demo.
    environ = {key: value for key, value in os.environ.items() if not key.startswith("CADNODE_")}
    with running(command, log, environ=environ, stop_seconds=_STOP_SECONDS) as process:
        wait_for_echo("the node", node, MODALITY_AE_TITLE, process, log)
        yield RunningNode(node, process, log)
