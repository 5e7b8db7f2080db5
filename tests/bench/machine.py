"""What the benchmarks ran on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "amx_bf16", "amx_int8")
PACKAGES = (
    "cadnode",
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "numpy",
    "openvino",
    "onnxruntime",
    "pydicom",
    "pynetdicom",
    "highdicom",
    "sqlalchemy",
    "psycopg",
    "celery",
)
PROGRAMS = {
    "DCMTK": ("storescu", "--version"),
    "Orthanc": ("Orthanc", "--version"),
    "PostgreSQL": ("psql", "--version"),
}


def facts() -> list[list[str]]:
    """Rows of a table: what it is, and its value here."""
    cpu = _fields(Path("/proc/cpuinfo"))
    memory = _fields(Path("/proc/meminfo"))
    flags = cpu.get("flags", "").split()
    kilobytes = int(memory.get("MemTotal", "0 kB").split()[0])
    return [
        ["", ""],
        ["CPU", cpu.get("model name", platform.processor())],
        ["cores", str(len(os.sched_getaffinity(0)))],
        ["instructions", " ".join(flag for flag in FLAGS if flag in flags)],
        ["memory", f"{kilobytes / 2**20:.0f} GiB"],
        ["kernel", platform.release()],
        ["GPU", _first_line("nvidia-smi", "--query-gpu=name", "--format=csv,noheader") or "none"],
        ["Python", platform.python_version()],
        ["packages", ", ".join(_packages())],
        ["programs", ", ".join(_programs())],
    ]


def commit() -> str:
    """The commit of the working tree, short, and whether it has changes."""
    return _first_line("git", "describe", "--always", "--dirty", "--exclude=*") or "no commit"


def _fields(path: Path) -> dict[str, str]:
    """`name : value` lines, the first of each name."""
    found: dict[str, str] = {}
    for line in path.read_text("utf-8").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def _packages() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _programs() -> list[str]:
    lines = {name: _first_line(*command) for name, command in PROGRAMS.items()}
    return [line if name in line else f"{name}: {line}" for name, line in lines.items() if line]


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return ""
    lines = done.stdout.strip().splitlines()
    return lines[0].strip("$ ") if lines and not done.returncode else ""
