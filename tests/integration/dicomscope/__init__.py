"""Presentation states drawn by DICOMscope, a real viewer, without a screen."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.peers import absent, require

_JAR = Path("/usr/share/java/DICOMscope.jar")
_LIBRARIES = sorted(Path("/usr/lib").glob("*/jni/libjInterface.so"))
_SOURCE = Path(__file__).parent / "DrawMarks.java"


@dataclass(frozen=True)
class State:
    """A presentation state and its image as files, and the size of the image."""

    state: Path
    image: Path
    rows: int
    columns: int


Drawn = dict[str, NDArray[np.uint8]]
"""By name of the layer: grey values, shape (rows, columns), 0 where nothing is drawn."""


def draw(states: Sequence[State], folder: Path) -> list[Drawn]:
    """What the viewer draws of each state, one screen pixel for each image pixel."""
    require("dicomscope", "dicomscope libdicomscope-jni")
    java = require("java", "default-jdk-headless")
    javac = require("javac", "default-jdk-headless")
    if not _LIBRARIES:
        absent("libjInterface.so is not installed: apt-get install libdicomscope-jni")
    configuration = folder / "dicomscope.cfg"
    shipped = Path("/etc/dcmtk/DICOMscope.cfg").read_text(errors="replace")
    configuration.write_text(shipped.replace("LogDirectory = log", f"LogDirectory = {folder}"))
    arguments = [str(configuration)]
    for index, one in enumerate(states):
        size = [str(one.columns), str(one.rows)]
        arguments += [str(one.state), str(one.image), *size, str(folder / f"drawn-{index}")]
    # Compiled first: run from its source it would be a class of another loader, whose native
    # library those of the viewer cannot see.
    subprocess.run([javac, "-nowarn", "-cp", _JAR, "-d", folder, _SOURCE], check=True)
    ran = subprocess.run(
        [
            java,
            "-Djava.awt.headless=true",
            f"-Djava.library.path={_LIBRARIES[0].parent}",
            "-cp",
            f"{_JAR}{os.pathsep}{folder}",
            "DrawMarks",
            *arguments,
        ],
        cwd=folder,
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return [
        {
            path.stem.removeprefix(f"drawn-{index}-"): np.asarray(Image.open(path))
            for path in sorted(folder.glob(f"drawn-{index}-*.png"))
        }
        for index in range(len(states))
    ]
