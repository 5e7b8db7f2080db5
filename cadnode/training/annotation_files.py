"""Annotations as sites have them: a CSV of outlines, masks as pictures."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from cadnode.core.annotations import Annotation
from cadnode.core.errors import ConfigError
from cadnode.training.image_files import read_picture

COLUMNS = ("sop_instance_uid", "shape", "points")


def read_csv(path: Path) -> dict[str, tuple[Annotation, ...]]:
    """By SOP Instance UID; an image with an empty shape is there with no annotation (normal).

    Columns `sop_instance_uid`, `shape` (`circle`, `polygon` or empty) and `points`: numbers with
    blanks between them, `column row radius` of a circle, `column row column row ...` of a polygon,
    in pixels of the image as received. Any other column is for `read_groups`. Raises ConfigError
    with the line.
    """
    found: dict[str, list[Annotation]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                raise ConfigError(f"{path}: the columns are {', '.join(COLUMNS)}")
            for row in reader:
                kept = found.setdefault((row["sop_instance_uid"] or "").strip(), [])
                kept.extend(_annotations(path, reader.line_num, row["shape"], row["points"]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as a CSV file in UTF-8: {error}") from error
    return {uid: tuple(annotations) for uid, annotations in found.items()}


def read_groups(path: Path) -> dict[str, tuple[tuple[str, str], ...]]:
    """By SOP Instance UID what the other columns of the CSV say, as (column, value): `density`, or
    whatever tables are to be split by."""
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                uid = (row.get(COLUMNS[0]) or "").strip()
                named = [
                    (key, value.strip())
                    for key, value in row.items()
                    if key and key not in COLUMNS and isinstance(value, str) and value.strip()
                ]
                found[uid] = tuple(dict([*found.get(uid, ()), *named]).items())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as a CSV file in UTF-8: {error}") from error
    return found


def read_mask(path: Path) -> tuple[Annotation, ...]:
    """One polygon (convex hull) for each connected region of a mask picture."""
    return from_mask(read_picture(path) > 0.5)


def from_mask(mask: NDArray[np.bool_]) -> tuple[Annotation, ...]:
    """One polygon (convex hull) for each connected region."""
    labels, _ = ndimage.label(mask)
    return tuple(
        _hull(
            np.argwhere(labels[window] == index + 1)[:, ::-1] + (window[1].start, window[0].start)
        )
        for index, window in enumerate(ndimage.find_objects(labels))
    )


def _annotations(
    path: Path, line: int, shape: str | None, points: str | None
) -> tuple[Annotation, ...]:
    try:
        return tuple(_parsed((shape or "").strip().lower(), points or ""))
    except ValueError as error:
        raise ConfigError(f"{path}, line {line}: {error}") from error


def _parsed(shape: str, points: str) -> Iterator[Annotation]:
    numbers = [float(word) for word in points.replace(";", " ").split()]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a point is two finite numbers")
    if shape == "circle":
        if len(numbers) != 3 or numbers[2] <= 0:
            raise ValueError("a circle has column, row and a radius above 0")
        yield Annotation(((numbers[0], numbers[1]),), numbers[2])
    elif shape == "polygon":
        if len(numbers) < 6 or len(numbers) % 2:
            raise ValueError("a polygon has three or more pairs of column and row")
        yield Annotation(tuple(zip(numbers[::2], numbers[1::2], strict=True)))
    elif shape:
        raise ValueError(f"no shape is called {shape}")


def _hull(pixels: NDArray[np.intp]) -> Annotation:
    corners = np.concatenate([pixels + offset for offset in ((0, 0), (0, 1), (1, 0), (1, 1))])
    try:
        hull = corners[ConvexHull(corners).vertices]
    except QhullError as error:
        raise ConfigError(f"a region of the mask has no outline: {error}") from error
    return Annotation(tuple((float(column), float(row)) for column, row in hull))
