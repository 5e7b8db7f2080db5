"""Exams: the search, and what a person may have done with what it finds."""

from __future__ import annotations

from cadnode.web.exams.api import api
from cadnode.web.exams.pages import pages

__all__ = ["api", "pages"]
