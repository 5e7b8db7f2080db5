"""Patches on disk: cut once, read by memory map, so that training needs little memory."""

from __future__ import annotations

import json
import os
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ConfigError

Mapped = np.memmap[tuple[int, ...], np.dtype[np.uint8]]
STEP = 16 << 20
"""Bytes of patches by which the room grows."""


class PatchCache:
    """A folder with `patches.u8`, its truth, and a line for each patch in `rows.jsonl`; grows by
    `append`, survives a kill.

    The number of finished patches stands in `index.json`, written last: whatever a killed run
    left beyond it is overwritten.
    """

    def __init__(self, folder: Path, *, patch_size: int, map_size: int) -> None:
        """Open the folder, or make it. Raises ConfigError when it holds patches of another shape
        or the disk has no room."""
        self.folder = folder
        self._shape = {"patch_size": patch_size, "map_size": map_size}
        self._step = max(16, STEP // patch_size**2)
        self.rows: list[dict[str, object]] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._rows_at = self._read()
        self._saved = len(self.rows)
        self._make_room()

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
            self._make_room()
        self.patches[at] = np.clip(np.round(patch), 0, 255)
        self.cells[at] = cells
        self.labels[at] = label
        self.rows.append(row)

    def save(self) -> None:
        """Make what was appended durable."""
        for array in (self.patches, self.cells, self.labels):
            array.flush()
        with (self.folder / "rows.jsonl").open("r+b") as file:
            # What a killed run left behind the finished ones.
            file.truncate(self._rows_at)
            file.seek(self._rows_at)
            for row in self.rows[self._saved :]:
                file.write(json.dumps(row).encode() + b"\n")
            self._rows_at = file.tell()
        self._saved = len(self.rows)
        index = {**self._shape, "patches": self._saved, "rows_bytes": self._rows_at}
        aside = self.folder / "index.json.part"
        aside.write_text(json.dumps(index), "utf-8")
        aside.replace(self.folder / "index.json")

    def _read(self) -> int:
        """The finished rows; where in `rows.jsonl` they end."""
        path = self.folder / "index.json"
        (self.folder / "rows.jsonl").touch()
        if not path.exists():
            return 0
        index = json.loads(path.read_text("utf-8"))
        shape = {key: index.get(key) for key in self._shape}
        if shape != self._shape:
            raise ConfigError(
                f"{self.folder} holds patches of {shape}, not {self._shape}; take another folder"
            )
        end = int(index["rows_bytes"])
        with (self.folder / "rows.jsonl").open("rb") as file:
            self.rows = [json.loads(line) for line in file.read(end).splitlines()]
        return end

    def _make_room(self) -> None:
        """For one step more; on the disk, since writing to a map that finds none there would end
        the process."""
        rows, size, cells = len(self.rows) + self._step, *self._shape.values()
        self.patches = self._map("patches.u8", (rows, size, size))
        self.cells = self._map("cells.u8", (rows, cells, cells))
        self.labels = self._map("labels.u8", (rows,))

    def _map(self, name: str, shape: tuple[int, ...]) -> Mapped:
        path = self.folder / name
        try:
            with path.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, prod(shape))
            return np.memmap(path, np.uint8, mode="r+", shape=shape)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
