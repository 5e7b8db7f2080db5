"""Which view a mammogram shows, from the code or from the text in which the sender says it.

Views are PS3.16 CID 4014, modifiers CID 4015. The same concepts come as SNOMED CT codes (SCT), as
the older SNOMED RT ones (SRT, and SNM3 or 99SDM before it), or only as View Position (0018,5101)
with the customary short names (`CC`, `MLO`, `RMLO`, `MCC`, `CCID`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

VIEWS: Mapping[str, str] = MappingProxyType(
    {
        "399162004": "CC",
        "R-10242": "CC",
        "399368009": "MLO",
        "R-10226": "MLO",
        "399260004": "ML",
        "R-10224": "ML",
        "399352003": "LM",
        "R-10228": "LM",
        "399099002": "LMO",
        "R-10230": "LMO",
        "399196006": "FB",
        "R-10244": "FB",
        "399188001": "SIO",
        "R-102D0": "SIO",
        "441555000": "ISO",
        "R-40AAA": "ISO",
        "399192008": "XCCL",
        "R-1024A": "XCCL",
        "399101009": "XCCM",
        "R-1024B": "XCCM",
        "127457009": "SPECIMEN",
        "G-8310": "SPECIMEN",
    }
)
"""CID 4014, SCT and SRT code value to the short name of the view."""

MODIFIERS: Mapping[str, str] = MappingProxyType(
    {
        "399163009": "magnification",
        "R-102D6": "magnification",
        "399055006": "spot compression",
        "R-102D7": "spot compression",
        "399209000": "implant displaced",
        "R-102D5": "implant displaced",
        "399011000": "axillary tail",
        "R-102D1": "axillary tail",
        "399161006": "cleavage",
        "R-102D2": "cleavage",
        "399197002": "rolled lateral",
        "R-102D3": "rolled lateral",
        "399226006": "rolled medial",
        "R-102D4": "rolled medial",
        "414493004": "rolled inferior",
        "R-102CA": "rolled inferior",
        "415670009": "rolled superior",
        "R-102C9": "rolled superior",
        "399110001": "tangential",
        "R-102C2": "tangential",
        "442581004": "nipple in profile",
        "R-40AB3": "nipple in profile",
        "441752004": "anterior compression",
        "P2-00161": "anterior compression",
        "442593008": "infra-mammary fold",
        "R-40ABE": "infra-mammary fold",
        "442580003": "axillary tissue",
        "R-40AB2": "axillary tissue",
    }
)
"""CID 4015, SCT and SRT code value to the lower-case meaning of the modifier."""

_SCHEMES = frozenset({"SCT", "SRT", "SNM3", "99SDM"})

_TEXT = re.compile(
    r"(?P<side>[RL]?)"
    r"(?P<before>S?M?)"
    r"(?P<view>XCCL|XCCM|XCC|MLO|LMO|ML|LM|CC|FB|SIO|ISO|SPECIMEN|AT|CV|TAN)"
    r"(?P<after>(?:ID|RL|RM|RS|RI|NP|AT|CV|TAN|AC|M|S)*)"
)

_LETTERS: Mapping[str, str] = MappingProxyType(
    {
        "M": "magnification",
        "S": "spot compression",
        "ID": "implant displaced",
        "RL": "rolled lateral",
        "RM": "rolled medial",
        "RS": "rolled superior",
        "RI": "rolled inferior",
        "NP": "nipple in profile",
        "AT": "axillary tail",
        "CV": "cleavage",
        "TAN": "tangential",
        "AC": "anterior compression",
    }
)

_WHOLE_VIEW_OF_MODIFIER: Mapping[str, str] = MappingProxyType(
    {"AT": "MLO", "CV": "CC", "TAN": "CC"}
)
"""The view that a modifier standing alone belongs to; the modifier itself keeps it from being read."""


def view_of_code(value: str, scheme: str) -> str | None:
    """The short name of the view, None for a code that is not one of CID 4014."""
    return VIEWS.get(value) if scheme in _SCHEMES else None


def modifier_of_code(value: str, scheme: str, meaning: str) -> str:
    """The lower-case meaning of a view modifier; for an unknown code the sender's own meaning."""
    known = MODIFIERS.get(value) if scheme in _SCHEMES else None
    return known or meaning.strip().lower()


def view_of_text(text: str) -> tuple[str | None, tuple[str, ...]]:
    """View and modifiers of a View Position as `RMLO`, `MCC`, `CCID`; (None, ()) if not one.

    A leading R or L is passed over: the side is told by Image Laterality, never by this text.
    """
    match = _TEXT.fullmatch(re.sub(r"[\s_\-]", "", text.upper()))
    if match is None:
        return None, ()
    letters = [*match["before"], *re.findall(r"ID|RL|RM|RS|RI|NP|AT|CV|TAN|AC|M|S", match["after"])]
    view = match["view"]
    if view in _WHOLE_VIEW_OF_MODIFIER:
        letters.append(view)
        view = _WHOLE_VIEW_OF_MODIFIER[view]
    return view, tuple(dict.fromkeys(_LETTERS[letter] for letter in letters))
