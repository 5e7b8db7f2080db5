"""The real receiver as a process under every kind of hostile peer, while a good one sends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.hostile import (
    ATTACKS,
    MAX_OBJECT_MB,
    MEMORY_LIMIT_MB,
    Target,
    receiver_process,
    withstand,
)

SECONDS = 2.0
"""Of each attack here; `python -m tests.node.hostile` goes on for longer."""

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    with receiver_process(folder) as running:
        yield running
    # Whatever came, nobody's mistake in it ended a thread of the receiver.
    assert "a thread broke" not in (folder / "receive.log").read_text()


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_good_sender_is_served_and_memory_stays_within_bounds(
    attack: str, target: Target
) -> None:
    outcome = withstand(target, attack, SECONDS)

    assert outcome.not_stored == 0
    assert outcome.stored > 0
    assert outcome.echoes == outcome.stored
    assert outcome.slowest < 20
    assert outcome.peak_mb < MEMORY_LIMIT_MB
    # Four senders of objects without end, and a good one.
    assert outcome.incoming_mb <= 5 * MAX_OBJECT_MB * 1.05
