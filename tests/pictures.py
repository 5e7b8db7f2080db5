"""Made-up pictures of breasts: plain float32 arrays in 0..1, dense tissue bright, air 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cadnode.core.findings import Point

Picture = NDArray[np.float32]


def _power_law_noise(rows: int, columns: int, generator: np.random.Generator) -> Picture:
    """Noise whose power falls with the third power of frequency, as in parenchyma; 0 +- 1."""
    # Made small and enlarged: the fine frequencies carry next to no power.
    scale = max(1, max(rows, columns) // 512)
    small_rows, small_columns = -(-rows // scale), -(-columns // scale)
    vertical = np.fft.fftfreq(small_rows)[:, None]
    horizontal = np.fft.rfftfreq(small_columns)[None, :]
    frequency = np.hypot(vertical, horizontal)
    frequency[0, 0] = np.inf
    white = np.fft.rfft2(generator.standard_normal((small_rows, small_columns)))
    noise = np.fft.irfft2(white * frequency**-1.5, s=(small_rows, small_columns))
    noise = (noise - noise.mean()) / (noise.std() + 1e-9)
    if scale > 1:
        noise = ndimage.zoom(noise, scale, order=1)[:rows, :columns]
    return np.asarray(noise, dtype=np.float32)


def breast_phantom(
    rows: int, columns: int, spacing_mm: float, seed: int = 0, laterality: str = "R"
) -> Picture:
    """A picture of one breast as it usually hangs: chest wall right for R, left for L.

    Half an ellipse at the chest wall with a bright skin line (1.5 mm), fat fading towards the
    skin, and a glandular part with power-law texture and a little quantum noise. Air is 0.
    """
    generator = np.random.default_rng(seed)
    y = (np.arange(rows, dtype=np.float32)[:, None] - rows / 2) / (rows * 0.45)
    x = np.arange(columns, dtype=np.float32)[None, :] / (columns * 0.8)
    radius = np.hypot(x, y)
    pixel = 1 / (min(rows * 0.45, columns * 0.8))
    depth_mm = np.clip((1 - radius) / pixel * spacing_mm, 0, None)
    thickness = 1 - np.exp(-depth_mm / 8)
    gland = np.exp(-4 * ((x - 0.4) ** 2 + y**2)) * (
        0.25 + 0.06 * _power_law_noise(rows, columns, generator)
    )
    skin = 0.1 * ((depth_mm > 0) & (depth_mm < 1.5))
    picture = 0.15 + 0.3 * thickness + gland + skin
    picture += 0.004 * generator.standard_normal((rows, columns), dtype=np.float32)
    picture = np.where(radius < 1, np.clip(picture, 0.05, 0.95), 0).astype(np.float32)
    return picture if laterality == "L" else np.ascontiguousarray(picture[:, ::-1])


def add_cluster(
    picture: Picture,
    center: Point,
    spacing_mm: float,
    *,
    n: int = 8,
    spread_mm: float = 5.0,
    diameter_mm: tuple[float, float] = (0.2, 0.5),
    contrast: float = 0.35,
    seed: int = 0,
) -> tuple[Point, ...]:
    """Draw `n` bright round dots into `picture` within `spread_mm` around `center`.

    Points are (column, row) with 0, 0 at the outer corner of the first pixel (PS3.3 C.18.6).
    Returns the true centers of the dots; the mean of them is near `center`, not equal to it.
    Dots keep apart by their diameter where the spread leaves room.
    """
    generator = np.random.default_rng(seed)
    placed: list[Point] = []
    while len(placed) < n:
        best: Point = center
        for _ in range(20):
            angle = generator.uniform(0, 2 * np.pi)
            distance = spread_mm / 2 * np.sqrt(generator.uniform(0, 1)) / spacing_mm
            best = (
                float(center[0] + distance * np.cos(angle)),
                float(center[1] + distance * np.sin(angle)),
            )
            if all(_distance(best, other) * spacing_mm > 2 * diameter_mm[1] for other in placed):
                break
        placed.append(best)
        _draw_dot(picture, best, generator.uniform(*diameter_mm) / spacing_mm, contrast)
    return tuple(placed)


def _distance(a: Point, b: Point) -> float:
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))


def _draw_dot(picture: Picture, center: Point, diameter: float, contrast: float) -> None:
    """One dot of `diameter` pixels with an edge one pixel soft, clipped at 1 and at the border."""
    reach = int(np.ceil(diameter / 2)) + 2
    column, row = int(center[0]), int(center[1])
    r0, r1 = max(row - reach, 0), min(row + reach + 1, picture.shape[0])
    c0, c1 = max(column - reach, 0), min(column + reach + 1, picture.shape[1])
    rows = np.arange(r0, r1)[:, None] + 0.5 - center[1]
    columns = np.arange(c0, c1)[None, :] + 0.5 - center[0]
    inside = np.clip(diameter / 2 - np.hypot(rows, columns) + 0.5, 0, 1)
    window = picture[r0:r1, c0:c1]
    window[...] = np.minimum(window + contrast * inside, 1)


def flip(picture: NDArray[Any], orientation: str) -> NDArray[Any]:
    """`picture` flipped: orientation is "", "h" (left-right), "v" (top-bottom) or "hv"."""
    if "h" in orientation:
        picture = picture[:, ::-1]
    if "v" in orientation:
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def flip_points(points: Sequence[Point], shape: tuple[int, ...], orientation: str) -> list[Point]:
    """Where `points` of the unflipped picture lie after `flip`; `shape` is (rows, columns)."""
    rows, columns = shape[:2]
    return [
        (
            columns - column if "h" in orientation else column,
            rows - row if "v" in orientation else row,
        )
        for column, row in points
    ]
