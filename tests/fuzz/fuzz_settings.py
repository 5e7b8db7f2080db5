"""The settings file."""

from __future__ import annotations

import contextlib
from pathlib import Path

from cadnode.config import load_settings
from cadnode.core.errors import ConfigError
from tests.fuzz.scratch import Scratch

LONGEST = 8192

_scratch = Scratch()


def seeds() -> list[bytes]:
    shipped = (Path(__file__).parents[2] / "config" / "cadnode.toml").read_text()
    return [
        shipped.encode(),
        shipped.replace("# [[", "[[").replace("\n# ", "\n").encode(),
        b"[node]\nport = 11113\n",
        b'[[destinations]]\nname = "a"\nae_title = "A"\nhost = "b"\nport = 104\n',
        b'peers = [{name = "a", ae_title = "A"}]\n[exam]\nexpected_views = ["RCC"]\n',
    ]


def one_input(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        load_settings(_scratch.holding(data), {})
