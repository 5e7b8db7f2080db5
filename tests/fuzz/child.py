"""One target in one process: `python -m tests.fuzz.child TARGET CORPUS [libFuzzer options]`.

A target is a module `tests.fuzz.fuzz_TARGET` with `seeds()`, `one_input(data)`, which lets only
what is a bug escape, and `LONGEST`, the size of an input in bytes up to which it is mutated.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import warnings
from pathlib import Path

import atheris

INSTRUMENTED = [
    "cadnode",
    "pydicom.charset",
    "pydicom.dataelem",
    "pydicom.dataset",
    "pydicom.filebase",
    "pydicom.filereader",
    "pydicom.fileutil",
    "pydicom.multival",
    "pydicom.sequence",
    "pydicom.util",
    "pydicom.valuerep",
    "pydicom.values",
    "pynetdicom.acse",
    "pynetdicom.dimse_messages",
    "pynetdicom.dimse_primitives",
    "pynetdicom.fsm",
    "pynetdicom.pdu",
    "pynetdicom.pdu_items",
    "pynetdicom.pdu_primitives",
    "pynetdicom.presentation",
    "pynetdicom.service_class",
    "pynetdicom.utils",
    "tomllib",
]
"""What the fuzzer sees the branches of: ours and the libraries' parsers."""


def _others() -> list[str]:
    """The libraries' other modules, which atheris would instrument with their package."""
    found = []
    for package in ("pydicom", "pynetdicom"):
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            for path in Path(place).rglob("*.py"):
                parts = path.relative_to(Path(place).parent).with_suffix("").parts
                found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return [name for name in found if name not in INSTRUMENTED]


def main() -> None:
    # The libraries complain of each odd value.
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    name, corpus, options = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    with atheris.instrument_imports(include=INSTRUMENTED, exclude=_others()):
        target = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    atheris.Setup(
        [sys.argv[0], str(corpus), f"-max_len={target.LONGEST}", *options], target.one_input
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
