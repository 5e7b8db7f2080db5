"""The page that shows everything the demo did, side by side: one HTML file without outside parts."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image

from cadnode.core.findings import Finding
from cadnode.core.mammogram import PixelSpacing
from cadnode.demo.attribution import ATTRIBUTION, CHANGES, CITATIONS
from cadnode.demo.exams import HANGING_ORDER
from cadnode.pictures import CloseUp, ViewPicture, numbered, percent

_TITLES = {"mammography-cad-sr": "Mammography CAD SR", "tid1500-sr": "TID 1500 SR"}


@dataclass(frozen=True, slots=True)
class ExamView:
    """One image of an exam, and what became of it."""

    view_name: str
    sop_instance_uid: str
    state: str
    reason: str
    """Why it has no marks when it was not analyzed; empty otherwise."""
    findings: tuple[Finding, ...]
    spacing: PixelSpacing
    rows: int
    columns: int
    picture: ViewPicture
    close_ups: tuple[CloseUp, ...]

    @property
    def height_mm(self) -> float:
        return self.rows * self.spacing.row

    @property
    def width_mm(self) -> float:
        return self.columns * self.spacing.column


@dataclass(frozen=True, slots=True)
class ArchiveAnswer:
    """What is known of one result object at one destination."""

    destination: str
    status: str
    """Of the delivery, as the job database has it."""
    dicom_status: int | None
    """Of the C-STORE response."""
    found: bool
    """True when the archive named the object in answer to C-FIND."""


@dataclass(frozen=True, slots=True)
class ResultObject:
    """One result object of an exam."""

    kind: str
    sop_instance_uid: str
    file_name: str
    size: int
    tree_lines: tuple[str, ...]
    answers: tuple[ArchiveAnswer, ...]

    @property
    def title(self) -> str:
        """Its name as people say it."""
        return _TITLES.get(self.kind, self.kind)


@dataclass(frozen=True, slots=True)
class ExamEvent:
    """One line of the exam's history in the job database."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class ExamResult:
    """One exam from the first image to the archive."""

    label: str
    truth: str
    patient_id: str
    study_instance_uid: str
    status: str
    received_at: datetime
    """When the first image was kept."""
    delivered_at: datetime
    """When the last result was stored."""
    views: tuple[ExamView, ...]
    objects: tuple[ResultObject, ...]
    events: tuple[ExamEvent, ...]

    @property
    def seconds(self) -> float:
        """From the first image kept to the last result stored."""
        return (self.delivered_at - self.received_at).total_seconds()

    @property
    def findings(self) -> int:
        return sum(len(view.findings) for view in self.views)

    def shown(self, recommended: int) -> int:
        """How many marks a workstation shows by default."""
        return sum(
            finding.operating_point <= recommended
            for view in self.views
            for finding in view.findings
        )

    @property
    def delivered(self) -> bool:
        """True when every result object was found in every archive that it was sent to."""
        return bool(self.objects) and all(
            result.answers and all(answer.found for answer in result.answers)
            for result in self.objects
        )


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model as its bundle describes it."""

    name: str
    version: str
    thresholds: tuple[float, ...]
    recommended: int
    limits: tuple[str, ...]
    """Sentences of the model card on what it cannot do."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Everything the page shows."""

    created_at: datetime
    node_version: str
    archive: str
    archive_ae_title: str
    model: ModelFacts
    timings: tuple[tuple[str, float], ...]
    """Step and seconds, in order."""
    exams: tuple[ExamResult, ...]


def write_report(result: DemoResult, path: Path) -> None:
    """Write the page; it refers to no other file and to no network."""
    path.write_text(report_html(result), encoding="utf-8")


def report_html(result: DemoResult) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("cadnode.demo"),
        autoescape=select_autoescape(("html",), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["png"] = data_uri
    environment.filters["percent"] = percent
    environment.filters["numbered"] = numbered
    environment.filters["hung"] = hung
    environment.filters["size_mm"] = size_mm
    template = environment.get_template("report.html")
    return template.render(
        result=result, attribution=ATTRIBUTION, changes=CHANGES, citations=CITATIONS
    )


def data_uri(image: Image.Image) -> str:
    """The picture as a PNG inside a URI."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=6)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def hung(views: Sequence[ExamView]) -> list[ExamView]:
    """The views as they hang: RCC, LCC, RMLO, LMLO, then any other."""
    order = {name: place for place, name in enumerate(HANGING_ORDER)}
    return sorted(views, key=lambda view: order.get(view.view_name, len(order)))


def size_mm(finding: Finding, spacing: PixelSpacing) -> str:
    """Width and height of the outline on the detector plane, as `12 x 9 mm`."""
    points = finding.outline or (finding.center,)
    xs, ys = [x for x, _ in points], [y for _, y in points]
    wide = (max(xs) - min(xs)) * spacing.column
    high = (max(ys) - min(ys)) * spacing.row
    return f"{wide:.0f} \u00d7 {high:.0f} mm"
