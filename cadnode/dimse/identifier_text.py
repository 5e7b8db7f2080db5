"""The text in a short value of a received object, whatever character set it names."""

from __future__ import annotations

from datetime import date

from pydicom.charset import CODES_TO_ENCODINGS, ESC, decode_bytes, python_encoding

LONGEST_TEXT = 64
"""Characters of a value that is taken (LO has 64, SH 16, and some senders write more into SH)."""

_ASCII = ("", "ISO_IR 6", "ISO 2022 IR 6")
"""The library takes these for Latin-1."""


def text_of(raw: bytes, specific_character_set: bytes) -> str:
    """The value as text, without the blanks around it.

    Empty for what is no single line of text in the character set that the object names in Specific
    Character Set (0008,0005): such a value would find nothing, and it may be anything.
    """
    raw = raw.strip(b"\x00 ")
    if not raw:
        return ""
    text = raw.decode("ascii") if raw.isascii() and ESC not in raw else None
    if text is None:
        text = _decoded(raw, specific_character_set)
    text = text.strip()
    return text if len(text) <= LONGEST_TEXT and text.isprintable() and "\\" not in text else ""


def day_of(raw: bytes) -> date | None:
    """The day of a DA value; None for what is no day. 2026.01.31 is an older form (PS3.5 6.2)."""
    digits = raw.strip(b"\x00 ").replace(b".", b"")
    if len(digits) != 8 or not digits.isdigit():
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def _decoded(raw: bytes, terms: bytes) -> str:
    names = [term.strip().decode("ascii", "replace") for term in terms.split(b"\\")]
    if any(name not in python_encoding for name in names):
        return ""
    if ESC not in raw:
        try:
            return raw.decode("ascii" if names[0] in _ASCII else python_encoding[names[0]])
        except UnicodeDecodeError:
            return ""
    # The library keeps escape sequences that it does not know.
    known = [code for code in CODES_TO_ENCODINGS if code in raw]
    if raw.count(ESC) != sum(raw.count(code) for code in known):
        return ""
    try:
        text = decode_bytes(raw, [python_encoding[name] for name in names], set())
    # It replaces what it cannot decode and warns of it, which is an error where warnings are.
    except (UnicodeError, LookupError, UserWarning):
        return ""
    return "" if "\ufffd" in text else text
