"""Patches on disk: cut once, read by memory map, so that training needs little memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ConfigError


class PatchCache:
    """A folder with `patches.u8` and its truth; grows by `append`, survives a kill.

    The number of finished patches stands in `index.json`, written last: whatever a killed run
    left beyond it is overwritten.
    """

    def __init__(self, folder: Path, *, patch_size: int, map_size: int, capacity: int) -> None:
        """Open the folder, or make it with room for `capacity` patches (a sparse file)."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        index = folder / "index.json"
        shape = {"patch_size": patch_size, "map_size": map_size}
        self.rows: list[dict[str, object]] = []
        if index.exists():
            known = json.loads(index.read_text("utf-8"))
            if known["shape"] != shape:
                raise ConfigError(f"{folder} holds patches of {known['shape']}, not {shape}")
            self.rows = known["rows"]
            capacity = known["capacity"]
        self._shape, self.capacity = shape, capacity
        self.patches = self._map("patches.u8", (capacity, patch_size, patch_size))
        self.cells = self._map("cells.u8", (capacity, map_size, map_size))
        self.labels = self._map("labels.u8", (capacity,))

    def __len__(self) -> int:
        return len(self.rows)

    def append(
        self,
        patch: NDArray[np.float32],
        label: int,
        cells: NDArray[np.uint8],
        row: dict[str, object],
    ) -> None:
        """Add one patch of grey levels 0..255; `row` says where it is from (patient, ...)."""
        at = len(self.rows)
        self.patches[at] = np.clip(np.round(patch), 0, 255)
        self.cells[at] = cells
        self.labels[at] = label
        self.rows.append(row)

    def save(self) -> None:
        """Make what was appended durable."""
        for array in (self.patches, self.cells, self.labels):
            array.flush()
        aside = self.folder / "index.json.part"
        aside.write_text(
            json.dumps({"shape": self._shape, "capacity": self.capacity, "rows": self.rows}),
            "utf-8",
        )
        aside.replace(self.folder / "index.json")

    def _map(
        self, name: str, shape: tuple[int, ...]
    ) -> np.memmap[tuple[int, ...], np.dtype[np.uint8]]:
        path = self.folder / name
        mode = "r+" if path.exists() else "w+"
        return np.memmap(path, np.uint8, mode=mode, shape=shape)  # type: ignore[call-overload, no-any-return]
