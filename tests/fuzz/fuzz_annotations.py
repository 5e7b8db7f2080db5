"""A site's CSV of outlines."""

from __future__ import annotations

import contextlib

from cadnode.core.errors import ConfigError
from cadnode.training.annotation_files import read_csv
from tests.fuzz.scratch import Scratch

LONGEST = 2048

_scratch = Scratch()


def seeds() -> list[bytes]:
    return [
        b"sop_instance_uid,shape,points\n1.2.3,circle,10 20 5\n1.2.4,,\n",
        b'sop_instance_uid,shape,points\r\n"1.2.3",polygon,"1 2;3 4;5 6.5"\r\n',
        b"\xef\xbb\xbfshape,points,sop_instance_uid,more\npolygon,1 1 2 2 3 1,1.2,x\n",
    ]


def one_input(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        read_csv(_scratch.holding(data))
