"""What a site's own results are tabled by: facts of an image that say nothing about who it shows."""

from __future__ import annotations

import re
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from cadnode.core.errors import ImageFailed
from cadnode.core.reasons import Reason

_AGE = re.compile(r"(\d{1,3})Y")


def vendor_and_age(path: Path) -> tuple[tuple[str, str], ...]:
    """(`vendor`, Manufacturer) and (`age`, band of Patient's Age), each only where it is said.

    Raises ImageFailed (UNREADABLE).
    """
    try:
        dataset = dcmread(
            path, specific_tags=["Manufacturer", "PatientAge"], stop_before_pixels=True
        )
    except (OSError, InvalidDicomError) as error:
        raise ImageFailed(Reason.UNREADABLE) from error
    found = []
    vendor = str(dataset.get("Manufacturer") or "").strip()
    if vendor:
        found.append(("vendor", vendor))
    age = _AGE.fullmatch(str(dataset.get("PatientAge") or "").strip())
    if age:
        found.append(("age", age_band(int(age[1]))))
    return tuple(found)


def age_band(years: int) -> str:
    """The band of the tables: under 50, the fifties, from 60 on."""
    if years < 50:
        return "under 50"
    return "50 to 59" if years < 60 else "60 and over"
