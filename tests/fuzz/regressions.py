"""Inputs that once broke something, by target."""

from __future__ import annotations

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
