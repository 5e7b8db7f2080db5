"""What a setting is and where it came from: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SettingSource(StrEnum):
    """Who decided a setting."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting in force."""

    table: str
    """As `node` or `peers`."""
    entry: str
    """The name of the entry in a table that may stand several times; else empty."""
    key: str
    value: str
    """As TOML writes it; a secret is `"***"`."""
    source: SettingSource
    where: str
    """The file, or the variable; empty for a default."""
    is_default: bool
    """The value is that of the default, also where the file or a variable says so."""

    @property
    def name(self) -> str:
        """`node.port`, `peers[room 1].ae_title`."""
        return (
            f"{self.table}[{self.entry}].{self.key}" if self.entry else f"{self.table}.{self.key}"
        )


@dataclass(frozen=True, slots=True)
class SettingsInForce:
    """All settings of one process, since its start."""

    file: str
    """Empty: none was read."""
    file_changed: bool
    """True when the file has other content now: it takes effect at the next start."""
    lines: tuple[SettingLine, ...]
