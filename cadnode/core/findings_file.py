"""The file `findings.json`: what was found, for programs that do not read DICOM.

`cadnode analyze` writes it, and the console offers it for every exam, in one shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cadnode.core.exam import ImageState
from cadnode.core.findings import Finding


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What read the images, and how its scores are to be read."""

    name: str
    version: str
    thresholds: tuple[float, ...]
    recommended: int


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One image; None for what is not known of it."""

    path: str
    sop_instance_uid: str | None
    study_instance_uid: str | None
    laterality: str | None
    view: str | None
    rows: int | None
    columns: int | None
    state: ImageState
    reason_code: str | None
    reason_text: str
    findings: tuple[Finding, ...]
    picture: str | None
    """Name of the file that shows it with its marks."""


def findings_file(
    *,
    version: str,
    model: ModelFacts | None,
    images: Sequence[ImageEntry],
    results: Sequence[tuple[str, str]],
    problems: Sequence[str],
) -> dict[str, Any]:
    """What the file holds. `results` are kind and file name of each result object. Points are
    (column, row) in received pixels (PS3.3 C.18.6)."""
    return {
        "software": {"name": "cadnode", "version": version},
        "model": model
        and {
            "name": model.name,
            "version": model.version,
            "thresholds": list(model.thresholds),
            "recommended_operating_point": model.recommended,
        },
        "images": [_image(image) for image in images],
        "results": [{"kind": kind, "path": path} for kind, path in results],
        "problems": list(problems),
    }


def _image(image: ImageEntry) -> dict[str, Any]:
    return {
        "path": image.path,
        "sop_instance_uid": image.sop_instance_uid,
        "study_instance_uid": image.study_instance_uid,
        "laterality": image.laterality,
        "view": image.view,
        "rows": image.rows,
        "columns": image.columns,
        "eligibility": str(image.state),
        "reason": image.reason_code and {"code": image.reason_code, "text": image.reason_text},
        "findings": [asdict(finding) for finding in image.findings],
        "picture": image.picture,
    }
