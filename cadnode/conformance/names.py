"""The standard's names of UIDs (PS3.6 annex A)."""

from __future__ import annotations

from pydicom.uid import UID


def name_of(uid: str) -> str:
    """The name of a SOP class, transfer syntax or other UID of the standard; the UID itself for
    one that is not in it."""
    return UID(uid).name


def hexadecimal(status: int) -> str:
    """As `0xA700`."""
    return f"0x{status:04X}"
