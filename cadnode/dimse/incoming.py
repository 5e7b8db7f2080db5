"""Receiving data sets straight into files, fragment by fragment, without decoding them.

pynetdicom's own chunked receiving spools to the system's temporary folder, aborts when the disk is
full, and believes a command set of any length. The provider here takes its place on associations
that the node accepts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import struct
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.pdu_primitives import P_DATA

from cadnode.core.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from cadnode.dimse.admission import Bucket, Peer
from cadnode.dimse.hashing import BesideHash
from cadnode.dimse.transport import LONGEST_IDLE_WAIT, idle_wait

PARTIAL_SUFFIX = ".part"

LONGEST_COMMAND_SET = 1 << 16
LONGEST_IDENTIFIER = 1 << 20
"""Bytes; the data set of anything but C-STORE, which is held in memory."""

LONGEST_OBJECT = 4 << 30
"""Bytes, where nothing else is set: what the pixels of one uncompressed object can be at most."""

NOT_AUTHORIZED = 0x0124
OUT_OF_RESOURCES = 0xA700
TOO_LARGE = 0xC001
"""Of the range "cannot understand": an answer out of 0xA7xx would make the sender try for ever."""

MOST_UNANSWERED = 100
MOST_UNANSWERED_BYTES = LONGEST_IDENTIFIER + LONGEST_COMMAND_SET
"""Requests of one association that wait for their turn, without objects; a good sender has one."""

BREATH = 1.0
"""Seconds of one wait of a sender that is held back; the connection is seen to live in between."""

ROOM_STEP = 64 << 20
"""Bytes; the room for another object is asked for in steps of this size."""

MOST_PIECES = os.sysconf("SC_IOV_MAX")
"""What the system writes in one call."""

FLUSH_STEP = 4 << 20
"""Bytes after which an object on its way in begins to go to the disk."""

BROKEN_MESSAGE = (ValueError, KeyError, TypeError, AttributeError, EOFError, struct.error)
"""What a message that breaks the rules makes pynetdicom and us raise."""


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, prefix and File Meta Information (PS3.10 section 7.1).

    Nothing in it depends on the sender, the time or a library's version: the same object received
    twice gives the same file.
    """

    def element(number: int, vr: bytes, value: bytes) -> bytes:
        return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value

    def text(number: int, vr: bytes, value: str, padding: bytes) -> bytes:
        raw = value.encode("ascii")
        return element(number, vr, raw + padding * (len(raw) % 2))

    body = (
        struct.pack("<HH2sHI2s", 0x0002, 0x0001, b"OB", 0, 2, b"\x00\x01")
        + text(0x0002, b"UI", sop_class_uid, b"\x00")
        + text(0x0003, b"UI", sop_instance_uid, b"\x00")
        + text(0x0010, b"UI", transfer_syntax_uid, b"\x00")
        # Ours, not pynetdicom's: the same object received twice must give the same bytes.
        + text(0x0012, b"UI", IMPLEMENTATION_CLASS_UID, b"\x00")
        + text(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME, b" ")
    )
    group_length = element(0x0000, b"UL", struct.pack("<I", len(body)))
    return b"\x00" * 128 + b"DICM" + group_length + body


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an object is not kept: the DICOM status of the answer, and its comment."""

    status: int
    comment: str


class IncomingFile:
    """One object on its way in: a DICOM file (PS3.10) that grows by fragments.

    `failure` says why it cannot be kept; what still comes is then read and dropped, so that the
    sender gets an answer in place of an abort. `max_bytes` is what its data set may have.
    """

    def __init__(
        self,
        folder: Path,
        meta: bytes,
        max_bytes: int = LONGEST_OBJECT,
        failure: Failure | None = None,
    ) -> None:
        self.path = folder / f"{uuid.uuid4().hex}{PARTIAL_SUFFIX}"
        self.data_set_offset = len(meta)
        self.size = 0
        self.failure = failure
        self._max_bytes = max_bytes
        self._next_room_check = 0
        self._digest = BesideHash()
        self._flushed = 0
        # An association can end, and its file be removed, while the upper layer writes to it.
        self._lock = threading.Lock()
        self._file: FileIO | None = None
        if failure is not None:
            return
        try:
            self._file = FileIO(self.path, "xb")
            self._file.write(meta)
        except OSError as error:
            self._fail(error)

    @property
    def sha256(self) -> str:
        """Of the data set so far, in hex."""
        return self._digest.hexdigest()

    def write(self, pieces: Sequence[memoryview], room: Callable[[int], bool]) -> None:
        """Add what came; never raises for a full or broken disk. `pieces` may be overwritten after
        the next call, not earlier.

        Raises ValueError when the sender goes on and on with an object that is too large anyhow.
        """
        self.size += sum(len(piece) for piece in pieces)
        if self.size > 2 * self._max_bytes:
            raise ValueError("an object without end")
        if self._file is None:
            return
        if self.size > self._max_bytes:
            text = f"larger than the {self._max_bytes >> 20} MB that are taken"
            self._give_up(Failure(TOO_LARGE, text))
            return
        if self.size > self._next_room_check:
            self._next_room_check = self.size + ROOM_STEP
            if not room(ROOM_STEP):
                self._give_up(Failure(OUT_OF_RESOURCES, "no room in the spool"))
                return
        try:
            with self._lock:
                if self._file is not None:
                    self._append(self._file, pieces)
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Hand the last bytes to the operating system."""
        try:
            self._close()
        except OSError as error:
            self._fail(error)

    def remove(self) -> None:
        """Delete what is still in the incoming folder."""
        try:
            self._close()
        except OSError:
            self.failure = self.failure or Failure(OUT_OF_RESOURCES, "closing failed")
        self.path.unlink(missing_ok=True)

    def _append(self, file: FileIO, pieces: Sequence[memoryview]) -> None:
        for first in range(0, len(pieces), MOST_PIECES):
            _write(file, pieces[first : first + MOST_PIECES])
        self._digest.update(pieces)
        if self.size - self._flushed >= FLUSH_STEP:
            # Starts to write it out; the sync at the end has less to wait for.
            os.posix_fadvise(
                file.fileno(), self._flushed, self.size - self._flushed, os.POSIX_FADV_DONTNEED
            )
            self._flushed = self.size

    def _close(self) -> None:
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _fail(self, error: OSError) -> None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        text = "the disk is full" if full else os.strerror(error.errno or errno.EIO)
        self._give_up(Failure(OUT_OF_RESOURCES, text))

    def _give_up(self, why: Failure) -> None:
        self.failure = why
        self.remove()


def _write(file: FileIO, pieces: Sequence[memoryview]) -> None:
    written = os.writev(file.fileno(), pieces)
    # A disk that fills up takes a part; the next write says why.
    for piece in pieces:
        rest, written = piece[written:], max(0, written - len(piece))
        while rest:
            rest = rest[file.write(rest) :]


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the sender on one association may do."""

    peer: Peer
    bucket: Bucket | None = None


class SpoolingProvider(DIMSEServiceProvider):
    """The DIMSE provider of an accepted association: C-STORE data sets go to files.

    Runs in the upper layer's thread, but for `take`, which the handler calls. `allowance` is set
    when the association is accepted; without one there is no limit but `LONGEST_OBJECT`. `ending`
    wakes a sender's thread that is held back.
    """

    def __init__(self, assoc: Association, folder: Path, room: Callable[[int], bool]) -> None:
        super().__init__(assoc)
        self.allowance: Allowance | None = None
        self.ending = threading.Event()
        self._folder = folder
        self._room = room
        self._lock = threading.Lock()
        self._growing: IncomingFile | None = None
        self._whole: dict[Path, IncomingFile] = {}
        self._discarded = False
        self._unanswered_bytes = 0
        self._quiet_since = time.monotonic()

    def get_msg(self, block: bool = False) -> Any:
        """The next message; an idle association looks less often than pynetdicom's 1000 Hz."""
        if block:
            return super().get_msg(block=True)
        wait = idle_wait(self._quiet_since) if self.dul.peek_next_pdu() is None else 0.0
        if wait and self._growing is not None:
            # Nothing is to be done before the object is whole, and that ends the wait.
            wait = LONGEST_IDLE_WAIT
        try:
            return self.msg_queue.get(block=wait > 0, timeout=wait)
        except queue.Empty:
            return None, None

    @property
    def streams(self) -> int | None:
        """The presentation context whose data set goes to a file at this moment."""
        message = self.message
        return None if self._growing is None or message is None else message.context_id

    def take_pieces(self, pieces: Sequence[memoryview], *, last: bool) -> None:
        """Take in what came of the data set of `streams`, without the headers around it.

        `last`: it is whole with this. Raises one of `BROKEN_MESSAGE` when that ends the association.
        """
        self._quiet_since = time.monotonic()
        self._hold_back(sum(len(piece) for piece in pieces))
        growing, message = self._growing, self.message
        if growing is None or message is None:
            return
        growing.write(pieces, self._room)
        if last:
            growing.close()
            self.message = None
            self._finish(growing, message)

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take in one P-DATA; a message that breaks the rules ends the association."""
        self._quiet_since = time.monotonic()
        values = primitive.presentation_data_value_list
        self._hold_back(sum(len(fragment) for _, fragment in values))
        try:
            for context_id, fragment in values:
                if self._growing is None:
                    self._take_command(context_id, fragment)
                else:
                    self._take_data(context_id, fragment)
        except BROKEN_MESSAGE:
            self.discard()
            self.dul.event_queue.put("Evt19")

    def take(self, path: Path | None) -> IncomingFile | None:
        """The whole object at `path`, which is the caller's from now on."""
        with self._lock:
            return None if path is None else self._whole.pop(path, None)

    def discard(self) -> None:
        """Delete what has not been handed to the handler: the connection has ended."""
        self.ending.set()
        with self._lock:
            self._discarded = True
            left = [*self._whole.values(), *([self._growing] if self._growing else [])]
            self._whole.clear()
            self._growing = None
        for incoming in left:
            incoming.remove()
        with contextlib.suppress(queue.Empty):
            while True:
                self.msg_queue.get_nowait()

    def _take_command(self, context_id: int, fragment: bytes) -> None:
        waiting = self.msg_queue.qsize()
        if not waiting and self.message is None:
            self._unanswered_bytes = 0
        self._unanswered_bytes += len(fragment)
        too_much = waiting > 0 and self._unanswered_bytes > MOST_UNANSWERED_BYTES
        if too_much or waiting > MOST_UNANSWERED:
            raise ValueError("requests faster than they can be answered")
        single = P_DATA()
        single.presentation_data_value_list.append((context_id, fragment))
        super().receive_primitive(single)
        message = self.message
        if message is None:
            return
        if message.encoded_command_set.tell() > LONGEST_COMMAND_SET:
            raise ValueError("a command set beyond the limit")
        if isinstance(message, C_STORE_RQ):
            accepted = {cx.context_id: cx for cx in self.assoc.accepted_contexts}
            meta = file_meta(
                str(message.command_set.get("AffectedSOPClassUID") or ""),
                str(message.command_set.get("AffectedSOPInstanceUID") or ""),
                str(accepted[context_id].transfer_syntax[0]),
            )
            with self._lock:
                if not self._discarded:
                    self._growing = self._new_file(meta)
        elif message.data_set is not None and message.data_set.tell() > LONGEST_IDENTIFIER:
            raise ValueError("an identifier beyond the limit")

    def _new_file(self, meta: bytes) -> IncomingFile:
        if self.allowance is None:
            return IncomingFile(self._folder, meta)
        peer = self.allowance.peer
        refused = Failure(NOT_AUTHORIZED, "this AE title may not store here")
        return IncomingFile(
            self._folder,
            meta,
            max_bytes=peer.limits.max_object_bytes or LONGEST_OBJECT,
            failure=None if peer.may_store else refused,
        )

    def _hold_back(self, size: int) -> None:
        """Read no further until the sender's bytes a minute allow it; TCP makes it wait."""
        if self.allowance is None or self.allowance.bucket is None:
            return
        left = self.allowance.bucket.wait_after(size, time.monotonic())
        while left > 0 and not self.ending.wait(min(left, BREATH)):
            left -= BREATH
            # Else pynetdicom takes a sender that we hold back for one that has fallen silent.
            self.dul._idle_timer.restart()

    def _take_data(self, context_id: int, fragment: bytes) -> None:
        growing, message = self._growing, self.message
        if growing is None or message is None or fragment[0] & 1:
            raise ValueError("a command fragment within a data set")
        if context_id != message.context_id:
            raise ValueError("another presentation context within a message")
        growing.write([memoryview(fragment)[1:]], self._room)
        if fragment[0] & 2:
            growing.close()
            self.message = None
            self._finish(growing, message)

    def _finish(self, incoming: IncomingFile, message: DIMSEMessage) -> None:
        with self._lock:
            self._growing = None
            if self._discarded:
                incoming.remove()
                return
            self._whole[incoming.path] = incoming
        message._data_set_path = incoming.path
        request: Any = message.message_to_primitive()
        self.msg_queue.put((message.context_id or 0, request))
