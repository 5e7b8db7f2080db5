"""`make fuzz`: every target in turn, a table at the end, exit status 1 when one found a bug."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from tests.fuzz.running import TARGETS, fuzz

log = logging.getLogger("fuzz")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="shared by the targets")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one")
    parser.add_argument("--corpus", type=Path, help="keep what was found to be worth mutating here")
    parser.add_argument("--crashes", type=Path, default=Path("fuzz-crashes"))
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    targets = options.target or list(TARGETS)
    outcomes = []
    for name in targets:
        outcome = fuzz(
            name,
            seconds=options.seconds / len(targets),
            corpus=options.corpus and options.corpus / name,
            crashes=options.crashes,
        )
        log.info("%s", outcome)
        outcomes.append(outcome)
    log.info("%d inputs in all", sum(outcome.inputs for outcome in outcomes))
    sys.exit(any(outcome.broken for outcome in outcomes))


if __name__ == "__main__":
    main()
