"""Markdown tables with a caption, by which a test finds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The table under its caption; one line that says so when it has no rows."""
    lines = [f"**{caption}**", "", row(headings), row(["---"] * len(headings))]
    content = [row(cells) for cells in rows]
    return "\n".join([*lines, *content]) if content else f"**{caption}**: none."


def row(cells: Sequence[object]) -> str:
    """One line of a table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def code(text: object) -> str:
    """As it is written in a file or on the wire."""
    return f"`{text}`"
