"""Grey pictures (PNG, PGM, TIFF) as mammograms: research sets that are not DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cadnode.core.errors import ConfigError
from cadnode.core.mammogram import Intent, Laterality, Mammogram, PixelSpacing


def read_picture(path: Path) -> NDArray[np.float32]:
    """Grey values 0..1 of the type's range. Raises ConfigError."""
    try:
        with Image.open(path) as image:
            values = np.asarray(image)
    except (OSError, UnidentifiedImageError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if values.ndim != 2:
        raise ConfigError(f"{path} is not a single-channel grey picture")
    if values.dtype == np.bool_:
        return values.astype(np.float32)
    top = np.iinfo(values.dtype).max if values.dtype.kind == "u" else values.max() or 1
    return np.asarray(values / np.float32(top), np.float32)


def as_mammogram(
    pixels: NDArray[np.float32],
    *,
    name: str,
    pitch_mm: float,
    laterality: Laterality = Laterality.LEFT,
    view: str = "MLO",
) -> Mammogram:
    """A picture of known pixel pitch, as the rest of the node sees a mammogram."""
    return Mammogram(
        sop_instance_uid=name,
        laterality=laterality,
        view=view,
        intent=Intent.PRESENTATION,
        spacing=PixelSpacing(pitch_mm, pitch_mm),
        pixels=pixels,
        valid=np.ones(pixels.shape, np.bool_),
    )
