"""`cadnode protocol`: the published way of training, repeated on labelled patches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cadnode.cli.output import print_table, progress_bar
from cadnode.cli.train import KeepFrozen, TrainIn
from cadnode.inference.quiet import quiet


def add_to(cli: typer.Typer) -> None:
    """Add the command of this module."""
    cli.command()(protocol)


def protocol(
    patches: Annotated[
        Path,
        typer.Argument(
            exists=True,
            file_okay=False,
            metavar="FOLDER",
            help="8-bit PGM or PNG patches in Train/0, Train/1, Test/0 and Test/1; 0 is normal.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(file_okay=False, help="Report, and what each seed leaves; again to go on."),
    ],
    start: Annotated[
        Path,
        typer.Option(exists=True, help="Weights: .npz of layer/variable, or a bundle's folder."),
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Trainings, from seed 0 on.")] = 5,
    patch_size: Annotated[
        int, typer.Option(min=32, max=1024, help="Patches are enlarged to it; a multiple of 32.")
    ] = 224,
    epochs: Annotated[int, typer.Option(min=1)] = 120,
    learning_rate: Annotated[float, typer.Option(min=1e-8)] = 1e-4,
    batch: Annotated[int, typer.Option(min=2)] = 32,
    frozen_layers: Annotated[int, typer.Option(min=0, help="Counted as Keras counts them.")] = 100,
    validation_share: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Of the training part, kept aside.")
    ] = 0.05,
    augment: Annotated[
        bool, typer.Option(help="Turn, mirror, change gain and offset; not published.")
    ] = False,
    precision: Annotated[
        TrainIn, typer.Option(help="auto: bfloat16 where the processor has AMX.")
    ] = TrainIn.AUTO,
    cache_frozen: Annotated[
        KeepFrozen, typer.Option(help="Compute the frozen layers once for each patch.")
    ] = KeepFrozen.AUTO,
) -> None:
    """Repeat the published training on labelled patches with a fixed test part, seed by seed."""
    with quiet():
        from cadnode.training.network import CELL
        from cadnode.training.options import FitOptions
        from cadnode.training.protocol import ProtocolOptions, run_protocol
        from cadnode.training.seed_scores import POINTS
        from cadnode.training.speed import SpeedOptions

    if patch_size % CELL:
        raise typer.BadParameter(f"--patch-size is a multiple of {CELL}")
    options = ProtocolOptions(
        out=out,
        seeds=seeds,
        fit=FitOptions(
            frozen_layers=frozen_layers,
            learning_rate=learning_rate,
            batch=batch,
            epochs=epochs,
            validation_share=validation_share,
            side=patch_size,
            cells_weight=0.0,
            augment=augment,
            starting_weights=start,
        ),
        speed=SpeedOptions(precision.value, cache_frozen.value),
    )
    with progress_bar("training") as bar:
        task = bar.add_task("", total=None)
        result = run_protocol(
            patches,
            options,
            progress=lambda seed, done, total, loss: bar.update(
                task,
                completed=seed * total + done,
                total=seeds * total,
                description=f"seed {seed}, loss {loss:.3f}",
            ),
        )
    columns = ("accuracy", "sensitivity", "specificity", "auc")
    print_table(
        (f"median of {seeds}", "accuracy", "sensitivity", "specificity", "AUC"),
        [
            (f"at {point}", *(f"{result.median(point, column):.3f}" for column in columns))
            for point in POINTS
        ],
    )
    typer.echo(f"report {result.report}")
