"""A running receiver with a simple place to keep what it gets."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cadnode.core.jobs import Acceptance
from cadnode.dimse.scp import ScpSettings, StorageScp
from cadnode.dimse.storing import IncomingObject


@dataclass
class Receiver:
    """The receiver under test; `before_keeping` runs first for each object and may raise."""

    folder: Path
    scp: StorageScp = field(init=False)
    objects: list[IncomingObject] = field(default_factory=list)
    before_keeping: Callable[[IncomingObject], None] = lambda _object: None
    room: Callable[[int], bool] = lambda _size: True
    _hashes: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def port(self) -> int:
        return self.scp.port

    def kept(self) -> dict[str, Path]:
        """By SOP Instance UID: the kept files."""
        return {path.stem: path for path in (self.folder / "kept").glob("*.dcm")}

    def partial(self) -> list[Path]:
        """What lies in the incoming folder."""
        return list((self.folder / "incoming").iterdir())

    def receive(self, incoming: IncomingObject) -> Acceptance:
        """Keep each SOP instance once."""
        self.before_keeping(incoming)
        digest = hashlib.sha256(incoming.path.read_bytes()).hexdigest()
        with self._lock:
            self.objects.append(incoming)
            known = self._hashes.setdefault(incoming.sop_instance_uid, digest)
            if len(self.kept()) == len(self._hashes):
                return Acceptance.SAME if known == digest else Acceptance.CONFLICT
            incoming.path.rename(self.folder / "kept" / f"{incoming.sop_instance_uid}.dcm")
        return Acceptance.NEW


@contextmanager
def receiver(folder: Path, **settings: Any) -> Iterator[Receiver]:
    """A receiver on a free port that knows everybody, unless `settings` say otherwise."""
    (folder / "kept").mkdir()
    running = Receiver(folder)
    no_tls = settings.pop("no_tls", lambda _address, _why: None)
    chosen: dict[str, Any] = {"accept_unknown": True, **settings}
    running.scp = StorageScp(
        ScpSettings("CADNODE", "127.0.0.1", 0, incoming_dir=folder / "incoming", **chosen),
        running.receive,
        lambda size: running.room(size),
        no_tls=no_tls,
    )
    running.scp.start()
    try:
        yield running
    finally:
        running.scp.stop()
