"""The golden example of a bundle, computed again in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DEADLINE_SECONDS = 300.0
"""Loading and computing take about 15 s on two CPU cores."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What came of it."""

    well: bool
    difference: float | None
    text: str
    """One plain sentence."""


def recompute(
    folder: Path,
    *,
    runtime: str = "auto",
    device: str,
    precision: str,
    seconds: float = DEADLINE_SECONDS,
) -> Recomputed:
    """Check the hashes of the bundle in `folder`, load it as a worker does, and compare the golden
    scores. The process is killed after `seconds`; this one loads no framework."""
    command = [
        sys.executable,
        "-m",
        "cadnode.inference.golden_process",
        *(str(folder.absolute()), runtime, device, precision),
    ]
    try:
        done = subprocess.run(  # noqa: S603  our own program, and no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Recomputed(False, None, f"There was no answer within {seconds:g} seconds.")
    except OSError as error:
        return Recomputed(False, None, f"The process could not be started: {error.strerror}.")
    return _read(done.stdout, done.returncode)


def _read(output: bytes, status: int) -> Recomputed:
    try:
        answer = json.loads(output.splitlines()[-1])
        if "error" in answer:
            return Recomputed(False, None, f"{answer['error']}.")
        difference = float(answer["difference"])
        device = str(answer["device"])
    except (IndexError, KeyError, TypeError, ValueError):
        return Recomputed(False, None, f"The process ended with status {status} and no answer.")
    near = "the same to the last digit" if difference == 0 else f"within {difference:.1e}"
    return Recomputed(True, difference, f"Hashes right, golden scores {near}, on {device}.")
