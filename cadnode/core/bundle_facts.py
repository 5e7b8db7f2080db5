"""What is known of the model bundles of a node: plain values for those who show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cadnode.core.curves import Curves
from cadnode.core.golden import GoldenCheck
from cadnode.core.model import ModelSpec


@dataclass(frozen=True, slots=True)
class FileNow:
    """One file of a bundle as it lies there now."""

    name: str
    sha256: str
    """That it must have."""
    trouble: str
    """What is wrong with it; empty when it is the file the bundle was made with."""


@dataclass(frozen=True, slots=True)
class InstalledBundle:
    """One bundle in the models folder."""

    name: str
    version: str
    in_force: bool
    """Do the settings name it?"""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What one worker says it has loaded."""

    host: str
    pid: int
    name: str
    version: str
    device: str
    precision: str
    chosen: str
    """Why it runs on this and on nothing else; empty when nothing was chosen."""
    same_manifest: bool
    """Was it loaded from the manifest that lies in the bundle now?"""
    seen: bool
    """Has the worker been heard of lately?"""


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """One bundle, with what its files say and whether they are what they were."""

    spec: ModelSpec
    in_force: bool
    manifest: Mapping[str, Any]
    manifest_sha256: str
    card: str
    """Markdown; empty when it cannot be read."""
    files: tuple[FileNow, ...]
    checked_at: datetime
    """When the files were compared with their hashes."""
    curves: tuple[Curves, ...]
    problems: tuple[str, ...]
    """What of it could not be read."""

    @property
    def name(self) -> str:
        """Of the model."""
        return self.spec.name

    @property
    def version(self) -> str:
        """Of the model."""
        return self.spec.version

    @property
    def whole(self) -> bool:
        """Is every file the one the bundle was made with?"""
        return not any(file.trouble for file in self.files)


@dataclass(frozen=True, slots=True)
class GoldenState:
    """The golden example: what is going on, and what came of it before."""

    running_since: datetime | None
    running_for: str
    """Who asked for the one that runs."""
    checks: tuple[GoldenCheck, ...]
    """The newest first."""
