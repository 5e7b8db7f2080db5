"""`cadnode model ...`: what the physicist does with a bundle that is there."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadnode.app import utc_now
from cadnode.cli.output import (
    ConfigOption,
    JsonOption,
    app_for,
    print_json,
    print_table,
    problem,
    progress_bar,
)
from cadnode.core.errors import CadnodeError, NotFound

if TYPE_CHECKING:
    from cadnode.app import App
    from cadnode.core.drift import Shift
    from cadnode.inference.bundle import Bundle

ENOUGH_MARKED = 100
"""Patches that may become a mark, to trust the band that was measured on them."""

model = typer.Typer(help="Model bundles.", no_args_is_help=True)


def add_to(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.add_typer(model, name="model")


@model.command("list")
def list_models(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Every bundle there is."""
    from cadnode.inference.bundle import list_bundles

    app = app_for(config)
    folder, inference = app.settings.model.folder, app.settings.model
    found = list_bundles(folder) if folder else []
    if as_json:
        print_json([{"name": name, "version": version} for name, version in found])
        return
    in_force = _in_force(app)
    print_table(
        ["NAME", "VERSION", ""],
        ([n, v, "in force" if (n, v) == in_force else ""] for n, v in found),
    )
    if in_force is None:
        problem(f"the model in force ({inference.name} {inference.version}) cannot be loaded")


@model.command()
def show(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """The card of the model in force and what it runs on here, or its manifest as JSON."""
    app = app_for(config)
    bundle = app.bundle()
    if as_json:
        print_json(dict(bundle.manifest))
        return
    typer.echo(bundle.card())
    try:
        typer.echo(f"Runs here on {app.classifier().runs_on.text}")
    except CadnodeError as error:
        problem(f"cannot run here: {error}")


@model.command()
def verify(config: ConfigOption = None) -> None:
    """Check the hashes of the model in force and recompute its golden example."""
    from cadnode.inference.bundle import verify_golden

    app = app_for(config)
    bundle = app.bundle()
    classifier = app.classifier()
    worst = verify_golden(bundle, classifier)
    typer.echo(
        f"{bundle.spec.name} {bundle.spec.version}: hashes right, golden example within {worst:.1e}"
    )
    typer.echo(f"on {classifier.runs_on.text}")


@model.command()
def export(
    out: Annotated[Path, typer.Option(dir_okay=False, help="The ONNX file.")],
    bundle: Annotated[
        str, typer.Argument(metavar="[NAME/VERSION]", help="The model in force without it.")
    ] = "",
    config: ConfigOption = None,
) -> None:
    """Write a model as ONNX: BatchNorm folded, one grey channel, float32; the runtimes that are
    installed must read out of it what Keras gives."""
    from cadnode.inference.export import export as write

    app = app_for(config)
    found = _called(app, bundle) if bundle else app.bundle()
    for one in write(found, out):
        typer.echo(
            f"{one.runtime}: scores within {one.probability:.1e} of Keras,"
            f" maps within {one.maps:.1e}"
        )
    typer.echo(f"{found.spec.name} {found.spec.version} in {out}")


@model.command()
def calibrate(
    bundle: Annotated[str, typer.Argument(metavar="NAME[/VERSION]")],
    images: Annotated[
        list[Path],
        typer.Argument(
            exists=True,
            file_okay=False,
            metavar="FOLDER...",
            help="Folders of DICOM images; annotations are not needed.",
        ),
    ],
    least_band: Annotated[
        float | None,
        typer.Option(min=0.1, max=10, help="In log-odds: score again at least so far down."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Let a bundle be screened in int8: find the ranges of its steps on every second patient, measure
    on the others what must be scored again in float32, and write both into the bundle."""
    from cadnode.calibrating import calibrate_bundle
    from cadnode.inference.calibrate import LEAST_BAND

    app = app_for(config)
    chosen = _called(app, bundle)
    with progress_bar("calibrating") as bar:
        task = bar.add_task("", total=None)
        result = calibrate_bundle(
            chosen,
            images,
            app.reader(),
            analyzed_views=frozenset(app.settings.exam.analyzed_views),
            least_band=LEAST_BAND if least_band is None else least_band,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for line in result.passed_over:
        problem(line)
    found, screening = result.found, result.found.screening
    typer.echo(
        f"ranges of {result.images[0]} images ({found.ranged} patches); measured on"
        f" {result.images[1]} others ({screening.patches} patches), split by {result.split_by}"
    )
    typer.echo(
        f"{screening.marked} of these reach the lowest operating point; int8 puts none of them more"
        f" than {found.too_low:.2f} log-odds too low"
    )
    typer.echo(
        f"band {screening.band:.2f}: {100 * found.again:.0f} % of the patches are scored again in"
        f" float32; written into {chosen.spec.name} {chosen.spec.version}"
    )
    if screening.marked < ENOUGH_MARKED:
        problem(f"fewer than {ENOUGH_MARKED} such patches show little: take more images")


@model.command()
def reference(
    from_database: Annotated[
        bool, typer.Option("--from-database", help="Of the exams this node has read.")
    ] = False,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day (UTC).")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day (UTC).")
    ] = None,
    note: Annotated[str, typer.Option(help="Why this period was accepted.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="The one that is there.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the reference that drift is measured against, or make the site's own."""
    from cadnode.drifting import bundle_in_force, make_reference, reference_of

    app = app_for(config)
    if from_database:
        store = app.open_store()
        try:
            kept = make_reference(
                app,
                store,
                first=since.date() if since else None,
                last=until.date() if until else None,
                note=note,
                replace=replace,
                now=utc_now(),
            )
        finally:
            store.close()
    elif since or until or note or replace:
        raise typer.BadParameter("these need --from-database")
    else:
        found = reference_of(app, bundle_in_force(app))
        if found is None:
            raise NotFound("the model in force has no reference: make one with --from-database")
        kept = found
    values = kept.reference
    where = kept.path or "the bundle's manifest"
    if as_json:
        print_json({**values.as_table(), "where": str(where)})
        return
    typer.echo(f"{values.model}: {values.exams} exams, {values.images} images, made {values.made}")
    typer.echo(f"{values.source} ({where})")


@model.command()
def drift(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Compare the last weeks' scores and marks with the reference; status 1 when they moved."""
    from cadnode.drifting import drift_verdict

    app = app_for(config)
    store = app.open_store()
    try:
        verdict = drift_verdict(app, store, now=utc_now())
    finally:
        store.close()
    if as_json:
        print_json(asdict(verdict))
    else:
        typer.echo(f"{verdict.model}: {verdict.state}. {verdict.text}")
        print_table(
            ["WEEK OF", "EXAMS", "SCORES PSI", "P", "MARKS PSI", "P", ""],
            (
                [span.first, span.exams, *_shift(span.scores), *_shift(span.marks), span.state]
                for span in verdict.by_week
                if span.exams
            ),
        )
    if verdict.moved:
        raise typer.Exit(1)


def _shift(shift: Shift | None) -> tuple[str, str]:
    return ("", "") if shift is None else (f"{shift.psi:.3f}", f"{shift.p:.2g}")


def _called(app: App, bundle: str) -> Bundle:
    from cadnode.inference.bundle import find_bundle

    name, _, version = bundle.partition("/")
    if not name:
        raise typer.BadParameter("a bundle is called NAME or NAME/VERSION")
    if app.settings.model.folder is None:
        raise typer.BadParameter("model.folder is not set")
    return find_bundle(app.settings.model.folder, name, version or "latest")


def _in_force(app: App) -> tuple[str, str] | None:
    try:
        spec = app.bundle().spec
    except CadnodeError:
        return None
    return spec.name, spec.version
