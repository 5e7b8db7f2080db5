"""What the frozen layers make of each patch, kept on disk: it is the same in every epoch."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ConfigError

Tensors = list[NDArray[np.generic]]
INDEX = "frozen.json"
_AT_ONCE = 256
"""Patches read at once for their hash."""


class FrozenOutputs:
    """A folder with one array per tensor at the cut and a row for each patch, filled as needed.

    Which rows are there is written by `save`, after the rows themselves: a killed run computes
    again what came after. A folder of other weights or patches is emptied.
    """

    def __init__(self, folder: Path, like: Sequence[NDArray[np.generic]], *, rows: int, of: str):
        """Open or make it, with its room on the disk: writing to a mapped file that finds none
        would end the process. `like` are the tensors of any one batch; `of` says what they are
        made of, see `name_of`. Raises ConfigError when the disk has no room."""
        shapes = [[rows, *tensor.shape[1:]] for tensor in like]
        kept = json.dumps({"of": of, "shapes": shapes, "types": [t.dtype.name for t in like]})
        paths = [folder / f"tensor-{number}" for number in range(len(like))]
        new = not (folder / INDEX).exists() or (folder / INDEX).read_text("utf-8") != kept
        if new or not all(path.exists() for path in paths):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            need, free = row_bytes(like) * rows, shutil.disk_usage(folder).free
            if need > free:
                raise ConfigError(
                    f"{folder}: the frozen part's outputs need {need >> 20} MiB,"
                    f" {free >> 20} MiB are free"
                )
            (folder / INDEX).write_text(kept, "utf-8")
        self._done_path = folder / "done.npy"
        self._done = _flags(self._done_path, rows)
        try:
            self._arrays = [
                _map(path, tensor.dtype, tuple(shape))
                for path, tensor, shape in zip(paths, like, shapes, strict=True)
            ]
        except OSError as error:
            if new:
                shutil.rmtree(folder, ignore_errors=True)
            raise ConfigError(f"{folder}: {error.strerror}") from error

    def __len__(self) -> int:
        """Rows that are there."""
        return int(self._done.sum())

    def read(self, indices: NDArray[np.intp]) -> tuple[Tensors, NDArray[np.intp]]:
        """The rows of these patches, and the places in them where nothing is there yet."""
        missing = np.flatnonzero(~self._done[indices])
        return [np.asarray(array[indices]) for array in self._arrays], missing

    def complete(
        self,
        indices: NDArray[np.intp],
        found: tuple[Tensors, NDArray[np.intp]],
        compute: Callable[[NDArray[np.intp]], Tensors],
    ) -> Tensors:
        """What `read` gave, with the missing rows computed (by places in `indices`) and kept."""
        tensors, missing = found
        if len(missing):
            for tensor, array, made in zip(tensors, self._arrays, compute(missing), strict=True):
                tensor[missing] = made
                array[indices[missing]] = made
            self._done[indices[missing]] = True
        return tensors

    def save(self) -> None:
        """Make what was computed outlive a kill."""
        for array in self._arrays:
            array.flush()
        aside = self._done_path.with_name("done.part.npy")
        np.save(aside, self._done)
        aside.replace(self._done_path)


def row_bytes(like: Sequence[NDArray[np.generic]]) -> int:
    """Bytes on disk for one patch."""
    return sum(tensor[0].nbytes for tensor in like)


def name_of(
    weights: Sequence[NDArray[np.generic]], precision: str, patches: NDArray[np.uint8]
) -> str:
    """A name for what these frozen weights make of these patches; reads every patch."""
    digest = hashlib.sha256(precision.encode())
    for array in weights:
        digest.update(array.tobytes())
    for at in range(0, len(patches), _AT_ONCE):
        digest.update(patches[at : at + _AT_ONCE].tobytes())
    return digest.hexdigest()


def _flags(path: Path, rows: int) -> NDArray[np.bool_]:
    """Which rows are there; none where the machine went down while that was written."""
    try:
        found: NDArray[np.bool_] = np.load(path)
    except (OSError, ValueError, EOFError):
        return np.zeros(rows, np.bool_)
    return found if found.shape == (rows,) else np.zeros(rows, np.bool_)


def _map(
    path: Path, kind: np.dtype[np.generic], shape: tuple[int, ...]
) -> np.memmap[tuple[int, ...], np.dtype[np.generic]]:
    if not path.exists():
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, prod(shape) * kind.itemsize)
    return np.memmap(path, kind, mode="r+", shape=shape)
