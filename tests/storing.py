"""How a picture becomes stored values: the inverse of what a reader has to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tests.pictures import Picture


@dataclass(frozen=True)
class Window:
    """A linear window (PS3.3 C.11.2.1.2.1); `function` None leaves VOI LUT Function out."""

    center: float
    width: float
    function: str | None = None

    @classmethod
    def whole(cls, bits_stored: int) -> Window:
        """All the values that `bits_stored` bits can hold."""
        return cls(2.0 ** (bits_stored - 1), 2.0**bits_stored)

    def store(self, shown: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values before the window that come out as `shown`."""
        if self.function == "LINEAR_EXACT":
            return (shown - 0.5) * self.width + self.center
        return (shown - 0.5) * (self.width - 1) + self.center - 0.5


@dataclass(frozen=True)
class Sigmoid:
    """A sigmoid window (PS3.3 C.11.2.1.3.1)."""

    center: float
    width: float
    function: str = "SIGMOID"

    def store(self, shown: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values before the window that come out as `shown`."""
        odds = np.log(np.clip(shown, 1e-6, 1 - 1e-6) / (1 - np.clip(shown, 1e-6, 1 - 1e-6)))
        return self.center + odds * self.width / 4


@dataclass(frozen=True)
class GammaLut:
    """A VOI LUT Sequence item: a power curve over `entries` values from `first` on."""

    first: int = 100
    entries: int = 3000
    bits: int = 16
    gamma: float = 1.5

    @property
    def table(self) -> NDArray[np.float64]:
        """The LUT in 0..1."""
        return np.linspace(0, 1, self.entries) ** self.gamma

    def store(self, shown: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values before the LUT that come out as `shown`."""
        return np.interp(shown, self.table, np.arange(self.entries)) + self.first


Voi = Window | Sigmoid | GammaLut


def stored_values(
    picture: Picture,
    voi: Voi | None,
    inverse: bool,
    bits_stored: int,
    raw: tuple[str, int] | None,
) -> NDArray[np.uint16]:
    """The values to store so that `picture` is shown; `raw` is relationship and sign instead.

    Raw data is exposure at the detector over two decades: `LIN` proportional to it, `LOG` to its
    logarithm; sign 1 rises with exposure, -1 falls with it (PS3.3 C.8.11.3.1.2).
    """
    highest = 2.0**bits_stored - 1
    shown = picture.astype(np.float64)
    if raw is not None:
        relationship, sign = raw
        response = 10 ** (-2 * shown) if relationship == "LIN" else 1 - shown
        values = highest * (response if sign == 1 else 1 - response)
    else:
        shown = 1 - shown if inverse else shown
        values = voi.store(shown) if voi is not None else shown * highest
    return np.clip(np.rint(values), 0, highest).astype(np.uint16)


def add_voi(dataset: Dataset, vois: Sequence[Voi], bits_stored: int) -> None:
    """Write the VOI LUT module (PS3.3 C.11.2)."""
    windows = [voi for voi in vois if isinstance(voi, Window | Sigmoid)]
    tables = [voi for voi in vois if isinstance(voi, GammaLut)]
    if windows:
        dataset.WindowCenter = [voi.center for voi in windows]
        dataset.WindowWidth = [voi.width for voi in windows]
        if windows[0].function is not None:
            dataset.VOILUTFunction = windows[0].function
    if tables:
        dataset.VOILUTSequence = [_item(table) for table in tables]


def _item(voi: GammaLut) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [voi.entries, voi.first, voi.bits]
    item["LUTDescriptor"].VR = "US"
    values = np.rint(voi.table * (2**voi.bits - 1)).astype("<u2")
    item.LUTExplanation = "NORMAL"
    item.add_new(0x00283006, "OW", values.tobytes())
    return item
