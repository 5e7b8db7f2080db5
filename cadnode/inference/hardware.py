"""What this machine is quick at, as far as it can be known without loading a framework."""

from __future__ import annotations

from pathlib import Path

_CPU = Path("/proc/cpuinfo")
_GPUS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))
"""NVIDIA's driver, AMD's driver."""


def has_amx(cpu: Path = _CPU) -> bool:
    """True when the CPU multiplies tiles of bfloat16. AVX-512 alone takes bfloat16 too, and is no
    faster with it than with float32."""
    try:
        lines = cpu.read_text("utf-8").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return "amx_bf16" in flags.split()


def has_gpu() -> bool:
    """True when there is a driver of one; whether a framework can use it is another question."""
    return any(path.exists() for path in _GPUS)
