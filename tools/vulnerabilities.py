"""`make audit`: every pinned package asked about at the vulnerability service, by pip-audit.

pip-audit says "no known vulnerabilities" also when the service knows none of the packages, as a
package mirror does. Here that is a third answer: nothing was asked.

Exit status 0: no known vulnerability; 1: there are some, listed; 3: the service does not answer
(0 with --when-reachable, and said).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PIP_AUDIT = ROOT / ".venv-tools" / "bin" / "pip-audit"
NOT_ASKED = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said about one list of packages."""

    asked: int
    """Packages that the service knows."""
    skipped: int
    """Packages that it does not."""
    vulnerable: tuple[str, ...]
    """One line for each known vulnerability."""


def read_report(report: dict[str, Any]) -> Answer:
    """The answer in pip-audit's JSON report."""
    packages = report["dependencies"]
    known = [package for package in packages if "skip_reason" not in package]
    lines = tuple(
        f"{package['name']} {package['version']}: {found['id']}"
        f" (mended in {', '.join(found['fix_versions']) or 'no version yet'})"
        for package in known
        for found in package["vulns"]
    )
    return Answer(len(known), len(packages) - len(known), lines)


def ask(constraints: Path) -> Answer:
    """Ask about every package pinned in one file."""
    done = subprocess.run(  # noqa: S603
        [
            str(PIP_AUDIT),
            *("-r", str(constraints), "--require-hashes", "--disable-pip"),
            *("--format", "json", "--progress-spinner", "off", "--timeout", "20"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return read_report(json.loads(done.stdout))
    except ValueError:
        return Answer(0, 0, ())


def main(arguments: Sequence[str]) -> int:
    """Ask about each of the lists and say what came back."""
    status = 0
    for name in ("cpu.txt", "gpu.txt", "tools.txt"):
        answer = ask(ROOT / "constraints" / name)
        for line in answer.vulnerable:
            sys.stdout.write(f"constraints/{name}: {line}\n")
        if answer.vulnerable:
            status = 1
        elif not answer.asked:
            sys.stdout.write(f"constraints/{name}: the vulnerability service does not answer\n")
            status = status or (0 if "--when-reachable" in arguments else NOT_ASKED)
            break
        else:
            unknown = f", {answer.skipped} not known there" if answer.skipped else ""
            sys.stdout.write(
                f"constraints/{name}: {len(answer.vulnerable)} known vulnerabilities in"
                f" {answer.asked} packages{unknown}\n"
            )
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
