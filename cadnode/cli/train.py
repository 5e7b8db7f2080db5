"""`cadnode train` and `cadnode evaluate`: a bundle from annotated images, and what it is worth."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cadnode import __version__
from cadnode.app import utc_now
from cadnode.cli.output import ConfigOption, app_for, problem, progress_bar
from cadnode.inference.quiet import quiet

if TYPE_CHECKING:
    from cadnode.app import App
    from cadnode.site_cases import SiteCases

Sources = Annotated[
    list[Path],
    typer.Argument(
        exists=True,
        file_okay=False,
        metavar="FOLDER...",
        help="Folders of DICOM images (SR objects among them are read as annotations),"
        " or mini-MIAS with its Info.txt.",
    ),
]
Annotations = Annotated[
    list[Path] | None,
    typer.Option("--annotations", exists=True, dir_okay=False, help="CSV of circles and polygons."),
]
Masks = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="Mask pictures named SOP-INSTANCE-UID.png."),
]


class SplitBy(StrEnum):
    """What must not stand on both sides of the split."""

    PATIENT = "patient"
    PATCH = "patch"


class TrainIn(StrEnum):
    """What the products of a training are computed in."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class KeepFrozen(StrEnum):
    """Whether the frozen layers' outputs are kept on disk."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


def add_to(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.command()(train)
    cli.command()(evaluate)


def train(
    sources: Sources,
    name: Annotated[str, typer.Option(help="Name of the bundle.")],
    version: Annotated[str, typer.Option(help="Its version; never overwritten.")],
    run: Annotated[
        Path,
        typer.Option(file_okay=False, help="Patches, checkpoints and logs; again to go on."),
    ],
    annotations: Annotations = None,
    masks: Masks = None,
    description: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Markdown for the model card: where the images are from, who outlined them, when.",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(exists=True, help="Weights: a bundle's folder, or .npz of layer/variable."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 120,
    learning_rate: Annotated[float, typer.Option(min=1e-8)] = 1e-4,
    batch: Annotated[int, typer.Option(min=2)] = 32,
    frozen_layers: Annotated[int, typer.Option(min=0, help="Counted as Keras counts them.")] = 100,
    validation_share: Annotated[float, typer.Option(min=0.01, max=0.9)] = 0.05,
    split: Annotated[
        SplitBy, typer.Option(help="patch only to repeat the paper.")
    ] = SplitBy.PATIENT,
    pitch_mm: Annotated[float, typer.Option(min=0.02, max=0.5)] = 0.1,
    patch_size: Annotated[
        int, typer.Option(min=32, max=1024, help="Pixels of a side; a multiple of 32.")
    ] = 224,
    patches_per_cluster: Annotated[
        int, typer.Option(min=1, help="Cut about each annotated cluster, at random offsets.")
    ] = 4,
    normals_per_image: Annotated[
        int, typer.Option(min=0, help="Normal patches of one image, at most.")
    ] = 24,
    cells_weight: Annotated[
        float, typer.Option(min=0, help="Of the localisation map in the loss; the paper has none.")
    ] = 1.0,
    simulated: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="PATCHES",
            help="So many patches besides of each image, after simulated calcifications were"
            " inserted into it.",
        ),
    ] = 0,
    augment: Annotated[bool, typer.Option(help="Turn, mirror, change gain and offset.")] = True,
    precision: Annotated[
        TrainIn, typer.Option(help="auto: bfloat16 where the processor has AMX.")
    ] = TrainIn.AUTO,
    cache_frozen: Annotated[
        KeepFrozen,
        typer.Option(help="Compute the frozen layers once for each patch; needs --no-augment."),
    ] = KeepFrozen.AUTO,
    cache_gigabytes: Annotated[float, typer.Option(min=0, help="Disk that auto may take.")] = 20.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    config: ConfigOption = None,
) -> None:
    """Train a bundle on annotated images with the paper's protocol; every number is an option."""
    with quiet():
        from cadnode.training import commands
        from cadnode.training.network import CELL
        from cadnode.training.options import BundleOptions, CutOptions, FitOptions, TrainOptions
        from cadnode.training.speed import SpeedOptions

    if start is None and frozen_layers:
        raise typer.BadParameter(
            f"the first {frozen_layers} layers are not trained, so they must come from somewhere:"
            " --start with a bundle's folder or ResNet-50 weights, or --frozen-layers 0"
        )
    if patch_size % CELL:
        raise typer.BadParameter(f"--patch-size is a multiple of {CELL}")
    app = app_for(config)
    if app.settings.model.folder is None:
        raise typer.BadParameter("model.folder is not set")
    cases = _cases(app, sources, annotations, masks)
    options = TrainOptions(
        models=app.settings.model.folder,
        run=run,
        bundle=BundleOptions(
            name=name,
            version=version,
            description=description.read_text("utf-8").strip() if description else "",
        ),
        fit=FitOptions(
            frozen_layers=frozen_layers,
            learning_rate=learning_rate,
            batch=batch,
            epochs=epochs,
            augment=augment,
            validation_share=validation_share,
            split=split.value,
            seed=seed,
            side=patch_size,
            cells_weight=cells_weight,
            starting_weights=start,
        ),
        cut=CutOptions(
            patch_size=patch_size,
            map_size=patch_size // CELL,
            stride=patch_size * 11 // 14,
            pitch_mm=pitch_mm,
            shifts=patches_per_cluster,
            normals_per_image=normals_per_image,
            simulated=simulated,
            seed=seed,
        ),
        speed=SpeedOptions(precision.value, cache_frozen.value, cache_gigabytes),
    )
    with progress_bar("training") as bar:
        images = bar.add_task("images cut into patches", total=len(cases))
        task = bar.add_task("", total=None)
        trained = commands.train(
            cases.without,
            options,
            code_version=__version__,
            today=utc_now().date(),
            cutting=lambda done: bar.update(images, completed=done),
            progress=lambda done, total, loss: bar.update(
                task, completed=done, total=total, description=f"loss {loss:.3f}"
            ),
        )
    for line in (*cases.passed_over, *trained.warnings):
        problem(line)
    if trained.failed_images:
        problem(f"{trained.failed_images} images were passed over: no breast was found in them")
    typer.echo(f"{trained.patches} patches; bundle {trained.bundle}; report {trained.report}")


def evaluate(
    sources: Sources,
    out: Annotated[Path, typer.Option(file_okay=False, help="Where the report goes.")],
    annotations: Annotations = None,
    masks: Masks = None,
    patches: Annotated[
        bool, typer.Option(help="Measure single patches too, cut as training does.")
    ] = True,
    rounds: Annotated[int, typer.Option(min=1, help="Of the bootstrap.")] = 1000,
    title: Annotated[str, typer.Option(help="Of the report; else the folders' names.")] = "",
    simulated: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="VIEWS",
            help="Limit of detection instead: so many views of each image, with simulated"
            " calcifications in all but the first.",
        ),
    ] = None,
    into_bundle: Annotated[
        bool, typer.Option("--into-bundle", help="The bundle keeps the curves under the title.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Measure the model in force on annotated images: patch figures, FROC, one HTML report."""
    with quiet():
        from cadnode.training import commands

    app = app_for(config)
    cases = _cases(app, sources, annotations, masks)
    title = title or ", ".join(s.name for s in sources)
    if simulated is not None:
        if into_bundle:
            raise typer.BadParameter("--into-bundle keeps figures of real lesions only")
        _limit(app, cases, out, title=title, views=simulated, rounds=rounds)
        return
    with progress_bar("measuring") as bar:
        task = bar.add_task("", total=len(cases))
        result = commands.evaluate(
            lambda: iter(cases),
            app.classifier(),
            commands.EvaluateOptions(
                out=out,
                title=title,
                patches=patches,
                rounds=rounds,
                into=commands.IntoBundle(app.bundle().folder, utc_now().date())
                if into_bundle
                else None,
            ),
            progress=lambda done: bar.update(task, completed=done),
        )
    for line in cases.passed_over:
        problem(line)
    typer.echo(f"{len(result.images)} images; report {result.report}")
    if into_bundle and result.reference is None:
        problem("too few normal images for a reference: see cadnode model reference")


def _limit(app: App, cases: SiteCases, out: Path, *, title: str, views: int, rounds: int) -> None:
    with quiet():
        from cadnode.training.detection_limit import LimitOptions, measure_limit

    with progress_bar("measuring") as bar:
        task = bar.add_task("", total=len(cases))
        result = measure_limit(
            cases,
            app.classifier(),
            LimitOptions(out=out, title=title, views=views, rounds=rounds),
            progress=lambda done: bar.update(task, completed=done),
        )
    for line in cases.passed_over:
        problem(line)
    if result.passed_over:
        problem(f"{result.passed_over} images were passed over: no breast, or not all is outlined")
    typer.echo(f"{len(result.views)} simulated views; report {result.report}")


def _cases(
    app: App, sources: list[Path], annotations: list[Path] | None, masks: Path | None
) -> SiteCases:
    from cadnode.site_cases import site_cases

    return site_cases(
        sources,
        app.reader(),
        analyzed_views=frozenset(app.settings.exam.analyzed_views),
        annotations=annotations or [],
        masks=masks,
    )
