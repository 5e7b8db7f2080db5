"""Patches on disk: cut once, read by memory map, so that training needs little memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ConfigError

Mapped = np.memmap[tuple[int, ...], np.dtype[np.uint8]]
ROWS, INDEX = "rows.jsonl", "index.json"
STEP = 16 << 20
"""Bytes of patches by which the room grows."""


class PatchCache:
    """A folder with `patches.u8`, its truth, and a line for each patch in `rows.jsonl`; grows by
    `append`, survives a kill.

    The number of finished patches stands in `index.json`, written last: whatever a killed run
    left beyond it is overwritten.
    """

    def __init__(self, folder: Path, *, patch_size: int, map_size: int) -> None:
        """Open the folder, or make it. Raises ConfigError when it holds patches of another shape,
        is damaged, or the disk has no room."""
        self.folder = folder
        self._shape = {"patch_size": patch_size, "map_size": map_size}
        self._step = max(16, STEP // patch_size**2)
        self.rows: list[dict[str, object]] = []
        self.without_patches: dict[str, bool] = {}
        """Images that were looked at and gave none, by name: whether they could not be cut."""
        with self._told():
            folder.mkdir(parents=True, exist_ok=True)
            self._rows_at = self._read()
        self._saved = len(self.rows)
        self._make_room(max(1, len(self.rows)))

    def __len__(self) -> int:
        return len(self.rows)

    def append(
        self,
        patch: NDArray[np.float32],
        label: int,
        cells: NDArray[np.uint8],
        row: dict[str, object],
    ) -> None:
        """Add one patch of grey levels 0..255; `row` says where it is from (patient, ...).

        Raises ConfigError when the disk has no room."""
        at = len(self.rows)
        if at == len(self.labels):
            self._make_room(at + self._step)
        self.patches[at] = np.clip(np.round(patch), 0, 255)
        self.cells[at] = cells
        self.labels[at] = label
        self.rows.append(row)

    def save(self) -> None:
        """Make what was appended durable. Raises ConfigError when the disk has no room."""
        with self._told():
            for array in (self.patches, self.cells, self.labels):
                array.flush()
            with (self.folder / ROWS).open("r+b") as file:
                # What a killed run left behind the finished ones.
                file.truncate(self._rows_at)
                file.seek(self._rows_at)
                for row in self.rows[self._saved :]:
                    file.write(json.dumps(row).encode() + b"\n")
                rows_at = file.tell()
                file.flush()
                os.fsync(file.fileno())
            index = {
                **self._shape,
                "patches": len(self.rows),
                "rows_bytes": rows_at,
                "without_patches": self.without_patches,
            }
            aside = self.folder / "index.json.part"
            aside.write_text(json.dumps(index), "utf-8")
            aside.replace(self.folder / INDEX)
            self._saved, self._rows_at = len(self.rows), rows_at

    def _read(self) -> int:
        """The finished rows; where in `rows.jsonl` they end."""
        path = self.folder / INDEX
        if not path.exists():
            (self.folder / ROWS).touch()
            return 0
        try:
            index = json.loads(path.read_text("utf-8"))
            if "rows_bytes" not in index:
                raise ConfigError(f"{self.folder} is of an earlier version; take another folder")
            end = int(index["rows_bytes"])
            shape = {key: int(index[key]) for key in self._shape}
            with (self.folder / ROWS).open("rb") as file:
                self.rows = [json.loads(line) for line in file.read(end).splitlines()]
            self.without_patches = dict(index["without_patches"])
            if len(self.rows) != index["patches"] or not self._holds(len(self.rows), shape):
                raise KeyError(self.folder)
        except (ValueError, KeyError, FileNotFoundError) as error:
            raise ConfigError(
                f"{self.folder} is damaged; delete it, or take another folder"
            ) from error
        if shape != self._shape:
            raise ConfigError(
                f"{self.folder} holds patches of {shape}, not {self._shape}; take another folder"
            )
        return end

    def _holds(self, count: int, shape: Mapping[str, int]) -> bool:
        """Whether the files are as large as so many patches."""
        sizes = {
            "patches.u8": shape["patch_size"] ** 2,
            "cells.u8": shape["map_size"] ** 2,
            "labels.u8": 1,
        }
        return all(
            (self.folder / name).stat().st_size >= count * size for name, size in sizes.items()
        )

    def _make_room(self, rows: int) -> None:
        """For so many patches; on the disk, since writing to a map that finds none there would end
        the process."""
        size, cells = self._shape.values()
        self.patches = self._map("patches.u8", (rows, size, size))
        self.cells = self._map("cells.u8", (rows, cells, cells))
        self.labels = self._map("labels.u8", (rows,))

    def _map(self, name: str, shape: tuple[int, ...]) -> Mapped:
        path = self.folder / name
        with self._told(name):
            # Not opened to append: where a file system cannot reserve, the C library writes.
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                taken = os.fstat(file).st_size
                if prod(shape) > taken:
                    os.posix_fallocate(file, taken, prod(shape) - taken)
            finally:
                os.close(file)
            return np.memmap(path, np.uint8, mode="r+", shape=shape)

    @contextmanager
    def _told(self, name: str = "") -> Iterator[None]:
        """What the disk refuses, as a ConfigError."""
        try:
            yield
        except OSError as error:
            raise ConfigError(f"{self.folder / name}: {error.strerror or error}") from error
