"""What reaches standard error: kinds and places, never what an exception or a field says."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
import structlog

from cadnode import log
from cadnode.core.breaker import LineEvent


def _complain(style: str) -> None:
    log.configure("info", style)
    name = "DOE^JANE"
    try:
        raise ValueError(name)
    except ValueError as error:
        logging.getLogger("apscheduler").exception("a job broke")
        structlog.get_logger("cadnode.test").error("a step broke", exc_info=error)
        structlog.get_logger("cadnode.test").warning("an odd field", patient_name=name)
        structlog.get_logger("cadnode.test").warning("a line", heard=LineEvent.ECHOED)


@pytest.mark.parametrize("style", ["console", "json"])
def test_an_exception_is_logged_by_its_kind_and_place_only(style):
    # In a process of its own: the log is set up once for the whole process.
    code = f"from tests.unit.test_log import _complain; _complain({style!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("unexpected ValueError at test_log.py:") == 2
    assert "withheld" in done.stderr
    assert "DOE" not in done.stderr
    assert "a probe was answered" in done.stderr
    assert "LineEvent" not in done.stderr
