"""P-DATA-TF PDUs (PS3.8 section 9.3.5) taken apart where they lie, for the data set of one message.

Nothing is copied: what comes out are views of the bytes that went in.
"""

from __future__ import annotations

import struct

P_DATA_TF = 0x04
HEADER_BYTES = 6
"""Of a PDU, and of a fragment with its message control header."""

_COMMAND, _LAST = 0x01, 0x02
"""Bits of the message control header (PS3.8 annex E.2)."""

_CONTROL_BYTES = 2
"""Presentation context ID and message control header, which the length of a fragment counts."""

_PDU = struct.Struct(">BxI")
_FRAGMENT = struct.Struct(">IBB")


class DataSetParser:
    """Finds the data set of a message in what comes after its command set.

    Begins where a PDU does. `whole` is True when the last fragment has ended, `elsewhere` when a
    PDU begins that is not for this parser: of another kind, empty or beyond the limit.
    """

    def __init__(self, context_id: int, longest_pdu: int) -> None:
        self.whole = False
        self.elsewhere = False
        self.pdus = 0
        self._context_id = context_id
        self._longest_pdu = longest_pdu
        self._of_pdu = 0
        self._of_fragment = 0
        self._control = 0

    @property
    def within_pdu(self) -> bool:
        """Has a PDU begun that has not ended?"""
        return self._of_pdu + self._of_fragment > 0

    def feed(self, data: memoryview) -> tuple[list[memoryview], int]:
        """The pieces of the data set in `data`, and how many bytes of it were used.

        What was not used is half a header, or comes after the data set: to be fed once more. Raises
        ValueError for a fragment that is broken or belongs to something else.
        """
        pieces: list[memoryview] = []
        at, end = 0, len(data)
        while at < end or self._of_fragment == 0:
            if self.whole:
                break
            if self._of_fragment:
                size = min(self._of_fragment, end - at)
                pieces.append(data[at : at + size])
                at += size
                self._of_fragment -= size
                self.whole = self._of_fragment == 0 and bool(self._control & _LAST)
                continue
            if 0 < self._of_pdu < HEADER_BYTES:
                raise ValueError("a fragment longer than its PDU")
            if end - at < HEADER_BYTES:
                break
            if self._of_pdu:
                self._begin_fragment(*_FRAGMENT.unpack_from(data, at))
            else:
                kind, length = _PDU.unpack_from(data, at)
                self.elsewhere = kind != P_DATA_TF or not 0 < length <= self._longest_pdu
                if self.elsewhere:
                    break
                self._of_pdu = length
                self.pdus += 1
            at += HEADER_BYTES
        return pieces, at

    def unread_header(self) -> bytes:
        """What makes a PDU again of the rest of the one that has begun."""
        if not self.within_pdu:
            return b""
        if not self._of_fragment:
            return _PDU.pack(P_DATA_TF, self._of_pdu)
        header = _FRAGMENT.pack(self._of_fragment + _CONTROL_BYTES, self._context_id, self._control)
        return _PDU.pack(P_DATA_TF, len(header) + self._of_fragment + self._of_pdu) + header

    def _begin_fragment(self, length: int, context_id: int, control: int) -> None:
        if length < _CONTROL_BYTES or length + 4 > self._of_pdu:
            raise ValueError("a fragment longer than its PDU")
        if control & _COMMAND:
            raise ValueError("a command fragment within a data set")
        if context_id != self._context_id:
            raise ValueError("another presentation context within a message")
        self._of_pdu -= length + 4
        self._of_fragment = length - _CONTROL_BYTES
        self._control = control
        self.whole = self._of_fragment == 0 and bool(control & _LAST)
