"""The decoding process with a decoder that does what its codestream says: `python -m`, in tests."""

from __future__ import annotations

import ctypes
import os
import re
import signal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cadnode.dicom import decoder


def obey(codestream: bytes, order: decoder.Order) -> NDArray[np.uint16]:
    """A picture of ones, unless `codestream` names some misbehaviour."""
    wish, _, argument = codestream.decode().partition(" ")
    if wish == "crash":
        ctypes.string_at(0)
    elif wish == "loop":
        # Backtracks for longer than the world will last, in C and without letting go of the lock.
        re.match(r"(a+)+$", "a" * 64 + "b")
    elif wish == "eat":
        with decoder._translated():
            np.ones(int(argument), np.uint8)
    elif wish == "exit":
        os._exit(3)
    elif wish == "die" and not Path(argument).exists():
        Path(argument).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    elif wish == "shrink":
        return np.ones((1, 1), np.uint16)
    return np.ones((order.rows, order.columns), np.uint16)


if __name__ == "__main__":
    decoder.decoded = obey
    decoder.main()
