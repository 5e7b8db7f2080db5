"""The data sets of storage commitment (PS3.4 annex J.3): written, and read with suspicion."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID
from pynetdicom.dsutils import decode, encode
from pynetdicom.presentation import PresentationContext, build_context

from cadnode.core.commitment import CommitmentItem
from cadnode.core.errors import UnreadableObject
from cadnode.core.proof import PROCESSING_FAILURE, CommitmentReport
from cadnode.dimse.contexts import UNCOMPRESSED_TRANSFER_SYNTAXES
from cadnode.dimse.identifiers import UNPARSABLE

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
"""Storage Commitment Push Model SOP Class."""

PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
"""Its well-known SOP Instance UID."""

REQUEST_COMMITMENT = 1
"""Action Type ID (PS3.4 table J.3-1)."""

ALL_COMMITTED = 1
FAILURES_EXIST = 2
"""Event Type IDs (PS3.4 table J.3-2)."""

MOST_ITEMS = 20_000
"""Objects of one transaction."""

_ITEM = b"\xfe\xff\x00\xe0"
"""The tag that begins an item (PS3.5 section 7.5), in little endian."""

_one_at_a_time = threading.Lock()
"""What is parsed takes a hundred times the room of its bytes, and all of the interpreter."""

_UID = re.compile(rb"[0-9]+(\.[0-9]+)*")


def commitment_context() -> PresentationContext:
    """The presentation context, in the uncompressed transfer syntaxes."""
    return build_context(STORAGE_COMMITMENT, list(UNCOMPRESSED_TRANSFER_SYNTAXES))


def request_data_set(transaction_uid: str, items: Iterable[CommitmentItem]) -> Dataset:
    """The Action Information of a request (PS3.4 table J.3-1)."""
    data_set = Dataset()
    data_set.TransactionUID = transaction_uid
    data_set.ReferencedSOPSequence = Sequence(_reference(item) for item in items)
    return data_set


def report_data_set(items: Iterable[CommitmentItem], report: CommitmentReport) -> Dataset:
    """The Event Information of a report (PS3.4 table J.3-2). Each object stands in it once."""
    data_set = Dataset()
    data_set.TransactionUID = report.transaction_uid
    wanted = {item.sop_instance_uid: item for item in items}
    committed = [_reference(wanted[uid]) for uid in report.committed]
    if committed:
        data_set.ReferencedSOPSequence = Sequence(committed)
    failed = []
    for uid, reason in report.failed.items():
        reference = _reference(wanted[uid])
        reference.FailureReason = reason
        failed.append(reference)
    if failed:
        data_set.FailedSOPSequence = Sequence(failed)
    return data_set


def event_type(report: CommitmentReport) -> int:
    """The Event Type ID that goes with the report."""
    return FAILURES_EXIST if report.failed else ALL_COMMITTED


def encoded(data_set: Dataset, transfer_syntax_uid: str) -> BytesIO:
    """The data set as it goes on the wire."""
    syntax = UID(transfer_syntax_uid)
    return BytesIO(encode(data_set, syntax.is_implicit_VR, syntax.is_little_endian) or b"")


def read_request(
    stream: BytesIO | None, transfer_syntax_uid: str
) -> tuple[str, tuple[CommitmentItem, ...]]:
    """Transaction UID and objects of an Action Information. Raises UnreadableObject."""
    with _one_at_a_time:
        data_set = _decoded(stream, transfer_syntax_uid)
        items = tuple(item for item, _ in _items(data_set, "ReferencedSOPSequence"))
        if not items:
            raise UnreadableObject("the Referenced SOP Sequence is empty")
        return _transaction(data_set), items


def read_report(stream: BytesIO | None, transfer_syntax_uid: str) -> CommitmentReport:
    """What an Event Information says. Raises UnreadableObject.

    An object that stands under both headings has failed.
    """
    with _one_at_a_time:
        data_set = _decoded(stream, transfer_syntax_uid)
        failed: Mapping[str, int] = {
            item.sop_instance_uid: reason for item, reason in _items(data_set, "FailedSOPSequence")
        }
        committed = dict.fromkeys(
            item.sop_instance_uid for item, _ in _items(data_set, "ReferencedSOPSequence")
        )
        return CommitmentReport(
            _transaction(data_set), tuple(uid for uid in committed if uid not in failed), failed
        )


def _reference(item: CommitmentItem) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = item.sop_class_uid
    reference.ReferencedSOPInstanceUID = item.sop_instance_uid
    return reference


def _decoded(stream: BytesIO | None, transfer_syntax_uid: str) -> Dataset:
    if stream is None:
        raise UnreadableObject("there is no data set")
    # Counted first: parsing ten thousands of empty items takes seconds of the whole process.
    if stream.getvalue().count(_ITEM) > MOST_ITEMS:
        raise UnreadableObject(f"the data set names more than {MOST_ITEMS} objects")
    syntax = UID(transfer_syntax_uid)
    try:
        data_set = decode(stream, syntax.is_implicit_VR, syntax.is_little_endian)
        # pydicom parses a sequence when it is first looked at.
        for keyword in ("ReferencedSOPSequence", "FailedSOPSequence"):
            for item in data_set.get(keyword) or ():
                item.get("FailureReason")
    except UNPARSABLE as error:
        raise UnreadableObject(f"the data set cannot be parsed: {type(error).__name__}") from error
    return data_set


def _items(data_set: Dataset, keyword: str) -> Iterator[tuple[CommitmentItem, int]]:
    sequence = data_set.get(keyword) or ()
    if not isinstance(sequence, Sequence | tuple):
        raise UnreadableObject(f"{keyword} is no sequence")
    for reference in sequence:
        item = CommitmentItem(
            _uid(reference, "ReferencedSOPClassUID"), _uid(reference, "ReferencedSOPInstanceUID")
        )
        yield item, _reason(reference)


def _reason(reference: Dataset) -> int:
    try:
        reason = reference.get("FailureReason")
    except UNPARSABLE:
        return PROCESSING_FAILURE
    return reason if isinstance(reason, int) else PROCESSING_FAILURE


def _transaction(data_set: Dataset) -> str:
    return _uid(data_set, "TransactionUID")


def _uid(data_set: Dataset, keyword: str) -> str:
    # The raw bytes: pydicom would warn about what is no UID, with the value in its words.
    try:
        value = getattr(data_set.get_item(keyword), "value", None)
    except UNPARSABLE as error:
        raise UnreadableObject(f"{keyword} cannot be read") from error
    # Anything else is a sequence in the place of a text.
    text = value.encode("ascii", "replace") if isinstance(value, str) else b""
    raw = value if isinstance(value, bytes) else text
    raw = raw.strip(b"\x00 ")
    if not (len(raw) <= 64 and _UID.fullmatch(raw)):
        raise UnreadableObject(f"{keyword} is missing or no UID")
    return raw.decode("ascii")
