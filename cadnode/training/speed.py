"""How fast a training runs; none of it changes what is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Precision = Literal["auto", "float32", "bfloat16"]
CacheFrozen = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class SpeedOptions:
    """Of a run; a run may be gone on with by others."""

    precision: Precision = "auto"
    """Of the products; weights, BatchNorm and the optimiser stay float32. `auto` is bfloat16 where
    the processor multiplies matrices in it (AMX), else float32."""
    cache_frozen: CacheFrozen = "auto"
    """Keep on disk what the frozen layers make of each patch. `auto`: when each patch is used whole
    and unchanged, and it takes no more than `cache_gigabytes` and half of the free disk."""
    cache_gigabytes: float = 20.0


def precision_here(wanted: Precision) -> str:
    """float32 or bfloat16."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if _on_cpu() and _multiplies_bfloat16() else "float32"


def _on_cpu() -> bool:
    import keras

    return all(name.lower().startswith("cpu") for name in keras.distribution.list_devices())


def _multiplies_bfloat16() -> bool:
    """Without AMX, bfloat16 takes nearly twice as long as float32, also with AVX512_BF16."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "amx_bf16" in cpuinfo.read_text("utf-8")
