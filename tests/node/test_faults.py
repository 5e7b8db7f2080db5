"""Fifty faults on the real node: nothing is lost, nothing is there twice, nothing is stuck."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, Wish, happened
from tests.faults.plan import Scale
from tests.faults.table import is_bad

pytestmark = [pytest.mark.node, pytest.mark.timeout(900)]

WISH = Scale(exams=8, faults=56, span=10.0, lock_seconds=3.0)


def test_fifty_faults_lose_nothing_repeat_nothing_and_hold_nothing_up(tmp_path: Path):
    wish = Wish(seed=20, faults=50, out=tmp_path / "out", scale=WISH, settle_seconds=240.0)
    records = Campaign(wish).run()
    found = [
        (record["round"], record["verdict"], record["troubles"])
        for record in records
        if is_bad(record)
    ]
    assert not found, f"again: python -m tests.faults --seed {wish.seed} --round {found[0][0]}"
    assert happened(records) >= 50
