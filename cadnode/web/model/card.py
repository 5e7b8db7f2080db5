"""A model card for the browser: Markdown without HTML, pictures or styles of its own."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

_DEEPER = {"h1": "h3", "h2": "h3", "h3": "h4", "h4": "h5", "h5": "h6", "h6": "h6"}
"""The page has its own first and second headings."""
_SOURCES = "sources"


def card_html(text: str) -> Markup:
    """The card as HTML. Tags in it are shown as text, links lead nowhere but to the web, and
    pictures are left out."""
    parser = _parser()
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = _DEEPER[token.tag]
        elif token.type in ("th_open", "td_open"):
            token.attrs.pop("style", None)
            if token.type == "th_open":
                token.attrs["scope"] = "col"
    # The parser has no HTML of the card's own: see `_parser`.
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704


def licence_lines(text: str) -> list[tuple[str, str]]:
    """(source, licence) of each line of the table under the heading "Sources"."""
    tokens = _parser().parse(text)
    rows, under, row = [], False, list[str]()
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            under = tokens[place + 1].content.strip().lower() == _SOURCES
        elif token.type == "tr_open":
            row = []
        elif token.type == "inline" and tokens[place - 1].type in ("td_open", "th_open"):
            row.append(_plain(token.children or []))
        elif token.type == "tr_close" and under:
            rows.append(row)
    if not rows or "licence" not in (head := [cell.lower() for cell in rows[0]]):
        return []
    at = head.index("licence")
    return [(row[0], row[at]) for row in rows[1:]]


def _plain(tokens: Sequence[Token]) -> str:
    return "".join(token.content for token in tokens)


@functools.cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    # What is wider than its page can be moved by keyboard, too.
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)
    return parser


def _table_open(*_: object) -> str:
    return '<div class="scroll" tabindex="0" role="region" aria-label="Table of the card"><table>'


def _table_close(*_: object) -> str:
    return "</table></div>"
