"""ResNet-50 as a list of steps, so that a part of it can be built in another way.

Names and order are those of keras.applications.ResNet50.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

STAGES = ((2, 3, 64), (3, 4, 128), (4, 6, 256), (5, 3, 512))
"""(stage, blocks, width)."""
INPUT, OUTPUT = "input", "conv5_block3_out"


@dataclass(frozen=True, slots=True)
class Step:
    """One tensor of the network: how it is made, and of which others."""

    name: str
    kind: Literal["conv", "norm", "relu", "add", "pool"]
    inputs: tuple[str, ...]
    size: int = 1
    stride: int = 1


def steps() -> Iterator[Step]:
    """Every step, each after those it needs; the input is `INPUT`, the result `OUTPUT`."""
    yield Step("conv1_conv", "conv", (INPUT,), 7, 2)
    yield Step("conv1_bn", "norm", ("conv1_conv",))
    yield Step("conv1_relu", "relu", ("conv1_bn",))
    yield Step("pool1_pool", "pool", ("conv1_relu",))
    last = "pool1_pool"
    for stage, blocks, _ in STAGES:
        for block in range(1, blocks + 1):
            stride = 2 if block == 1 and stage > 2 else 1
            yield from _block(f"conv{stage}_block{block}", last, stride, shortcut=block == 1)
            last = f"conv{stage}_block{block}_out"


def _block(name: str, before: str, stride: int, *, shortcut: bool) -> Iterator[Step]:
    beside = before
    if shortcut:
        yield from _conv_norm(f"{name}_0", before, 1, stride)
        beside = f"{name}_0_bn"
    yield from _conv_norm(f"{name}_1", before, 1, stride)
    yield Step(f"{name}_1_relu", "relu", (f"{name}_1_bn",))
    yield from _conv_norm(f"{name}_2", f"{name}_1_relu", 3, 1)
    yield Step(f"{name}_2_relu", "relu", (f"{name}_2_bn",))
    yield from _conv_norm(f"{name}_3", f"{name}_2_relu", 1, 1)
    yield Step(f"{name}_add", "add", (beside, f"{name}_3_bn"))
    yield Step(f"{name}_out", "relu", (f"{name}_add",))


def _conv_norm(name: str, before: str, size: int, stride: int) -> Iterator[Step]:
    yield Step(f"{name}_conv", "conv", (before,), size, stride)
    yield Step(f"{name}_bn", "norm", (f"{name}_conv",))
