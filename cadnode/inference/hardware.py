"""What this machine is quick at, as far as it can be known without loading a framework."""

from __future__ import annotations

from pathlib import Path

_CPU = Path("/proc/cpuinfo")
_GPUS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))
"""NVIDIA's driver, AMD's driver."""


def has_amx(cpu: Path = _CPU) -> bool:
    """True when the CPU multiplies tiles of bfloat16. AVX-512 alone takes bfloat16 too, and is no
    faster with it than with float32."""
    return "amx_bf16" in _flags(cpu)


def int8_pays(cpu: Path = _CPU) -> bool:
    """True when nothing else is as quick on the CPU as int8: with AMX when that multiplies int8
    too, else with the instructions for it (VNNI)."""
    flags = _flags(cpu)
    if "amx_bf16" in flags or "amx_int8" in flags:
        return "amx_int8" in flags
    return not flags.isdisjoint(("avx512_vnni", "avx_vnni"))


def _flags(cpu: Path) -> frozenset[str]:
    try:
        lines = cpu.read_text("utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())


def has_gpu() -> bool:
    """True when there is a driver of one; whether a framework can use it is another question."""
    return any(path.exists() for path in _GPUS)
