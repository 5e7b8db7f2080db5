"""An archive that misbehaves as it is told, once for each fault that it was armed with.

Made of plain sockets, so that it can do what no toolkit will. What it stores it keeps in memory
with what it says of itself, for the oracle.
"""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from types import TracebackType

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from tests.faults.encoding import encoded
from tests.faults.plan import Fault, Kind
from tests.integration import pdus

_ASSOCIATION_KINDS = frozenset({Kind.ARCHIVE_REJECTS})
_TRANSIENT_REJECTION = (2, 3, 1)
"""Rejected-transient by the presentation service: temporary congestion (PS3.8 table 9-21)."""
_STATUSES = {Kind.ARCHIVE_A700: 0xA700, Kind.ARCHIVE_C000: 0xC000, Kind.ARCHIVE_B000: 0xB000}
_UNSTORED = frozenset(
    {
        Kind.ARCHIVE_CLOSES_UNSTORED,
        Kind.ARCHIVE_A700,
        Kind.ARCHIVE_C000,
        Kind.ARCHIVE_LOSES,
        Kind.ARCHIVE_SILENT,
    }
)
_STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
"""Not offered: what the archive holds is proved by C-FIND."""
_C_FIND_RQ, _C_FIND_RSP, _PENDING = 0x0020, 0x8020, 0xFF00
_SILENCE_SECONDS = 60.0
_LISTEN_SECONDS = 0.2


@dataclass(frozen=True)
class Held:
    """One object in the archive; `contents` are the hashes of every data set it came with."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    predecessors: frozenset[str]
    """SOP Instance UIDs of its Predecessor Documents (PS3.3 C.17.2)."""
    contents: frozenset[str]


@dataclass
class Archive:
    """Listens on a port of its own on loopback."""

    name: str
    fired: Callable[[Fault], None]
    """Called when a fault it was armed with has happened."""

    def __post_init__(self) -> None:
        self.held: dict[str, Held] = {}
        self._armed: deque[Fault] = deque()
        self._lock = threading.Lock()
        self._one_at_a_time = threading.Lock()
        self._stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0

    @property
    def ae_title(self) -> str:
        """Its AE title."""
        return self.name.upper()

    def __enter__(self) -> Archive:
        self._listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._hang_up()

    def arm(self, fault: Fault) -> None:
        """Let this fault happen to one of the next associations or objects."""
        with self._lock:
            self._armed.append(fault)

    def disarm(self) -> None:
        """Be a good archive from now on."""
        with self._lock:
            self._armed.clear()

    def down(self, seconds: float) -> None:
        """Cut every connection and refuse new ones for a while."""
        with self._one_at_a_time:
            self._hang_up()
            self._stopping.wait(seconds)
            if not self._stopping.is_set():
                self._listen()

    # ---- connections -----------------------------------------------------------------------

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _hang_up(self) -> None:
        with self._lock:
            listener, self._listener = self._listener, None
            sockets = [*self._connections, *([listener] if listener else [])]
        for sock in sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if listener is not None:
            listener.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                kind, request = pdus.read_pdu(connection)
                if kind == pdus.ASSOCIATE_RQ and self._negotiate(connection, request):
                    _Conversation(self, connection, request).run()
        except OSError:
            # The node gave up or was killed.
            return
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _negotiate(self, connection: socket.socket, request: bytes) -> bool:
        fault = self.take(association=True)
        if fault is not None:
            connection.sendall(pdus.associate_rj(*_TRANSIENT_REJECTION))
            self.fired(fault)
            return False
        connection.sendall(pdus.associate_ac(request, (_STORAGE_COMMITMENT,)))
        return True

    # ---- objects ---------------------------------------------------------------------------

    def take(self, *, association: bool) -> Fault | None:
        """The next fault, if it is one of this sort."""
        with self._lock:
            if self._armed and (self._armed[0].kind in _ASSOCIATION_KINDS) is association:
                return self._armed.popleft()
            return None

    def keep(self, data_set: bytes, implicit: bool) -> None:
        """Store an object; the same one again adds nothing but its hash."""
        parsed = read_dataset(BytesIO(data_set), implicit, True)
        held = held_object(parsed, hashlib.sha256(data_set).hexdigest())
        with self._lock:
            before = self.held.get(held.sop_instance_uid, held)
            self.held[held.sop_instance_uid] = Held(
                held.sop_class_uid,
                held.sop_instance_uid,
                held.study_instance_uid,
                held.predecessors,
                before.contents | held.contents,
            )

    def silence(self) -> None:
        """Say nothing for longer than anybody waits."""
        self._stopping.wait(_SILENCE_SECONDS)


def held_object(dataset: Dataset, content: str) -> Held:
    """What an SR object says of itself."""
    predecessors = {
        str(instance.ReferencedSOPInstanceUID)
        for study in dataset.get("PredecessorDocumentsSequence") or []
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    return Held(
        str(dataset.SOPClassUID),
        str(dataset.SOPInstanceUID),
        str(dataset.StudyInstanceUID),
        frozenset(predecessors),
        frozenset({content}),
    )


class _Conversation:
    """One accepted association."""

    def __init__(self, archive: Archive, connection: socket.socket, request: bytes) -> None:
        self._archive = archive
        self._connection = connection
        self._implicit = {
            context.context_id: context.transfer_syntax_uids[0] == pdus.IMPLICIT_LITTLE_ENDIAN
            for context in pdus.proposed_contexts(request)
        }
        self._fault: Fault | None = None
        self._elements: dict[int, bytes] = {}
        self._command, self._data_set = b"", bytearray()

    def run(self) -> None:
        """Until the release, the end of the connection or a fault that ends it."""
        while True:
            kind, body = pdus.read_pdu(self._connection)
            if kind == pdus.RELEASE_RQ:
                self._connection.sendall(pdus.release_rp())
            if kind != pdus.P_DATA:
                return
            for context_id, control, data in pdus.fragments(body):
                take = self._take_command if control & 1 else self._take_data
                if not take(context_id, bool(control & 2), data):
                    return

    def _take_command(self, context_id: int, last: bool, data: bytes) -> bool:
        self._command, self._data_set = self._command + data, bytearray()
        if not last:
            return True
        self._elements, self._command = pdus.command_elements(self._command), b""
        if self._kind == pdus.C_ECHO_RQ:
            self._answer(context_id, pdus.C_ECHO_RSP, 0x0000)
            return True
        if self._kind == pdus.C_STORE_RQ:
            self._fault = self._archive.take(association=False)
        return True

    @property
    def _kind(self) -> int:
        return int.from_bytes(self._elements[0x0100], "little")

    def _take_data(self, context_id: int, last: bool, data: bytes) -> bool:
        fault = self._fault
        if fault is not None and fault.kind is Kind.ARCHIVE_ABORTS:
            self._connection.sendall(pdus.abort())
            self._archive.fired(fault)
            return False
        self._data_set += data
        if not last:
            return True
        if self._kind == _C_FIND_RQ:
            self._find(context_id)
            return True
        return self._end_of_object(context_id)

    def _find(self, context_id: int) -> None:
        """Name the object that is asked for, if it is here (PS3.4 C.4.1)."""
        asked = read_dataset(BytesIO(self._data_set), self._implicit[context_id], True)
        held = self._archive.held.get(str(asked.SOPInstanceUID))
        if held is not None:
            found = Dataset()
            found.QueryRetrieveLevel = "IMAGE"
            found.SOPInstanceUID = held.sop_instance_uid
            found.StudyInstanceUID = held.study_instance_uid
            self._answer(context_id, _C_FIND_RSP, _PENDING, has_data_set=True)
            content = encoded(found, implicit=self._implicit[context_id])
            self._connection.sendall(pdus.fragment(context_id, content, command=False, last=True))
        self._answer(context_id, _C_FIND_RSP, 0x0000)

    def _end_of_object(self, context_id: int) -> bool:
        fault, self._fault = self._fault, None
        if fault is None:
            self._archive.keep(bytes(self._data_set), self._implicit[context_id])
            self._answer(context_id, pdus.C_STORE_RSP, 0x0000)
            return True
        if fault.kind not in _UNSTORED:
            self._archive.keep(bytes(self._data_set), self._implicit[context_id])
        self._archive.fired(fault)
        match fault.kind:
            case Kind.ARCHIVE_SILENT:
                self._archive.silence()
                return False
            case Kind.ARCHIVE_CLOSES_UNSTORED | Kind.ARCHIVE_CLOSES_STORED:
                return False
            case Kind.ARCHIVE_SLOW:
                time.sleep(fault.seconds)
        self._answer(context_id, pdus.C_STORE_RSP, _STATUSES.get(fault.kind, 0x0000))
        return fault.kind is not Kind.ARCHIVE_CLOSES_ANSWERED

    def _answer(
        self, context_id: int, kind: int, status: int, *, has_data_set: bool = False
    ) -> None:
        elements: list[tuple[int, int | str]] = [
            (0x0002, self._elements[0x0002].rstrip(b"\x00").decode()),
            (0x0100, kind),
            (0x0120, int.from_bytes(self._elements[0x0110], "little")),
            (0x0800, pdus.HAS_DATA_SET if has_data_set else pdus.NO_DATA_SET),
            (0x0900, status),
        ]
        if 0x1000 in self._elements:
            elements.append((0x1000, self._elements[0x1000].rstrip(b"\x00").decode()))
        command = pdus.command(*elements)
        self._connection.sendall(pdus.fragment(context_id, command, command=True, last=True))
