"""What a runtime gives: the network, loaded in one precision."""

from __future__ import annotations

from typing import NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ModelUnfit
from cadnode.core.model import RunsOn


class Engine(Protocol):
    """One network in one runtime and one precision."""

    @property
    def runs_on(self) -> RunsOn: ...

    @property
    def batch(self) -> int:
        """How many patches at once it is quickest with."""
        ...

    def run(self, patches: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities (n,) and maps (n, rows, columns) of 1 to `batch` patches."""
        ...


def unfit(library: str, error: Exception) -> NoReturn:
    """Raise ModelUnfit with the first line of what the library says."""
    said = str(error).strip().partition("\n")[0] or type(error).__name__
    raise ModelUnfit(f"{library}: {said}") from error
