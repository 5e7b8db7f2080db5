"""Which processes `cadnode serve` runs, and how each is started. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cadnode.config import Settings
from cadnode.core.processes import RECEIVE, WEB, WORK
from cadnode.supervisor import Program


def programs(settings: Settings, config: Path | None) -> Sequence[Program]:
    """One program for each process of a node with these settings; `config` is their file."""
    return [
        Program(name, kind, [sys.executable, "-m", "cadnode", *words, *_told(config)])
        for name, kind, words in _wanted(settings)
    ]


def _wanted(settings: Settings) -> Iterator[tuple[str, str, Sequence[str]]]:
    """(name, kind, words of the command)."""
    yield RECEIVE, RECEIVE, [RECEIVE]
    for number, device in enumerate(settings.work.places, start=1):
        name = WORK if number == 1 else f"{WORK} {number}"
        yield name, WORK, [WORK, *(["--device", device] if device else [])]
    if settings.web.enabled:
        yield WEB, WEB, [WEB]


def _told(config: Path | None) -> Sequence[str]:
    return ["--config", str(config)] if config else []
