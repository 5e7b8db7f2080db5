"""A transparent layer on which marks are drawn in the pixel coordinates of the mammogram."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from cadnode.core.findings import Finding, Point

SHOWN = (255, 170, 40)
OPTIONAL = (110, 190, 245)
INK = (235, 235, 235)
HALO = (0, 0, 0, 200)

# Lines are drawn at this many times the size and reduced: Pillow draws without smoothing.
FINE = 2


def percent(score: float) -> str:
    """A score as it is shown everywhere: never 0 % or 100 %, which no model can claim."""
    if score >= 0.995:
        return ">99 %"
    if score < 0.005:
        return "<1 %"
    return f"{score * 100:.0f} %"


class Canvas:
    """A transparent layer to draw marks on, in the pixel coordinates of the mammogram."""

    def __init__(
        self,
        width: int,
        height: int,
        *,
        scale: tuple[float, float],
        origin: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.width, self.height = width * FINE, height * FINE
        self.layer = Image.new("RGBA", (self.width, self.height), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.layer)
        self._scale = (scale[0] * FINE, scale[1] * FINE)
        self._origin = origin
        # One fiftieth of the height is readable on a view; a close-up needs more.
        self._text = max(16, height // 50) * FINE
        self._line = max(1.4, height / 700) * FINE
        self._taken: list[tuple[float, float, float, float]] = []

    def place(self, point: Point) -> tuple[float, float]:
        """Where a point of the mammogram lies on the canvas."""
        return (
            (point[0] - self._origin[0]) * self._scale[0],
            (point[1] - self._origin[1]) * self._scale[1],
        )

    def finished(self) -> Image.Image:
        return self.layer.reduce(FINE)

    def outline(self, finding: Finding, *, shown: bool) -> None:
        points = [self.place(point) for point in finding.outline]
        if len(points) < 2:
            return
        colour = SHOWN if shown else OPTIONAL
        line = self._line * 1.6
        if shown:
            self._stroke(points, colour, line)
        else:
            # A small outline needs short dashes to be seen as dashed.
            around = sum(math.dist(a, b) for a, b in pairwise(points))
            on = min(line * 5, around / 14)
            for dash in _dashes(points, on=on, off=on * 0.8):
                self._stroke(dash, colour, line)

    def dots(self, finding: Finding, *, shown: bool) -> None:
        """A small dot on each single calcification."""
        radius = self._line * 0.9
        for calcification in finding.calcifications:
            x, y = self.place(calcification.center)
            box = (x - radius, y - radius, x + radius, y + radius)
            self._draw.ellipse(box, fill=(*(SHOWN if shown else OPTIONAL), 255))

    def ring(self, center: Point, radius: float, colour: tuple[int, int, int]) -> None:
        x, y = self.place(center)
        r = max(radius * self._scale[0], 3.0 * FINE)
        box = (x - r, y - r, x + r, y + r)
        self._draw.ellipse(box, outline=(*colour, 255), width=max(1, round(self._line)))

    def label(self, number: int, finding: Finding, *, shown: bool) -> None:
        """Number and score beside the outline, where it covers no other label or outline."""
        left, top, right, bottom = self._bounds(finding)
        wide, high = self._tag_size(number, finding)
        gap = self._text * 0.35
        middle = ((left + right - wide) / 2, (top + bottom - high) / 2)
        places: list[Point] = [
            (right + gap, middle[1]),
            (left - gap - wide, middle[1]),
            (middle[0], top - gap - high),
            (middle[0], bottom + gap),
            (right + gap, top - gap - high),
            (right + gap, bottom + gap),
            (left - gap - wide, top - gap - high),
            (left - gap - wide, bottom + gap),
        ]
        x, y = min(places, key=lambda place: self._crowding(place, wide, high))
        x = min(max(x, gap), self.width - wide - gap)
        y = min(max(y, gap), self.height - high - gap)
        self._taken.append((x, y, x + wide, y + high))
        self.tag((x, y), number, finding, shown=shown)

    def tag(self, at: Point, number: int, finding: Finding, *, shown: bool) -> None:
        """The mark's number on a coloured plate, and its score beside it."""
        colour = SHOWN if shown else OPTIONAL
        plate, high = self._plate(number)
        # On whole pixels of the reduced picture letters are sharp.
        x, y = (round(place / FINE) * FINE for place in at)
        self._draw.rounded_rectangle((x, y, x + plate, y + high), high / 4, fill=(*colour, 255))
        self._draw.text(
            (x + plate / 2, y + high / 2),
            str(number),
            font=_font(self._text),
            fill=(0, 0, 0, 255),
            anchor="mm",
        )
        self._write(
            (x + plate + self._text * 0.35, y + high / 2),
            percent(finding.score),
            self._text,
            colour,
            anchor="lm",
        )

    def keep_clear(self, findings: Iterable[Finding], also: Canvas | None = None) -> None:
        """No label is to be put over the outlines of these, or over the labels of `also`."""
        self._taken += [self._bounds(finding) for finding in findings]
        if also is not None:
            self._taken += also._taken

    def scale_bar(
        self, lengths_mm: Sequence[float], tick_mm: float, spacing_mm: float, *, right: bool
    ) -> None:
        """A bar of the first of `lengths_mm` that takes less than half the width."""
        per_mm = self._scale[0] / spacing_mm
        length_mm = next(
            (mm for mm in lengths_mm if mm * per_mm < self.width * 0.45), lengths_mm[-1]
        )
        length = length_mm * per_mm
        margin = self._text
        start = self.width - margin - length if right else margin
        y = self.height - margin
        bars: list[list[Point]] = [[(start, y), (start + length, y)]]
        ticks = round(length_mm / tick_mm)
        for tick in range(ticks + 1):
            rise = self._text * (0.5 if tick in (0, ticks) else 0.3)
            x = start + tick * length / ticks
            bars.append([(x, y), (x, y - rise)])
        for bar in bars:
            self._stroke(bar, INK, self._line)
        text = f"{length_mm / 10:g} cm" if length_mm >= 10 else f"{length_mm:g} mm"
        self._write((start, y - self._text * 0.8), text, self._text, INK, anchor="ls")

    def view_name(self, name: str, *notes: str) -> None:
        """Above the scale bar: the lead letters of the film are at the other end."""
        size = round(self._text * 1.7)
        right = name.startswith("L")
        anchor = "rs" if right else "ls"
        x = self.width - self._text if right else self._text
        y = self.height - self._text * 3.6
        for note in filter(None, reversed(notes)):
            self._write((x, y), note, self._text, INK, anchor=anchor)
            y -= self._text * 1.4
        self._write((x, y), name, size, INK, anchor=anchor)

    def _bounds(self, finding: Finding) -> tuple[float, float, float, float]:
        points = [self.place(p) for p in finding.outline] or [self.place(finding.center)]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        return min(xs), min(ys), max(xs), max(ys)

    def _plate(self, number: int) -> tuple[float, float]:
        high = self._text * 1.25
        return max(high, self._wide(str(number)) + self._text * 0.5), high

    def _tag_size(self, number: int, finding: Finding) -> tuple[float, float]:
        plate, high = self._plate(number)
        return plate + self._text * 0.35 + self._wide(percent(finding.score)), high

    def _wide(self, text: str) -> float:
        left, _, right, _ = self._draw.textbbox((0, 0), text, font=_font(self._text))
        return float(right - left)

    def _crowding(self, place: tuple[float, float], wide: float, high: float) -> float:
        x, y = place
        beyond = max(0.0, -x) + max(0.0, x + wide - self.width)
        beyond += max(0.0, -y) + max(0.0, y + high - self.height)
        covered = sum(
            max(0.0, min(x + wide, x1) - max(x, x0)) * max(0.0, min(y + high, y1) - max(y, y0))
            for x0, y0, x1, y1 in self._taken
        )
        return beyond * high + covered

    def _stroke(self, points: Sequence[Point], colour: tuple[int, int, int], width: float) -> None:
        line = list(points)
        # The dark line under it keeps a mark visible on bright tissue.
        self._draw.line(line, fill=HALO, width=round(width * 2.2), joint="curve")
        self._draw.line(line, fill=(*colour, 255), width=round(width), joint="curve")

    def _write(
        self, at: Point, text: str, size: int, colour: tuple[int, int, int], anchor: str = "la"
    ) -> None:
        font, bold = _font(size), max(1, size // 30)
        # First the dark rim, then the letters over it, a little bolder than the font has them.
        for colour_and_alpha, stroke in ((HALO, bold + size // 10), ((*colour, 255), bold)):
            self._draw.text(
                at,
                text,
                font=font,
                fill=colour_and_alpha,
                stroke_width=stroke,
                stroke_fill=colour_and_alpha,
                anchor=anchor,
            )


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _dashes(points: Sequence[Point], *, on: float, off: float) -> list[list[Point]]:
    """The polyline cut into pieces of length `on` with gaps of `off`."""
    pieces: list[list[Point]] = []
    current = [points[0]]
    drawing, left = True, on
    for (x0, y0), (x1, y1) in pairwise(points):
        length = math.hypot(x1 - x0, y1 - y0)
        done = 0.0
        while length - done > left:
            done += left
            at = (x0 + (x1 - x0) * done / length, y0 + (y1 - y0) * done / length)
            if drawing:
                pieces.append([*current, at])
            current = [at]
            drawing = not drawing
            left = on if drawing else off
        left -= length - done
        if drawing:
            current.append((x1, y1))
    if drawing and len(current) > 1:
        pieces.append(current)
    return pieces
