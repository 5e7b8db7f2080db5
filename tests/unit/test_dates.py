"""Ranges of study dates as a person writes them."""

from __future__ import annotations

from datetime import date

import pytest

from cadnode.core.dates import date_range

TODAY = date(2026, 3, 1)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("today", TODAY, TODAY),
        ("yesterday", date(2026, 2, 28), date(2026, 2, 28)),
        ("20260131", date(2026, 1, 31), date(2026, 1, 31)),
        ("20260101-20260131", date(2026, 1, 1), date(2026, 1, 31)),
        ("20260101-", date(2026, 1, 1), None),
        ("-20260131", None, date(2026, 1, 31)),
    ],
)
def test_a_range_is_read_as_the_standard_writes_it(
    text: str, first: date | None, last: date | None
) -> None:
    assert date_range(text, TODAY) == (first, last)


@pytest.mark.parametrize(
    "text", ["", "-", "2026", "2026-01-31", "20260132", "20260201-20260131", "tomorrow", "2026013 "]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"date|begins|end"):
        date_range(text, TODAY)
