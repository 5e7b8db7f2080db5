"""What a runtime gives: the network, loaded in one precision."""

from __future__ import annotations

from typing import NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from cadnode.core.errors import ModelUnfit
from cadnode.core.model import RunsOn

_WHERE = ("Exception from ", "Check '")
"""How lines of OpenVINO begin that name a place in its source."""


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
    """Raise ModelUnfit with the first line that the library says about the matter."""
    lines = (line.strip() for line in str(error).splitlines())
    said = next(
        (line for line in lines if line and not line.startswith(_WHERE) and line[-1] != ":"), None
    )
    raise ModelUnfit(f"{library}: {said or type(error).__name__}") from error
