"""Pyramids kept in memory as long as there is room; those not looked at for longest go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cadnode.pictures.pyramid import Pyramid


class PyramidCache:
    """At most `limit_bytes` of decoded images, but always the one decoded last."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[str, Pyramid] = OrderedDict()
        self._lock = threading.Lock()
        self._decoding: dict[str, threading.Lock] = {}

    @property
    def bytes(self) -> int:
        """What is kept now comes to."""
        with self._lock:
            return sum(pyramid.size for pyramid in self._kept.values())

    def get(self, key: str, decode: Callable[[], NDArray[np.uint8]]) -> Pyramid:
        """The pyramid of the image named `key`, decoded unless it is kept. Raises what `decode`
        raises."""
        found = self._look(key)
        if found is not None:
            return found
        # Many tiles of one image are asked for at once, before any is there.
        with self._lock:
            decoding = self._decoding.setdefault(key, threading.Lock())
        with decoding:
            found = self._look(key)
            if found is None:
                try:
                    found = Pyramid(decode())
                    self._keep(key, found)
                finally:
                    with self._lock:
                        self._decoding.pop(key, None)
            return found

    def _look(self, key: str) -> Pyramid | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def _keep(self, key: str, pyramid: Pyramid) -> None:
        with self._lock:
            self._kept[key] = pyramid
            total = sum(kept.size for kept in self._kept.values())
            while total > self._limit and len(self._kept) > 1:
                _, gone = self._kept.popitem(last=False)
                total -= gone.size
