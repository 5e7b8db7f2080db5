"""Exams that a model has read, many at once, and a small bundle: for tests of the model's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert

from cadnode.storage.database import Database
from cadnode.storage.tables import findings, images, jobs
from cadnode.training.bundle_writer import BundleFacts, write_bundle

MODEL = "small 1.0.0"
CARD = """# small 1.0.0

<script>alert(1)</script> A [link](javascript:alert(2)) and a ![picture](https://e.test/x.png).

## Sources

| source | use | licence |
| --- | ---: | --- |
| made-up `noise` | all of it | CC0 |
| more of it | none | MIT |
"""


def small_bundle(
    models: Path, version: str = "1.0.0", more: Mapping[str, bytes] | None = None
) -> Path:
    """A bundle that can be described, not run: `models/small/VERSION`."""
    folder = models / "small" / version
    facts = BundleFacts(
        name="small",
        version=version,
        patch_size=224,
        stride=176,
        pitch_mm=0.1,
        normalisation="local-contrast",
        map_size=7,
        thresholds=(0.9, 0.8, 0.5),
        recommended=1,
        code_version="1",
        training={"epochs": 3, "augment": True, "stages": ["one", "two"]},
        results={"auc": 0.9},
    )
    weights: dict[str, np.ndarray] = {"dense/kernel": np.zeros((2, 2), np.float32)}
    golden = (np.zeros((1, 224, 224), np.float32), np.zeros(1, np.float32))
    write_bundle(folder, facts, weights, golden, CARD, more)
    return folder


@dataclass(frozen=True)
class ScoredExam:
    """One exam with one image for each score."""

    at: datetime
    scores: Sequence[float]
    points: Sequence[int] = ()
    """Operating points of the marks, all on its first image."""
    study: str = ""
    model: str = MODEL


def add_exams(database: Database, exams: Sequence[ScoredExam]) -> None:
    """Put them into the job database as a worker leaves them."""
    exam_rows: list[dict[str, Any]] = []
    image_rows: list[dict[str, Any]] = []
    mark_rows: list[dict[str, Any]] = []
    with database.read() as connection:
        known = len(connection.execute(jobs.select()).all())
    image_id = known * 10
    for number, exam in enumerate(exams, known + 1):
        study = exam.study or f"1.2.{number}"
        revision = 1 + sum(row["study_instance_uid"] == study for row in exam_rows)
        exam_rows.append(
            {
                "id": number,
                "study_instance_uid": study,
                "revision": revision,
                "status": "delivered",
                "calling_ae": "MODALITY",
                "image_count": len(exam.scores),
                "created_at": exam.at,
                "last_image_at": exam.at,
                "due_at": exam.at,
                "tries": 0,
            }
        )
        first = image_id + 1
        for score in exam.scores:
            image_id += 1
            image_rows.append(
                {
                    "id": image_id,
                    "job_id": number,
                    "sop_instance_uid": f"1.3.{image_id}",
                    "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.2",
                    "series_instance_uid": f"{study}.1",
                    "transfer_syntax_uid": "1.2.840.10008.1.2.1",
                    "path": f"images/{image_id}",
                    "size": 1,
                    "sha256": "0" * 64,
                    "calling_ae": "MODALITY",
                    "received_at": exam.at,
                    "state": "analyzed",
                    "tries": 1,
                    "detail": "",
                    "source_uids": [],
                    "model": exam.model,
                    "top_score": score,
                }
            )
        mark_rows += [
            {
                "image_id": first,
                "score": 0.9,
                "center_column": 1.0,
                "center_row": 1.0,
                "outline": [],
                "area_mm2": 1.0,
                "operating_point": point,
                "calcifications": [],
            }
            for point in exam.points
        ]
    with database.write() as connection:
        for table, rows in ((jobs, exam_rows), (images, image_rows), (findings, mark_rows)):
            if rows:
                connection.execute(insert(table), rows)


def weeks_of_exams(
    monday: datetime, weeks: int, exams: int, *, moved: float = 0.0, seed: int = 1
) -> list[ScoredExam]:
    """Some weeks of exams from `monday` on, four images each, alike but for chance; `moved` shifts
    their scores, in units of their spread."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(weeks * exams):
        at = monday + timedelta(weeks=number // exams, minutes=number % exams)
        scores = 1 / (1 + np.exp(-1.5 * (rng.normal(size=4) + moved)))
        found.append(ScoredExam(at, scores.tolist(), [1] * int(rng.poisson(0.3))))
    return found


def day(text: str) -> datetime:
    """Midnight UTC of a day."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
