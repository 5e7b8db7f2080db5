"""What a runtime gives: the network, loaded in one precision."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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
