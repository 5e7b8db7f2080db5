"""A manifest in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cadnode.core.model import ModelSpec

NORMALISATIONS = {
    "local-contrast": "each pixel against the brightness and contrast of its surroundings",
}


def facts_of(spec: ModelSpec) -> list[tuple[str, str]]:
    """(what, in words) of how the model reads an image."""
    side, grey = spec.patch_size * spec.pitch_mm, spec.normalisation
    return [
        ("Pixel pitch", f"{spec.pitch_mm:g} mm: every image is resampled to it first"),
        (
            "Patch",
            f"{spec.patch_size} x {spec.patch_size} pixels, {side:.1f} mm on a side,"
            f" one every {spec.stride} pixels",
        ),
        ("Grey levels", f"{grey}: {NORMALISATIONS[grey]}" if grey in NORMALISATIONS else grey),
        (
            "Localisation",
            f"{spec.map_size} x {spec.map_size} cells in each patch,"
            f" {side / spec.map_size:.1f} mm each",
        ),
    ]


def operating_points(spec: ModelSpec) -> list[tuple[int, float, bool]]:
    """(number, score from which a mark shows, recommended?) of each, the strictest first."""
    return [
        (number, threshold, number == spec.recommended)
        for number, threshold in enumerate(spec.thresholds)
    ]


def lines_of(manifest: Mapping[str, Any], table: str) -> list[tuple[str, str]]:
    """(key, value) of a table of the manifest, as a person reads them."""
    found = manifest.get(table)
    if not isinstance(found, dict):
        return []
    return [(key.replace("_", " "), _words(value)) for key, value in found.items()]


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_words(item) for item in value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    return f"{value:g}" if isinstance(value, float) else str(value)
