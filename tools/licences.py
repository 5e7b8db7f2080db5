"""`make licences`: docs/licences.md, the licence of every package that the node is installed with.

Read from the metadata of the installed packages, from `pyproject.toml` on, extra by extra. A
licence that nobody has looked at ends the command: `ACCEPTED` holds those that suit a program
which anyone may use and pass on. Copyleft on the whole program (GPL, AGPL) is not among them.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"

PURPOSES: Mapping[str, str] = {
    "": "the node",
    "cpu": "the node",
    "openvino": "another runtime",
    "onnx": "another runtime",
    "postgresql": "more machines",
    "celery": "more machines",
    "s3": "more machines",
    "train": "training",
    "demo": "the demo",
    "dev": "developing",
}
"""Extras in the order of their weight: a package stands under the first that needs it."""

ACCEPTED = frozenset(
    [
        "0BSD",
        "Apache-2.0",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "LGPL-2.1-or-later",
        "LGPL-3.0-only",
        "LGPL-3.0-or-later",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "MPL-2.0",
        "PSF-2.0",
        "Unlicense",
        "Zlib",
    ]
)

_NAMES: Mapping[str, str] = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD 3-Clause": "BSD-3-Clause",
    "BSD License": "BSD",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}

_PHRASES: Mapping[str, str] = {
    "Apache License": "Apache-2.0",
    "the Apache License, Version 2.0": "Apache-2.0",
    "MIT License": "MIT",
}
"""What stands at the head of the licence file of a package whose metadata say nothing."""

_HEAD = 200
"""Characters."""


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One row of the page."""

    name: str
    licence: str
    purpose: str


def installed_packages() -> list[Package]:
    """Every package that `pyproject.toml` asks for, directly or not, and that is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: dict[str, Package] = {}
    for extra, purpose in PURPOSES.items():
        wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
        for installed in _closure(map(Requirement, wanted)):
            name = str(canonicalize_name(installed.metadata["Name"]))
            found.setdefault(name, Package(name, licence_of(installed), purpose))
    return sorted(found.values())


def licence_of(installed: Distribution) -> str:
    """The SPDX expression of a package, or "unknown"."""
    if said := _field(installed, "License-Expression"):
        return said
    said = _field(installed, "License")
    said = _NAMES.get(said, said)
    if said and accepted(said):
        return said
    classifiers = installed.metadata.get_all("Classifier") or []
    names = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License :: ")]
    known = [_NAMES.get(name, name) for name in names if name != "DFSG approved"]
    return " OR ".join(sorted(set(known))) or _from_file(installed)


def accepted(expression: str) -> bool:
    """True when an SPDX expression can be met with accepted licences alone."""
    tokens = re.findall(r"[()]|[^\s()]+", expression)

    def alternatives(at: int) -> tuple[bool, int]:
        good, at = together(at)
        while at < len(tokens) and tokens[at].upper() == "OR":
            other, at = together(at + 1)
            good = good or other
        return good, at

    def together(at: int) -> tuple[bool, int]:
        good, at = one(at)
        while at < len(tokens) and tokens[at].upper() == "AND":
            other, at = one(at + 1)
            good = good and other
        return good, at

    def one(at: int) -> tuple[bool, int]:
        if at >= len(tokens):
            return False, at
        if tokens[at] == "(":
            good, at = alternatives(at + 1)
            return good, at + 1
        return tokens[at] in ACCEPTED, at + 1

    good, end = alternatives(0)
    return good and end == len(tokens)


def page(packages: list[Package]) -> str:
    """docs/licences.md."""
    rows = "\n".join(f"| {p.name} | {p.licence} | {p.purpose} |" for p in packages)
    return (
        "# Licences\n\n"
        "What the node is installed with, and under which licence each package says it comes;\n"
        "written by `make licences` from the installed packages, held to them by a test. Versions\n"
        "and hashes stand in `constraints/`; `make sbom` writes them all as CycloneDX.\n\n"
        "With `EXTRA=gpu` the packages `nvidia-*` come in addition: NVIDIA's CUDA libraries under\n"
        "NVIDIA's own terms. DCMTK, Orthanc, PixelMed and rsyslog are partners of the tests, run\n"
        "as programs of their own; the node contains nothing of them.\n\n"
        "| package | licence | needed for |\n| --- | --- | --- |\n"
        f"{rows}\n"
    )


def main() -> int:
    """Write the page; 1 when a licence is not accepted."""
    packages = installed_packages()
    refused = [package for package in packages if not accepted(package.licence)]
    for package in refused:
        sys.stderr.write(f"{package.name}: the licence {package.licence!r} is not accepted\n")
    PAGE.write_text(page(packages))
    return 1 if refused else 0


def _closure(wanted: Iterator[Requirement]) -> Iterator[Distribution]:
    """The installed packages among `wanted` and what they need in turn."""
    waiting, seen = list(wanted), set()
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError:
            continue
        yield installed
        for text in installed.requires or ():
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(needed)


def _field(installed: Distribution, name: str) -> str:
    values: list[str] = installed.metadata.get_all(name) or [""]
    return values[0].strip()


def _from_file(installed: Distribution) -> str:
    for file in installed.files or ():
        if Path(file).name.upper().startswith("LICEN"):
            head = Path(str(installed.locate_file(file))).read_text()[:_HEAD]
            return next((name for phrase, name in _PHRASES.items() if phrase in head), "unknown")
    return "unknown"


if __name__ == "__main__":
    sys.exit(main())
