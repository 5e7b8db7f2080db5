"""Flat tables as TOML: the standard library only reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

TomlValue = str | int | float | bool | Sequence[Any]


def to_toml(tables: Mapping[str, Mapping[str, TomlValue]]) -> str:
    """The text of tables of plain values and lists of them."""
    lines: list[str] = []
    for table, values in tables.items():
        lines.append(f"[{table}]")
        lines += [f"{_key(key)} = {_value(value)}" for key, value in values.items()]
        lines.append("")
    return "\n".join(lines)


def _key(key: str) -> str:
    bare = key.replace("_", "").replace("-", "")
    return key if bare.isascii() and bare.isalnum() else _quoted(key)


def _value(value: TomlValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(float(value))
    return "[" + ", ".join(_value(item) for item in value) + "]"


def _quoted(text: str) -> str:
    # The one character that JSON takes as it is and TOML does not.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
