"""What a bundle says about int8 as the quick pass: the ranges it needs, and how wide a band below
the lowest operating point is scored again.

    [screening]
    precision = "int8"
    ranges = "ranges.json"    highest value by name of a step; listed in [files]
    band = 1.75               log-odds
    patches = 210             that the band was measured on
    marked = 40               of them reach the lowest operating point
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from cadnode.core.errors import ModelUnfit
from cadnode.core.model import INT8
from cadnode.inference.quantised import STEPS

TABLE = "screening"
RANGES = "ranges.json"


@dataclass(frozen=True, slots=True)
class Screening:
    """How one bundle is screened in int8."""

    ranges: Mapping[str, float]
    """The highest value by name of a step; `quantised.STEPS` are all there."""
    band: float
    """In log-odds: what int8 puts no lower than this below the lowest operating point is scored
    again."""
    patches: int
    """How many the band was measured on."""
    marked: int
    """How many of them reach the lowest operating point."""

    def files(self) -> dict[str, bytes]:
        """What a bundle keeps of it, by name of the file."""
        return {RANGES: (json.dumps(dict(self.ranges), indent=1) + "\n").encode()}

    def table(self) -> dict[str, str | float | int]:
        """The manifest's table."""
        return {
            "precision": INT8,
            "ranges": RANGES,
            "band": self.band,
            "patches": self.patches,
            "marked": self.marked,
        }


def read_screening(folder: Path, manifest: Mapping[str, Any]) -> Screening | None:
    """What the bundle says, or None when it says nothing. Raises ModelUnfit."""
    table = manifest.get(TABLE)
    if table is None:
        return None
    try:
        name = str(table["ranges"])
        if table["precision"] != INT8:
            raise ValueError(f"cannot screen in {table['precision']}")
        if name not in manifest["files"]:
            raise ValueError(f"{name} is not among the files")
        given = json.loads((folder / name).read_text("utf-8"))
        ranges = {step: float(given[step]) for step in STEPS}
        found = Screening(ranges, float(table["band"]), int(table["patches"]), int(table["marked"]))
    except KeyError as error:
        raise ModelUnfit(f"{folder}: [{TABLE}] has no {error.args[0]}") from error
    except (OSError, TypeError, ValueError) as error:
        raise ModelUnfit(f"{folder}: [{TABLE}]: {error}") from error
    if not all(0 < value < inf for value in (*ranges.values(), found.band)):
        raise ModelUnfit(f"{folder}: [{TABLE}]: a range or the band is not above 0")
    return found
