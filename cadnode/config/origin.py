"""Where each setting in force came from, and settings fit to be shown: their secrets hidden."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cadnode.core.provenance import SettingLine, SettingsInForce, SettingSource

if TYPE_CHECKING:
    from pydantic import BaseModel

    from cadnode.config import Settings

PREFIX = "cadnode_"
DELIMITER = "__"
HIDDEN = "***"

_SECRET_WORDS = ("secret", "password", "token", "webhook_url")


# PostgreSQL takes them among the parameters too.
_PASSWORD = re.compile(r"(?i)([?&][^=&]*password[^=&]*=)[^&]*")


class _Decided(NamedTuple):
    source: SettingSource
    where: str


_DEFAULT = _Decided(SettingSource.DEFAULT, "")


@dataclass(frozen=True, slots=True)
class Origins:
    """What a process was told at its start, and by whom."""

    file: Path | None = None
    file_sha256: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)
    """Of the file."""
    environ: Mapping[str, str] = field(default_factory=dict)

    def in_force(self, settings: Settings) -> SettingsInForce:
        """Every setting with its origin, in the order of the settings file."""
        return SettingsInForce(
            file=str(self.file or ""),
            file_changed=self.file is not None and hash_of(self.file) != self.file_sha256,
            lines=tuple(self._lines(settings)),
        )

    def _lines(self, settings: Settings) -> Iterator[SettingLine]:
        shown = masked(settings)
        raw = settings.model_dump(mode="json")
        variables = _variables(self.environ)
        for table in type(settings).model_fields:
            told = self.content.get(table, {})
            if isinstance(shown[table], Mapping):
                told = told if isinstance(told, Mapping) else {}
                default = _defaults(getattr(settings, table))
                same = {key for key, value in raw[table].items() if _is(default, key, value)}
                yield from self._of_table(table, "", shown[table], told, variables, same)
                continue
            variable = variables.get((table, ""))
            entries = _entries(variable.value) if variable else told
            for place, values in enumerate(shown[table]):
                entry = entries[place] if place < len(entries) else {}
                name = name_of(values) or str(place + 1)
                origin = _Decided(SettingSource.ENVIRONMENT, variable.name) if variable else None
                default = _defaults(getattr(settings, table)[place])
                for key, value in values.items():
                    decided = (origin or self._in_file) if key in entry else _DEFAULT
                    is_default = _is(default, key, raw[table][place][key])
                    yield SettingLine(table, name, key, _toml(value), *decided, is_default)

    def _of_table(
        self,
        table: str,
        entry: str,
        values: Mapping[str, Any],
        told: Mapping[str, Any],
        variables: Mapping[tuple[str, str], _Variable],
        same: Collection[str],
    ) -> Iterator[SettingLine]:
        for key, value in values.items():
            variable = variables.get((table, key))
            if variable is not None:
                decided = _Decided(SettingSource.ENVIRONMENT, variable.name)
            else:
                decided = self._in_file if key in told else _DEFAULT
            yield SettingLine(table, entry, key, _toml(value), *decided, key in same)

    @property
    def _in_file(self) -> _Decided:
        return _Decided(SettingSource.FILE, str(self.file or ""))


def _defaults(table: BaseModel) -> Mapping[str, Any]:
    """What the keys of the table are unless somebody says otherwise; required ones are missing."""
    shown: dict[str, Any] = type(table).model_construct().model_dump(mode="json", warnings=False)
    return shown


def _is(defaults: Mapping[str, Any], key: str, value: Any) -> bool:
    return key in defaults and bool(defaults[key] == value)


def name_of(entry: Mapping[str, Any]) -> str:
    """How an entry of a table that may stand several times is called; empty when it does not say."""
    return str(entry.get("name") or entry.get("source") or "")


def masked(settings: Settings) -> dict[str, Any]:
    """The settings as JSON values, secrets hidden, with the URL of the database in force."""
    shown: dict[str, Any] = _mask("", settings.model_dump(mode="json"))
    shown["database"]["url"] = hide_password(settings.database_url)
    return shown


def hide_password(url: str) -> str:
    """The URL without the passwords in it, if it has any."""
    url = _PASSWORD.sub(rf"\1{HIDDEN}", url)
    scheme, separator, rest = url.partition("://")
    account, at, host = rest.rpartition("@")
    if not at:
        return url
    return f"{scheme}{separator}{account.partition(':')[0]}:{HIDDEN}@{host}"


def hash_of(file: Path) -> str:
    """SHA-256 of the file; empty when it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


class _Variable(NamedTuple):
    name: str
    value: str


def _variables(environ: Mapping[str, str]) -> dict[tuple[str, str], _Variable]:
    """By table and key; the key is empty for a variable that holds a whole list of tables."""
    found: dict[tuple[str, str], _Variable] = {}
    for name, value in environ.items():
        if not name.lower().startswith(PREFIX):
            continue
        table, _, key = name.lower().removeprefix(PREFIX).partition(DELIMITER)
        if key:
            found[table, key.partition(DELIMITER)[0]] = _Variable(name, value)
            continue
        found.setdefault((table, ""), _Variable(name, value))
        for inner in _keys(value):
            found.setdefault((table, inner), _Variable(name, value))
    return found


def _keys(value: str) -> list[str]:
    told = _json(value)
    return list(told) if isinstance(told, Mapping) else []


def _entries(value: str) -> list[Mapping[str, Any]]:
    told = _json(value)
    return told if isinstance(told, list) else []


def _json(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return None


def _mask(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {inner: _mask(inner, item) for inner, item in value.items()}
    if isinstance(value, list):
        return [_mask(key, item) for item in value]
    if value and isinstance(value, str):
        # A file is only named; what is in it is not shown.
        if any(word in key for word in _SECRET_WORDS) and not key.endswith("_file"):
            return HIDDEN
        if "://" in value:
            return hide_password(value)
    return value


def _toml(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False)
