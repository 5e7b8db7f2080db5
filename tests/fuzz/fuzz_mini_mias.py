"""`Info.txt` of mini-MIAS."""

from __future__ import annotations

import contextlib

from cadnode.core.errors import ConfigError
from cadnode.training.mini_mias import read_info
from tests.fuzz.scratch import Scratch

LONGEST = 1024

_scratch = Scratch()


def seeds() -> list[bytes]:
    return [
        b"mdb001 G CIRC B 535 425 197\nmdb003 D NORM\nmdb209 G CALC M 647 503 87\n",
        b"mdb226 D CALC B 287 610 7\nmdb226 D CALC B 329 550 25\nmdb216 D CALC M *NOTE 3*\n",
    ]


def one_input(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        for film in read_info(_scratch.holding(data)):
            assert film.patient
