"""A model bundle: one folder with everything that must be known to use the weights rightly.

    models/NAME/VERSION/
        manifest.toml     how the model wants its pixels, operating points, hashes, how it was made
        weights*.npz      arrays by `layer/variable`, convolutions as float16
        golden.npz        some patches and the scores they must get
        MODEL_CARD.md     sources, results, limits

Nothing here needs Keras.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cadnode.core.bundle_facts import FileNow
from cadnode.core.errors import ModelUnfit
from cadnode.core.intensity import NORMALISATIONS
from cadnode.core.model import BFLOAT16, SCREENED, ModelSpec
from cadnode.core.ports import Classifier
from cadnode.inference.screening import Screening, read_screening

MANIFEST = "manifest.toml"
CARD = "MODEL_CARD.md"
GOLDEN = "golden.npz"
ARCHITECTURES = ("resnet50-grey",)
"""What this version can run."""
GOLDEN_TOLERANCE = 1e-3
"""How far a golden score may be off; another CPU or runtime moves one by some 1e-6."""
BFLOAT16_TOLERANCE = 0.1
"""How far one that was computed in bfloat16 or int8 may be off; the shipped model's were by up to
0.09 in bfloat16."""
CELL = 32
"""Pixels of a patch for each cell of its map, in every architecture there is."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """One bundle on disk; `load_bundle` has found its hashes right."""

    folder: Path
    spec: ModelSpec
    architecture: str
    weights: tuple[Path, ...]
    manifest: Mapping[str, Any]
    """The whole manifest, for those who want to show it."""

    @property
    def hashes(self) -> Mapping[str, str]:
        """SHA-256 in hex by file name."""
        return {str(name): str(value) for name, value in self.manifest["files"].items()}

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Every weight by `layer/variable`. Raises ModelUnfit."""
        found: dict[str, NDArray[np.float32]] = {}
        for path in self.weights:
            found.update({name: array.astype(np.float32) for name, array in _load(path).items()})
        return found

    def golden(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(patches, expected probabilities). Raises ModelUnfit."""
        path = self.folder / GOLDEN
        arrays = _load(path)
        try:
            patches, probability = arrays["patches"], arrays["probability"]
        except KeyError as error:
            raise ModelUnfit(f"{path} has no {error.args[0]}") from error
        return patches.astype(np.float32), probability.astype(np.float32)

    def screening(self) -> Screening | None:
        """How it is screened in int8, if it can be. Raises ModelUnfit."""
        return read_screening(self.folder, self.manifest)

    def card(self) -> str:
        """The text of the model card. Raises ModelUnfit."""
        try:
            return (self.folder / CARD).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ModelUnfit(f"{self.folder / CARD}: {error}") from error


def find_bundle(models: Path, name: str, version: str = "latest") -> Bundle:
    """The bundle `models/name/version`; `latest` is the highest version there.

    Raises ModelUnfit when there is none or it is not as it was made.
    """
    return load_bundle(bundle_folder(models, name, version))


def bundle_folder(models: Path, name: str, version: str = "latest") -> Path:
    """Where the bundle lies that `find_bundle` loads. Raises ModelUnfit when there is none."""
    home = models / name
    versions = _versions(home)
    if not versions:
        raise ModelUnfit(f"no model {name} in {models}")
    if version == "latest":
        version = versions[-1]
    if version not in versions:
        raise ModelUnfit(f"no version {version} of model {name}; there are {', '.join(versions)}")
    return home / version


def list_bundles(models: Path) -> list[tuple[str, str]]:
    """(name, version) of every bundle in the folder, without looking inside."""
    if not models.is_dir():
        return []
    homes = sorted(path for path in models.iterdir() if path.is_dir())
    return [(home.name, version) for home in homes for version in _versions(home)]


def load_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`, every file compared with its hash.

    Raises ModelUnfit when a file is missing or altered, or the manifest asks for what this
    version does not have.
    """
    bundle = read_bundle(folder)
    _check(bundle)
    return bundle


def read_bundle(folder: Path) -> Bundle:
    """The bundle as its manifest describes it, its files not looked at. Raises ModelUnfit."""
    try:
        manifest = tomllib.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnfit(f"{folder / MANIFEST}: {error}") from error
    try:
        spec = _spec(manifest)
        if not isinstance(manifest["files"], dict):
            raise TypeError("[files] is no table")
        architecture = str(manifest["model"]["architecture"])
        weights = tuple(folder / str(name) for name in manifest["model"]["weights"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelUnfit(f"{folder / MANIFEST}: {error!r}") from error
    return Bundle(folder, spec, architecture, weights, manifest)


def verify_golden(bundle: Bundle, classifier: Classifier) -> float:
    """The largest difference from the golden scores. Raises ModelUnfit where it is above
    `GOLDEN_TOLERANCE`, or what bfloat16 and int8 may be off by where the score is theirs."""
    patches, expected = bundle.golden()
    off = np.abs(classifier.classify(patches).probability - expected)
    allowed = np.full(len(off), GOLDEN_TOLERANCE)
    precision = classifier.runs_on.precision
    if precision == BFLOAT16:
        allowed[:] = BFLOAT16_TOLERANCE
    elif precision in SCREENED:
        allowed[expected < min(bundle.spec.thresholds)] = BFLOAT16_TOLERANCE
    if not np.all(off <= allowed):
        raise ModelUnfit(f"{bundle.folder}: a golden score is off by {off.max():.2g}")
    return float(off.max())


def files_now(bundle: Bundle) -> list[FileNow]:
    """Each file that the manifest names, compared with its hash; takes a second."""
    return [
        FileNow(name, expected, _trouble(bundle.folder / name, expected))
        for name, expected in bundle.hashes.items()
    ]


def file_hash(path: Path) -> str:
    """SHA-256 of the file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _spec(manifest: Mapping[str, Any]) -> ModelSpec:
    model, reading = manifest["model"], manifest["operating_points"]
    spec = ModelSpec(
        name=str(model["name"]),
        version=str(model["version"]),
        patch_size=int(model["patch_size"]),
        stride=int(model["stride"]),
        pitch_mm=float(model["pitch_mm"]),
        normalisation=str(model["normalisation"]),
        thresholds=tuple(float(value) for value in reading["thresholds"]),
        recommended=int(reading["recommended"]),
        map_size=int(model["map_size"]),
    )
    if min(spec.patch_size, spec.stride, spec.map_size) < 1 or not 0 < spec.pitch_mm < inf:
        raise ValueError("a size is not above 0")
    return spec


def _check(bundle: Bundle) -> None:
    folder, spec, architecture = bundle.folder, bundle.spec, bundle.architecture
    if architecture not in ARCHITECTURES:
        raise ModelUnfit(f"{folder}: this version cannot run {architecture}")
    if spec.normalisation not in NORMALISATIONS:
        raise ModelUnfit(f"{folder}: no normalisation is called {spec.normalisation}")
    if spec.patch_size != CELL * spec.map_size:
        raise ModelUnfit(
            f"{folder}: {architecture} has a cell of the map for each {CELL} pixels of a patch,"
            f" not {spec.map_size} for {spec.patch_size}"
        )
    falling = all(a > b for a, b in zip(spec.thresholds, spec.thresholds[1:], strict=False))
    if not spec.thresholds or not falling or not 0 <= spec.recommended < len(spec.thresholds):
        raise ModelUnfit(f"{folder}: the operating points do not hold together")
    if not all(0 < threshold < 1 for threshold in spec.thresholds):
        raise ModelUnfit(f"{folder}: an operating point is not between 0 and 1")
    for file in files_now(bundle):
        if file.trouble:
            raise ModelUnfit(f"{folder / file.name} {file.trouble}")
    bundle.screening()


def _trouble(path: Path, expected: str) -> str:
    if not path.is_file():
        return "is missing"
    try:
        same = file_hash(path) == expected
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if same else "is not the file this bundle was made with"


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError, BadZipFile) as error:
        raise ModelUnfit(f"{path}: {error}") from error


def _versions(home: Path) -> Sequence[str]:
    if not home.is_dir():
        return []
    found = [path.name for path in home.iterdir() if (path / MANIFEST).is_file()]
    return sorted(found, key=_version_key)


def _version_key(version: str) -> tuple[tuple[int, str], ...]:
    parts = version.replace("-", ".").split(".")
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)
