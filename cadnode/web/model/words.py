"""A manifest in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NORMALISATIONS = {
    "local-contrast": "each pixel against the brightness and contrast of its surroundings",
}


def facts_of(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what, in words) of how the model reads an image."""
    model = manifest["model"]
    size, stride, pitch = model["patch_size"], model["stride"], model["pitch_mm"]
    cells = model["map_size"]
    grey = str(model["normalisation"])
    return [
        ("Network", f"{model['architecture']}"),
        ("Pixel pitch", f"{pitch:g} mm: every image is resampled to it first"),
        (
            "Patch",
            f"{size} x {size} pixels, {size * pitch:.1f} mm on a side, one every {stride} pixels",
        ),
        ("Grey levels", f"{grey}: {NORMALISATIONS[grey]}" if grey in NORMALISATIONS else grey),
        (
            "Localisation",
            f"{cells} x {cells} cells in each patch, {size * pitch / cells:.1f} mm each",
        ),
    ]


def operating_points(manifest: Mapping[str, Any]) -> list[tuple[int, float, bool]]:
    """(number, score from which a mark shows, recommended?) of each, the strictest first."""
    points = manifest["operating_points"]
    return [
        (number, float(threshold), number == points["recommended"])
        for number, threshold in enumerate(points["thresholds"])
    ]


def lines_of(manifest: Mapping[str, Any], table: str) -> list[tuple[str, str]]:
    """(key, value) of a table of the manifest, as a person reads them."""
    found = manifest.get(table, {})
    return [(key.replace("_", " "), _words(value)) for key, value in found.items()]


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_words(item) for item in value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    return f"{value:g}" if isinstance(value, float) else str(value)
