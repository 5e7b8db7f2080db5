"""The schedule of faults is a value: the same seed gives the same round."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.faults import table
from tests.faults.campaign import RECORD, happened, read_records
from tests.faults.plan import DISKS, WHOLE_NODE, Kind, Scale, make_round

ALL = tuple(Kind)


def test_the_same_seed_gives_the_same_round_and_another_one_another():
    assert make_round(1, 3, ALL, Scale()) == make_round(1, 3, ALL, Scale())
    assert make_round(1, 3, ALL, Scale()) != make_round(1, 4, ALL, Scale())
    assert make_round(1, 3, ALL, Scale()) != make_round(2, 3, ALL, Scale())


def test_a_few_rounds_have_every_kind():
    seen = {fault.kind for n in range(1, 13) for fault in make_round(1, n, ALL, Scale()).faults}
    assert seen == set(Kind)


def test_a_round_has_as_many_faults_as_asked_for_and_none_that_the_machine_cannot_do():
    available = [kind for kind in Kind if kind not in (*DISKS, Kind.POWER_CUT)]
    for number in range(1, 10):
        faults = make_round(5, number, available, Scale(faults=20)).faults
        assert len(faults) == 20
        assert {fault.kind for fault in faults} <= set(available)
        whole = [fault for fault in faults if fault.kind in WHOLE_NODE]
        assert len(whole) <= 2, "each of them starts every process anew"


def record(*, lost: int = 0, kinds: Counter[Kind]) -> dict[str, object]:
    """One line of the record."""
    faults = [{"kind": kind.value, "happened": True} for kind in kinds.elements()]
    return {
        "commit": "1234567",
        "seed": 1,
        "round": 4,
        "faults": [*faults, {"kind": Kind.POWER_CUT.value, "happened": False}],
        "verdict": {"lost": ["x"] * lost, "duplicated": [], "stuck": [], "other": []},
        "sent": 16,
        "exams": {"delivered": 8},
        "seconds": 60.0,
        "troubles": [],
    }


def test_the_table_counts_what_happened_and_what_was_lost():
    records = [
        record(kinds=Counter({Kind.KILL_WORK: 2})),
        record(kinds=Counter({Kind.KILL_WORK: 1, Kind.SIGTERM: 1}), lost=1),
    ]
    found = {line.kind: line for line in table.lines(records)}
    assert (found[Kind.KILL_WORK].injected, found[Kind.KILL_WORK].lost) == (3, 1)
    assert (found[Kind.SIGTERM].injected, found[Kind.SIGTERM].lost) == (1, 1)
    assert found[Kind.POWER_CUT].injected == 0
    assert (table.totals(records).injected, table.totals(records).lost) == (4, 1)
    summary = table.summary(records, {Kind.POWER_CUT: "only root may mount"}, "a machine")
    assert summary["bad_rounds"] == [4]
    text = table.markdown(summary)
    assert "| SIGKILL of work | 3 | 1 | 0 | 0 |" in text
    assert "power cut (only root may mount)" in text
    assert "Round 4 ended badly." in text


def test_the_table_goes_between_its_markers_and_nowhere_else(tmp_path: Path):
    document = tmp_path / "page.md"
    document.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.write_into(document, "new\n")
    assert document.read_text() == f"before\n{table.BEGIN}\nnew\n{table.END}\nafter\n"
    document.write_text("no markers")
    with pytest.raises(ValueError, match="no <!-- faults"):
        table.write_into(document, "new\n")


def test_a_run_goes_on_from_whole_lines_of_its_own_seed(tmp_path: Path):
    (tmp_path / RECORD).write_text(
        '{"seed": 1, "faults": [{"happened": true}]}\n{"seed": 2, "faults": []}\n{"seed": 1, "fa'
    )
    assert happened(read_records(tmp_path, 1)) == 1
    assert read_records(tmp_path / "nowhere", 1) == []
