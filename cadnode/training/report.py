"""The evaluation report: one self-contained HTML file, the plots as PNG, the figures as JSON."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from cadnode.training.evaluate import (
    DetectionFigures,
    DetectionResults,
    PatchFigures,
    PatchResults,
)
from cadnode.training.metrics import Figure

Table = tuple[Sequence[str], Sequence[Sequence[str | int | Figure]]]
"""Head and rows."""
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #bbb;padding:.3em .6em}"
    "td{text-align:right}td:first-child{text-align:left}img{max-width:100%}"
)


def write_report(
    folder: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    patches: PatchResults | None = None,
    detection: DetectionResults | None = None,
    tables: Mapping[str, Table] | None = None,
    plots: Mapping[str, bytes] | None = None,
    drawn: str = "patients",
) -> Path:
    """Write `report.html`, `report.json` and the plots; returns the path of the HTML.

    `drawn` says what the intervals' bootstrap draws."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = plots or {}
    for name, picture in plots.items():
        (folder / f"{name}.png").write_bytes(picture)
    (folder / "report.json").write_text(
        json.dumps(_finite(_plain(title, facts, patches, detection, tables or {})), indent=1),
        "utf-8",
    )
    parts = [f"<h1>{escape(title)}</h1>", _table(("", ""), [[k, v] for k, v in facts.items()])]
    if patches is not None:
        parts += ["<h2>Patches</h2>", patch_table_html([patches.overall, *patches.by_group])]
        parts.append(f"<p>Operating point: score {patches.threshold:.3f}.</p>")
    if detection is not None:
        lines = [detection.overall, *detection.by_group]
        parts += ["<h2>Images</h2>", _table(*_detection_rows(lines))]
        rows = [[f"{rate:g}", f"{threshold:.3f}"] for rate, threshold in detection.suggested]
        parts.append(_table(("false marks per image", "score threshold"), rows))
    for heading, table in (tables or {}).items():
        words = [[str(cell) for cell in row] for row in table[1]]
        parts += [f"<h2>{escape(heading)}</h2>", _table(table[0], words)]
    for name, picture in plots.items():
        data = base64.b64encode(picture).decode("ascii")
        parts.append(
            f"<h2>{escape(name.replace('-', ' '))}</h2>"
            f'<img alt="{escape(name)}" src="data:image/png;base64,{data}">'
        )
    parts.append(
        f"<p>Intervals are 95 %, by bootstrap over {escape(drawn)}; of a single one there is none.</p>"
    )
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>"
    )
    path = folder / "report.html"
    path.write_text(page, "utf-8")
    return path


def patch_table_html(lines: Sequence[PatchFigures]) -> str:
    """The patch table as HTML."""
    return _table(*_patch_rows(lines))


def patch_table_markdown(lines: Sequence[PatchFigures]) -> str:
    """The patch table for a model card."""
    return _markdown(*_patch_rows(lines))


def _patch_rows(lines: Sequence[PatchFigures]) -> tuple[Sequence[str], list[list[str]]]:
    head = ("patches", "n", "patients", "accuracy", "sensitivity", "specificity", "AUC", "AP")
    return head, [
        [
            line.group,
            str(line.patches),
            str(line.patients),
            str(line.accuracy),
            str(line.sensitivity),
            str(line.specificity),
            str(line.auc),
            str(line.average_precision),
        ]
        for line in lines
    ]


def _detection_rows(lines: Sequence[DetectionFigures]) -> tuple[Sequence[str], list[list[str]]]:
    rates = [f"at {rate:g} false/image" for rate, _ in lines[0].sensitivity]
    head = ("images", "n", "patients", "clusters", *rates, "marks per normal image")
    return head, [
        [
            line.group,
            str(line.images),
            str(line.patients),
            str(line.clusters),
            *(str(figure) for _, figure in line.sensitivity),
            str(line.marks_per_normal_image),
        ]
        for line in lines
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(
    title: str,
    facts: Mapping[str, str],
    patches: PatchResults | None,
    detection: DetectionResults | None,
    tables: Mapping[str, Table],
) -> dict[str, Any]:
    plain: dict[str, Any] = {"title": title, "facts": dict(facts)}
    if patches is not None:
        plain["patches"] = {
            "threshold": patches.threshold,
            "lines": [asdict(line) for line in (patches.overall, *patches.by_group)],
        }
    if detection is not None:
        plain["images"] = {
            "false_per_image": detection.false_per_image.tolist(),
            "sensitivity": detection.sensitivity.tolist(),
            "thresholds": detection.thresholds.tolist(),
            "suggested": [
                {"false_per_image": rate, "threshold": threshold}
                for rate, threshold in detection.suggested
            ],
            "lines": [asdict(line) for line in (detection.overall, *detection.by_group)],
        }
    for heading, (head, rows) in tables.items():
        plain.setdefault("tables", {})[heading] = [
            {
                name: asdict(cell) if isinstance(cell, Figure) else cell
                for name, cell in zip(head, row, strict=True)
            }
            for row in rows
        ]
    return plain


def _finite(value: Any) -> Any:
    """JSON knows neither nan nor infinity: null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
