"""The manifest of a model bundle, which may come from anywhere."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from cadnode.core.errors import ModelUnfit
from cadnode.inference.bundle import MANIFEST, load_bundle

LONGEST = 4096

_temporary = tempfile.TemporaryDirectory(prefix="cadnode-fuzz-bundle-")
_folder = Path(_temporary.name)


def seeds() -> list[bytes]:
    models = Path(__file__).parents[2] / "models"
    shipped = [path.read_bytes() for path in sorted(models.rglob(MANIFEST))]
    small = (
        b'[model]\nname = "m"\nversion = "1"\narchitecture = "resnet50-grey"\nweights = ["w.npz"]\n'
        b'patch_size = 224\nstride = 112\npitch_mm = 0.1\nnormalisation = "contrast"\nmap_size = 7\n'
        b"[operating_points]\nthresholds = [0.9, 0.5]\nrecommended = 0\n[files]\n"
    )
    return [*shipped, small]


def one_input(data: bytes) -> None:
    (_folder / MANIFEST).write_bytes(data)
    with contextlib.suppress(ModelUnfit):
        load_bundle(_folder)
