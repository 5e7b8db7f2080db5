"""Pictures of mammograms with the marks drawn on them: the whole view, and close-ups.

A mark that a workstation shows by default is a solid orange outline; an optional one is dashed and
blue. The two colours are told apart with every kind of colour blindness, and line style says the
same again. Marks are numbered from the highest score, so that a picture, a close-up and a table
name the same mark the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cadnode.core.findings import Finding
from cadnode.core.mammogram import PixelSpacing
from cadnode.core.patch_map import HeatMap
from cadnode.pictures.canvas import OPTIONAL, SHOWN, Canvas, percent

__all__ = [
    "CloseUp",
    "ViewPicture",
    "draw_close_ups",
    "draw_marks",
    "draw_view",
    "numbered",
    "percent",
    "save_png",
]


@dataclass(frozen=True, slots=True)
class ViewPicture:
    """One view, scaled, with its marks on a layer of their own."""

    film: Image.Image
    """Greyscale, without anything drawn on it."""
    marks: Image.Image
    """RGBA of the same size: what is shown by default, scale bar and name included."""
    optional: Image.Image
    """RGBA of the same size: the optional marks."""

    def flat(self) -> Image.Image:
        """All layers in one RGB picture."""
        picture = self.film.convert("RGBA")
        picture.alpha_composite(self.optional)
        picture.alpha_composite(self.marks)
        return picture.convert("RGB")


@dataclass(frozen=True, slots=True)
class CloseUp:
    """The surroundings of one mark at full resolution, without and with the mark."""

    number: int
    extent_mm: float
    """Width and height of what it shows."""
    film: Image.Image
    marked: Image.Image


def numbered(findings: Sequence[Finding]) -> list[tuple[int, Finding]]:
    """The findings with the numbers that the pictures give them: 1 has the highest score."""
    ordered = sorted(findings, key=lambda finding: -finding.score)
    return list(enumerate(ordered, start=1))


def draw_view(
    pixels: NDArray[np.float32],
    findings: Sequence[Finding],
    *,
    spacing: PixelSpacing,
    view_name: str,
    recommended: int = 0,
    height: int = 1400,
    heat: HeatMap | None = None,
    caption: str = "",
) -> ViewPicture:
    """The whole view with its marks.

    `pixels` is (rows, columns) in 0..1; findings are in its pixel grid. Marks with an operating
    point up to `recommended` are drawn as shown by default; `heat` is laid under them. The picture
    is `height` high, and as wide as square pixels on the detector make it. `caption` stands below
    the name of the view.
    """
    rows, columns = pixels.shape
    width = max(1, round(height * (columns * spacing.column) / (rows * spacing.row)))
    film = _grey(pixels).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    scale = (width / columns, height / rows)
    shown, optional = Canvas(width, height, scale=scale), Canvas(width, height, scale=scale)
    if heat is not None:
        shown.layer.alpha_composite(_heat_layer(heat, shown))
    marks = numbered(findings)
    default = [mark for mark in marks if mark[1].operating_point <= recommended]
    others = [mark for mark in marks if mark[1].operating_point > recommended]
    # First, so that no mark or label is hidden under them.
    shown.scale_bar((50, 30, 20, 10), 10, spacing.column, right=view_name.startswith("L"))
    note = "" if default else "optional marks only" if others else "no marks"
    shown.view_name(view_name, note, caption)
    for canvas, layer in ((shown, default), (optional, others)):
        for _, finding in reversed(layer):
            canvas.outline(finding, shown=canvas is shown)
            canvas.dots(finding, shown=canvas is shown)
    shown.keep_clear(finding for _, finding in default)
    for number, finding in default:
        shown.label(number, finding, shown=True)
    optional.keep_clear((finding for _, finding in marks), also=shown)
    for number, finding in others:
        optional.label(number, finding, shown=False)
    return ViewPicture(film, shown.finished(), optional.finished())


def draw_marks(
    pixels: NDArray[np.float32],
    findings: Sequence[Finding],
    *,
    spacing: PixelSpacing,
    view_name: str,
    recommended: int = 0,
    height: int = 1400,
    heat: HeatMap | None = None,
    caption: str = "",
) -> Image.Image:
    """`draw_view` as one flat RGB picture."""
    return draw_view(
        pixels,
        findings,
        spacing=spacing,
        view_name=view_name,
        recommended=recommended,
        height=height,
        heat=heat,
        caption=caption,
    ).flat()


def draw_close_ups(
    pixels: NDArray[np.float32],
    findings: Sequence[Finding],
    *,
    spacing: PixelSpacing,
    recommended: int = 0,
    size: int = 420,
    limit: int | None = None,
) -> list[CloseUp]:
    """One close-up of `size` x `size` for each mark, or for the `limit` first of them by number.

    A close-up shows at least 18 mm, and at least the mark with a margin. It is stretched in
    brightness to what it holds, as a reader would with the window, and shows what is beyond the
    image's edge as black.
    """
    return [
        _close_up(number, pixels, finding, spacing, recommended, size)
        for number, finding in numbered(findings)[:limit]
    ]


def save_png(image: Image.Image, path: Path) -> None:
    """Write the picture as PNG."""
    image.save(path, format="PNG", optimize=False, compress_level=6)


def _grey(pixels: NDArray[np.float32]) -> Image.Image:
    return Image.fromarray((np.clip(pixels, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))


def _close_up(
    number: int,
    pixels: NDArray[np.float32],
    finding: Finding,
    spacing: PixelSpacing,
    recommended: int,
    size: int,
) -> CloseUp:
    xs = [x for x, _ in finding.outline] or [finding.center[0]]
    ys = [y for _, y in finding.outline] or [finding.center[1]]
    across = max((max(xs) - min(xs)) * spacing.column, (max(ys) - min(ys)) * spacing.row)
    extent_mm = max(18.0, across * 1.2)
    center = ((max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2)
    half = (extent_mm / 2 / spacing.column, extent_mm / 2 / spacing.row)
    left, top = (round(c - h) for c, h in zip(center, half, strict=True))
    columns, rows = (max(1, round(2 * h)) for h in half)
    crop = _crop(pixels, left, top, columns, rows)
    film = _grey(_stretched(crop)).resize((size, size), Image.Resampling.LANCZOS)
    canvas = Canvas(size, size, scale=(size / columns, size / rows), origin=(left, top))
    shown = finding.operating_point <= recommended
    canvas.outline(finding, shown=shown)
    for calcification in finding.calcifications:
        radius_mm = max(calcification.diameter_mm, 0.3) * 0.9
        canvas.ring(calcification.center, radius_mm / spacing.column, SHOWN if shown else OPTIONAL)
    canvas.scale_bar((5, 2, 1), 1, spacing.column, right=False)
    canvas.tag((size * 0.04, size * 0.04), number, finding, shown=shown)
    marked = film.convert("RGBA")
    marked.alpha_composite(canvas.finished())
    return CloseUp(number, extent_mm, film, marked.convert("RGB"))


def _crop(
    pixels: NDArray[np.float32], left: int, top: int, columns: int, rows: int
) -> NDArray[np.float32]:
    crop = np.zeros((rows, columns), np.float32)
    height, width = pixels.shape
    r0, r1 = max(0, top), min(height, top + rows)
    c0, c1 = max(0, left), min(width, left + columns)
    if r0 < r1 and c0 < c1:
        crop[r0 - top : r1 - top, c0 - left : c1 - left] = pixels[r0:r1, c0:c1]
    return crop


def _stretched(crop: NDArray[np.float32]) -> NDArray[np.float32]:
    tissue = crop[crop > 0.02]
    if tissue.size == 0:
        return crop
    low, high = np.percentile(tissue, [1.0, 99.9])
    # Not steeper than eight times: flat tissue should look flat, not like noise.
    high = max(float(high), float(low) + 0.125)
    return np.asarray((crop - low) / (high - low), np.float32)


def _heat_layer(heat: HeatMap, canvas: Canvas) -> Image.Image:
    """From clear (0) over orange to yellow (1), smooth between cells."""
    values = np.clip(heat.values, 0.0, 1.0)
    rgba = np.zeros((*values.shape, 4), np.uint8)
    rgba[..., 0] = 250
    rgba[..., 1] = 90 + 140 * values
    rgba[..., 2] = 40
    rgba[..., 3] = 170 * values
    rows, columns = values.shape
    right, bottom = canvas.place((columns * heat.column_step, rows * heat.row_step))
    size = (max(1, round(right)), max(1, round(bottom)))
    layer = Image.new("RGBA", canvas.layer.size, (0, 0, 0, 0))
    layer.paste(Image.fromarray(rgba).resize(size, Image.Resampling.BICUBIC), (0, 0))
    return layer
