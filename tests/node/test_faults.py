"""Fifty faults on the real node: nothing is lost, nothing is there twice, nothing is stuck."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, Wish, happened
from tests.faults.plan import SELECTION
from tests.faults.table import is_bad

pytestmark = [pytest.mark.node, pytest.mark.timeout(900)]


def test_fifty_faults_lose_nothing_repeat_nothing_and_hold_nothing_up(tmp_path: Path):
    wish = Wish(seed=20, faults=50, out=tmp_path / "out", scale=SELECTION, settle_seconds=240.0)
    records = Campaign(wish).run()
    found = [(r["round"], r["verdict"], r["troubles"]) for r in records if is_bad(r)]
    assert not found, f"{found}\nagain: python -m tests.faults --selection --seed 20 --round 1"
    assert happened(records) >= 50
