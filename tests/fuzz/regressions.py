"""Inputs that once broke something, by target."""

from __future__ import annotations

from tests.fuzz.small_objects import as_file, small_mammogram

_BROKEN_SEQUENCE = b"SQ\0\0\x12\0\0\0\xfe\xff\x00\xe0\x0a\0\0\0\x08\0\x00\x01XX\x02\0ab"


def _with(tag: bytes, rest: bytes) -> bytes:
    """A mammogram's file in which this element has another representation and value."""
    file = as_file(small_mammogram("1.2.840.10008.1.2.1"))
    at = file.index(tag, 144)
    long = file[at + 4 : at + 6] == b"SQ"
    length = int.from_bytes(file[at + 8 : at + 12] if long else file[at + 6 : at + 8], "little")
    return file[:at] + tag + rest + file[at + (12 if long else 8) + length :]


INPUTS: dict[str, list[bytes]] = {
    # Specific Character Set as SS of an odd length: pydicom raises an exception of its own kind.
    "identifiers": [b"\x01\x08\x00\x05\x00SS\x03\x00abc"],
    # Failure Reason of an odd length, in implicit little endian.
    "commitment": [
        b"\x00"
        b"\x08\x00\x95\x11\x06\x00\x00\x001.2.9\x00"
        b"\x08\x00\x98\x11\xff\xff\xff\xff"
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        b"\x08\x00\x50\x11\x04\x00\x00\x001.2\x00"
        b"\x08\x00\x55\x11\x06\x00\x00\x001.2.3\x00"
        b"\x08\x00\x97\x11\x03\x00\x00\x00abc"
        b"\xfe\xff\x0d\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00",
        # A second Transaction UID whose value representation does not exist.
        b"\x01\x08\x00\x95\x11UI\x06\x002.2.9\x01\x08\x00\x95\x11U\x00\x00\x00I\x00\x00\x00",
    ],
    # A Study Instance UID as SS of an odd length.
    "find_answers": [b"\x00\x20\x00\x0d\x00SS\x03\x00abc"],
    # Modality as a sequence with an item that cannot be parsed: to print it is to parse it.
    "reader": [_with(b"\x08\x00\x60\x00", _BROKEN_SEQUENCE)],
    # The same as the view, and Rows as text with two values.
    "results": [
        _with(b"\x54\x00\x20\x02", _BROKEN_SEQUENCE),
        _with(b"\x28\x00\x10\x00", b"LO\x04\x00ab\\c"),
    ],
    # A value representation that does not exist.
    "sr_reader": [
        b"\x08\x00\x16\x00UI\x1e\x001.2.840.10008.5.1.4.1.1.88.50\x00"
        + b"\x40\x00\x43\xa0SC\x02\x00ab"
    ],
    "annotations": [
        b"sop_instance_uid,shape,points\n\xda,circle,1 2 3\n",
        b"sop_instance_uid,shape,points\n1.2,circle,nan 2 3\n",
        b'sop_instance_uid,shape,points\n"' + b"1" * 140_000 + b'",circle,1 2 3\n',
    ],
    "mini_mias": [b"mdbCALC M CALC B 1 2 3\n", b"mdb001 G CALC B 1 x 3\n"],
}
