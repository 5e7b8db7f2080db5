"""Which processes `cadnode serve` runs, and how each is started. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cadnode.config import Settings
from cadnode.core.processes import ANALYSIS, DELIVERY, RECEIVE, WEB, WORK
from cadnode.supervisor import Program


def programs(settings: Settings, config: Path | None) -> Sequence[Program]:
    """One program for each process of a node with these settings; `config` is their file."""
    return [
        Program(name, kind, [sys.executable, "-m", "cadnode", *words, *_told(config)])
        for name, kind, words in _wanted(settings)
    ]


def celery_programs(
    lane: str, device: str, concurrency: int, config: Path | None
) -> Sequence[Program]:
    """One program for each process of `cadnode celery-worker`: so many that analyze, and one that
    delivers, where `lane` is not only one of the two."""
    wanted = [DELIVERY] if lane in (DELIVERY, "all") else []
    wanted += [ANALYSIS] * concurrency if lane in (ANALYSIS, "all") else []
    return [
        Program(
            f"celery-worker {number}",
            WORK,
            [
                *(sys.executable, "-m", "cadnode", "celery-worker", "--lane", one),
                *(["--device", device] if device and one == ANALYSIS else []),
                *_told(config),
            ],
        )
        for number, one in enumerate(wanted, start=1)
    ]


def _wanted(settings: Settings) -> Iterator[tuple[str, str, Sequence[str]]]:
    """(name, kind, words of the command)."""
    for number in range(1, settings.node.receivers + 1):
        yield RECEIVE if number == 1 else f"{RECEIVE} {number}", RECEIVE, [RECEIVE]
    for number, device in enumerate(settings.work.places, start=1):
        name = WORK if number == 1 else f"{WORK} {number}"
        yield name, WORK, [WORK, *(["--device", device] if device else [])]
    if settings.web.enabled:
        yield WEB, WEB, [WEB]


def _told(config: Path | None) -> Sequence[str]:
    return ["--config", str(config)] if config else []
