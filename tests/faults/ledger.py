"""What a modality remembers: which images it sent, and which ones the node acknowledged."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SentImage:
    """One image as it left the modality."""

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    data_set: bytes
    """As it goes over the wire, in implicit little endian."""

    @property
    def sha256(self) -> str:
        """Of the Data Set, as the node's database names it."""
        return hashlib.sha256(self.data_set).hexdigest()


@dataclass
class Ledger:
    """Acknowledged images by SOP Instance UID; any thread may write."""

    _acknowledged: dict[str, SentImage] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, image: SentImage) -> None:
        """The node answered 0x0000 to this image."""
        with self._lock:
            self._acknowledged[image.sop_instance_uid] = image

    def has(self, image: SentImage) -> bool:
        """Was it acknowledged?"""
        with self._lock:
            return image.sop_instance_uid in self._acknowledged

    def images(self) -> Iterable[SentImage]:
        """Everything acknowledged so far."""
        with self._lock:
            return list(self._acknowledged.values())
