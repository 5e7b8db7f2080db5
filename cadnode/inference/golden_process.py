"""The process that computes a golden example: `python -m cadnode.inference.golden_process FOLDER
RUNTIME DEVICE PRECISION`. `golden.recompute` starts it, so that who asks need not load a framework.

Its last line on standard output is JSON: {"difference": ..., "device": ...} or {"error": "..."}.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from cadnode.core.errors import CadnodeError
from cadnode.inference.bundle import load_bundle, verify_golden
from cadnode.inference.runtime import load_classifier

_NICE = 10


def main(folder: str, runtime: str, device: str, precision: str) -> None:
    """Compute, and say what came of it."""
    # The worker's exams go first.
    os.nice(_NICE)
    answer: dict[str, str | float]
    try:
        bundle = load_bundle(Path(folder))
        classifier = load_classifier(bundle, runtime=runtime, device=device, precision=precision)
        difference = verify_golden(bundle, classifier)
        on = classifier.runs_on
        answer = {"difference": difference, "device": f"{on.place}, in {on.precision}"}
    except CadnodeError as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:5])
