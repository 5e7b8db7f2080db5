"""Ranges of study dates as a person writes them."""

from __future__ import annotations

from datetime import date, datetime, timedelta


def date_range(text: str, today: date) -> tuple[date | None, date | None]:
    """The first and the last day of `text`, None for an open end.

    A DICOM date or range (PS3.4 C.2.2.2.5: 20260101, 20260101-20260131, 20260101-, -20260131),
    `today` or `yesterday`. Raises ValueError saying what is allowed.
    """
    words = {"today": today, "yesterday": today - timedelta(days=1)}
    if text in words:
        return words[text], words[text]
    first, dash, last = text.partition("-")
    if not dash:
        last = first
    if not (first or last):
        raise ValueError("a date range has at least one end")
    ends = (_day(first), _day(last))
    if ends[0] and ends[1] and ends[0] > ends[1]:
        raise ValueError(f"{text!r} ends before it begins")
    return ends


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        if len(text) != 8:
            raise ValueError
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007  a day has no time zone
    except ValueError:
        raise ValueError(
            f"{text!r} is not a date: 20260131, 20260101-20260131, today or yesterday"
        ) from None
