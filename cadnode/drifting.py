"""The watch over the model in force: its reference, its weeks, and whether it has moved.

`drift_verdict` is the one answer: pages, notifications and `cadnode model drift` all ask it.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from cadnode.app import App
from cadnode.core.drift import (
    LEAST_REFERENCE,
    MOST_WEEKS,
    PLAIN_EDGES,
    DriftVerdict,
    ScoreReference,
    WeekCounts,
    judge,
    monday_of,
    reference_from,
    score_edges,
)
from cadnode.core.errors import ConfigError, ModelUnfit
from cadnode.core.model import model_label
from cadnode.core.toml_text import to_toml
from cadnode.inference.bundle import Bundle, bundle_folder, read_bundle
from cadnode.storage.scores import ScoreRecords
from cadnode.store import Store

VERDICT_WEEKS = 2 * MOST_WEEKS
"""What a verdict may rest on: the newest weeks with enough exams, and those before them."""
_TABLE = "reference"


@dataclass(frozen=True, slots=True)
class KeptReference:
    """A reference and where it was found."""

    reference: ScoreReference
    path: Path | None
    """The site's own file; None for the one in the bundle's manifest."""


def bundle_in_force(app: App) -> Bundle:
    """The bundle the settings name, as its manifest describes it; its files are not looked at.

    Raises ModelUnfit, ConfigError.
    """
    model = app.settings.model
    if model.folder is None:
        raise ConfigError("model.folder: not set")
    return read_bundle(bundle_folder(model.folder, model.name, model.version))


def drift_verdict(
    app: App, store: Store, *, now: datetime, weeks: int = VERDICT_WEEKS
) -> DriftVerdict:
    """Whether scores and marks of the model in force are still as in its reference.

    `weeks` complete ISO weeks before `now` are looked at. Takes about 60 ms for a week of 4,000
    exams. Raises ModelUnfit, ConfigError (a reference that cannot be read), DatabaseUnavailable.
    """
    bundle = bundle_in_force(app)
    kept = reference_of(app, bundle)
    return judge(
        model_label(bundle.spec),
        kept.reference if kept else None,
        week_counts(store, bundle, kept, last_mondays(now, weeks)),
    )


def last_mondays(now: datetime, weeks: int) -> list[date]:
    """The Mondays of the complete ISO weeks before `now` (UTC), the oldest first."""
    this = monday_of(now.date())
    return [this - timedelta(weeks=back) for back in range(weeks, 0, -1)]


def week_counts(
    store: Store, bundle: Bundle, kept: KeptReference | None, mondays: list[date]
) -> tuple[WeekCounts, ...]:
    """The counts of weeks in the bins of the reference, or in twentieths without one."""
    return ScoreRecords(store.database).weeks(
        model_label(bundle.spec),
        mondays,
        edges=kept.reference.score_edges if kept else PLAIN_EDGES,
        operating_point=bundle.spec.recommended,
    )


def reference_of(app: App, bundle: Bundle) -> KeptReference | None:
    """The site's own reference for a bundle, else the one in its manifest, else None.

    Raises ConfigError for a file that cannot be read or belongs to another model, ModelUnfit for
    a manifest with such a reference.
    """
    path = reference_path(app, bundle)
    if path.exists():
        try:
            table = tomllib.loads(path.read_text("utf-8")).get(_TABLE, {})
            return KeptReference(_fitting(reference_from(table), bundle), path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: {error}") from error
    table = bundle.manifest.get(_TABLE)
    if table is None:
        return None
    try:
        return KeptReference(_fitting(reference_from(table), bundle), None)
    except (ValueError, AttributeError) as error:
        raise ModelUnfit(f"{bundle.folder}: {error}") from error


def reference_path(app: App, bundle: Bundle) -> Path:
    """Where the site's own reference for a bundle is kept."""
    spec = bundle.spec
    return app.settings.node.data_dir / f"reference-{spec.name}-{spec.version}.toml"


def make_reference(
    app: App,
    store: Store,
    *,
    first: date | None = None,
    last: date | None = None,
    note: str = "",
    replace: bool = False,
    now: datetime,
) -> KeptReference:
    """The site's reference: what the model in force said of the exams received from the day
    `first` to the day `last` (UTC, both included; the whole time before today by default).

    Raises ConfigError when there are too few exams, or there is one already and it is not to be
    replaced; ModelUnfit, DatabaseUnavailable.
    """
    bundle = bundle_in_force(app)
    path = reference_path(app, bundle)
    if path.exists() and not replace:
        raise ConfigError(f"{path} is there already: what the site accepted is replaced on purpose")
    label = model_label(bundle.spec)
    scores = ScoreRecords(store.database)
    known = scores.received_span(label)
    yesterday = now.date() - timedelta(days=1)
    first = first or (known[0] if known else yesterday)
    last = min(last, now.date()) if last else min(yesterday, known[1] if known else yesterday)
    values = scores.top_scores(label, first, last)
    edges = score_edges(values) if len(values) else ()
    counts = scores.span(label, first, last, edges=edges, operating_point=bundle.spec.recommended)
    if counts.exams < LEAST_REFERENCE:
        raise ConfigError(
            f"{counts.exams} exams read by {label} were received from {first} to {last}: "
            f"a reference needs {LEAST_REFERENCE}"
        )
    reference = ScoreReference(
        model=label,
        source=f"this site's exams received from {first} to {last}" + (f"; {note}" if note else ""),
        made=now.date(),
        exams=counts.exams,
        images=counts.images,
        score_edges=edges,
        score_counts=counts.score_counts,
        marks_counts=counts.marks_counts,
        operating_point=bundle.spec.recommended,
    )
    _write(path, reference)
    return KeptReference(reference, path)


def _fitting(reference: ScoreReference, bundle: Bundle) -> ScoreReference:
    label, point = model_label(bundle.spec), bundle.spec.recommended
    if (reference.model, reference.operating_point) != (label, point):
        raise ValueError(
            f"the reference is of {reference.model} at operating point {reference.operating_point},"
            f" not of {label} at {point}"
        )
    return reference


def _write(path: Path, reference: ScoreReference) -> None:
    aside = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8") as file:
            file.write(to_toml({_TABLE: reference.as_table()}))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
