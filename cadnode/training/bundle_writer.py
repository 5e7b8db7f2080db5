"""Writes a model bundle: the folder that `inference.bundle` reads."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ConfigError
from cadnode.core.toml_text import TomlValue, to_toml

LARGEST_PIECE = 24_000_000
"""Bytes of float16 in one weights file."""


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """Everything a manifest says that does not follow from the files."""

    name: str
    version: str
    patch_size: int
    stride: int
    pitch_mm: float
    normalisation: str
    map_size: int
    thresholds: tuple[float, ...]
    recommended: int
    code_version: str
    training: Mapping[str, TomlValue] = field(default_factory=dict)
    results: Mapping[str, TomlValue] = field(default_factory=dict)


def write_bundle(
    folder: Path,
    facts: BundleFacts,
    weights: Mapping[str, NDArray[np.float32]],
    golden: tuple[NDArray[np.float32], NDArray[np.float32]],
    card: str,
    more: Mapping[str, bytes] | None = None,
) -> None:
    """Write the bundle into `folder` (made, must be empty or not there), with `more` files by name.

    `golden` is (patches of whole grey levels, their probabilities by these very weights as
    `stored` gives them back). The manifest is written last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; a version is never overwritten")
    pieces = _pieces(stored(weights))
    names = [f"weights-{index + 1}of{len(pieces)}.npz" for index in range(len(pieces))]
    for name, piece in zip(names, pieces, strict=True):
        np.savez_compressed(folder / name, allow_pickle=False, **piece)
    patches, probability = golden
    np.savez_compressed(
        folder / "golden.npz",
        patches=np.round(patches).astype(np.uint8),
        probability=probability.astype(np.float32),
    )
    (folder / "MODEL_CARD.md").write_text(card, "utf-8")
    for name, content in (more or {}).items():
        (folder / name).write_bytes(content)
    _write_manifest(folder, facts, names)


def add_to_bundle(
    folder: Path,
    files: Mapping[str, bytes],
    tables: Mapping[str, Mapping[str, TomlValue]],
) -> None:
    """Add files and manifest tables that describe a bundle; what is in it already stays as it is.

    Raises ConfigError when one of them is there already, or the folder cannot be written.
    """
    path = folder / "manifest.toml"
    try:
        manifest = tomllib.loads(path.read_text("utf-8"))
        known = {*manifest["files"], *manifest, *(p.name for p in folder.iterdir())}
        twice = known & {*files, *tables}
        if twice:
            raise ConfigError(f"{folder} has {', '.join(sorted(twice))} already")
        for name, content in files.items():
            (folder / name).write_bytes(content)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        named = manifest.pop("files")
        text = to_toml({**manifest, **tables, "files": {**named, **hashes}})
        aside = folder / "manifest.toml.part"
        aside.write_text(text, "utf-8")
        aside.replace(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def stored(weights: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
    """The arrays as they lie in a bundle: kernels as float16, the small rest as float32."""
    return {
        name: array.astype(np.float16) if name.endswith("kernel") else array.astype(np.float32)
        for name, array in weights.items()
    }


def _write_manifest(folder: Path, facts: BundleFacts, weights: Sequence[str]) -> None:
    hashes = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.name != "manifest.toml"
    }
    text = to_toml(
        {
            "model": {
                "name": facts.name,
                "version": facts.version,
                "architecture": "resnet50-grey",
                "weights": list(weights),
                "patch_size": facts.patch_size,
                "stride": facts.stride,
                "pitch_mm": facts.pitch_mm,
                "normalisation": facts.normalisation,
                "map_size": facts.map_size,
                "labels": ["normal", "calcification"],
            },
            "operating_points": {
                "thresholds": list(facts.thresholds),
                "recommended": facts.recommended,
            },
            "training": {"code_version": facts.code_version, **facts.training},
            "results": facts.results,
            "files": hashes,
        }
    )
    aside = folder / "manifest.toml.part"
    aside.write_text(text, "utf-8")
    aside.replace(folder / "manifest.toml")


def _pieces(arrays: Mapping[str, NDArray[Any]]) -> list[dict[str, NDArray[Any]]]:
    pieces: list[dict[str, NDArray[Any]]] = [{}]
    size = 0
    for name, array in arrays.items():
        if size and size + array.nbytes > LARGEST_PIECE:
            pieces.append({})
            size = 0
        pieces[-1][name] = array
        size += array.nbytes
    return pieces
