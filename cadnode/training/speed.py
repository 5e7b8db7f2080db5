"""How fast a training runs; none of it changes what is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cadnode.inference.hardware import has_amx

Precision = Literal["auto", "float32", "bfloat16"]
CacheFrozen = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class SpeedOptions:
    """Of a run; a run may be gone on with by others."""

    precision: Precision = "auto"
    """Of the products; weights, BatchNorm and the optimiser stay float32. `auto` is bfloat16 where
    the processor multiplies matrices in it (AMX), else float32: without AMX, bfloat16 takes nearly
    twice as long, also with AVX512_BF16."""
    cache_frozen: CacheFrozen = "auto"
    """Keep on disk what the frozen layers make of each patch. `auto`: when each patch is used whole
    and unchanged, and it takes no more than `cache_gigabytes` and half of the free disk."""
    cache_gigabytes: float = 20.0


def precision_here(wanted: Precision) -> str:
    """float32 or bfloat16."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if _on_cpu() and has_amx() else "float32"


def _on_cpu() -> bool:
    import keras

    return all(name.lower().startswith("cpu") for name in keras.distribution.list_devices())
