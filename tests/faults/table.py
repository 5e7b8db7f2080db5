"""Counts per kind of fault, as a table in Markdown and as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults.plan import Kind

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


@dataclass(frozen=True)
class Line:
    """One kind of fault; a round that ended badly counts for every kind that happened in it."""

    kind: str
    injected: int
    lost: int
    duplicated: int
    stuck: int
    other: int


def lines(records: Iterable[Mapping[str, Any]]) -> list[Line]:
    """One line for each kind, in the order of `Kind`."""
    counts = {kind.value: [0, 0, 0, 0, 0] for kind in Kind}
    for record in records:
        kinds = [fault["kind"] for fault in record["faults"] if fault["happened"]]
        for kind in kinds:
            counts[kind][0] += 1
        for kind in set(kinds):
            for at, sort in enumerate(("lost", "duplicated", "stuck", "other"), start=1):
                counts[kind][at] += len(record["verdict"][sort])
    return [Line(kind, *numbers) for kind, numbers in counts.items()]


def totals(records: Sequence[Mapping[str, Any]]) -> Line:
    """All kinds together; what ended badly counts once."""
    injected = sum(f["happened"] for record in records for f in record["faults"])
    found = [
        sum(len(record["verdict"][sort]) for record in records)
        for sort in ("lost", "duplicated", "stuck", "other")
    ]
    return Line("all", injected, *found)


def summary(
    records: Sequence[Mapping[str, Any]], missing: Mapping[Kind, str], machine: str
) -> dict[str, Any]:
    """Everything in the table, and what it is about, as plain values."""
    exams: dict[str, int] = {}
    for record in records:
        for status, count in record["exams"].items():
            exams[status] = exams.get(status, 0) + count
    return {
        "commits": sorted({str(record["commit"]) for record in records}),
        "seeds": sorted({int(record["seed"]) for record in records}),
        "rounds": len(records),
        "bad_rounds": [record["round"] for record in records if is_bad(record)],
        "exams": exams,
        "images": sum(record["sent"] for record in records),
        "minutes": round(sum(record["seconds"] for record in records) / 60),
        "machine": machine,
        "not_available": {kind.value: reason for kind, reason in missing.items()},
        "total": asdict(totals(records)),
        "kinds": [asdict(line) for line in lines(records)],
    }


def is_bad(record: Mapping[str, Any]) -> bool:
    """The oracle found something, or something of the harness broke."""
    return any(record["verdict"].values()) or bool(record["troubles"])


def markdown(found: Mapping[str, Any]) -> str:
    """The table and the sentence above it."""
    exams = ", ".join(f"{count} {status}" for status, count in sorted(found["exams"].items()))
    seeds = ", ".join(str(seed) for seed in found["seeds"])
    total = found["total"]
    head = (
        f"{total['injected']} faults in {found['rounds']} rounds: {found['images']} images"
        f" acknowledged, {sum(found['exams'].values())} exams ({exams}), {found['minutes']} minutes."
        f" Seeds {seeds}; code {', '.join(found['commits'])}, {found['machine']}.\n\n"
        "| fault | injected | lost | duplicated | stuck |\n| --- | ---: | ---: | ---: | ---: |\n"
    )
    rows = "".join(
        f"| {line['kind']} | {line['injected']} | {line['lost']} | {line['duplicated']}"
        f" | {line['stuck']} |\n"
        for line in (*found["kinds"], {**total, "kind": "**all**"})
    )
    absent = "".join(
        f"\nNot injected here: {kind} ({reason})."
        for kind, reason in found["not_available"].items()
    )
    bad = "".join(f"\nRound {number} ended badly." for number in found["bad_rounds"])
    return head + rows + absent + bad


def write_into(document: Path, text: str) -> None:
    """Put `text` between the markers of a document. ValueError when they are not there."""
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document}: no {BEGIN} and {END}")
    document.write_text(f"{before}{BEGIN}\n{text}{END}{after}")
