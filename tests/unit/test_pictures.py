"""Pictures show the marks where the findings are, and nothing anywhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cadnode.core.findings import Calcification, Finding
from cadnode.core.mammogram import PixelSpacing
from cadnode.core.patch_map import HeatMap
from cadnode.pictures import (
    draw_close_ups,
    draw_marks,
    draw_view,
    numbered,
    percent,
    save_png,
)
from cadnode.pictures.canvas import OPTIONAL, SHOWN

SQUARE = PixelSpacing(0.1, 0.1)


def tissue(rows: int = 600, columns: int = 400) -> NDArray[np.float32]:
    pixels = np.full((rows, columns), 0.4, np.float32)
    pixels[:, : columns // 2] = 0.0
    return pixels


def mark(
    center: tuple[float, float] = (300.0, 200.0),
    *,
    half: float = 40.0,
    score: float = 0.9,
    operating_point: int = 0,
    calcifications: tuple[Calcification, ...] = (),
) -> Finding:
    x, y = center
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))
    return Finding(
        score=score,
        center=center,
        outline=tuple((x + half * i, y + half * j) for i, j in corners),
        area_mm2=4 * half * half * 0.01,
        operating_point=operating_point,
        calcifications=calcifications,
    )


def coloured(image: Image.Image, colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Where a picture has nearly this colour."""
    pixels = np.asarray(image.convert("RGBA")).astype(int)
    near = np.abs(pixels[..., :3] - np.array(colour)).max(axis=2) < 24
    return np.asarray(near & (pixels[..., 3] > 128))


def test_an_outline_lies_where_the_finding_is() -> None:
    picture = draw_view(tissue(), [mark(half=40)], spacing=SQUARE, view_name="RCC", height=1200)
    marks = coloured(picture.marks, SHOWN)
    # Twice the size of the image: the outline runs from 520 to 680 and from 320 to 480.
    rows = np.nonzero(marks[:, 540:660])[0]
    assert abs(rows.min() - 320) <= 4
    assert abs(rows.max() - 480) <= 4
    columns = np.nonzero(marks[315:326])[1]
    assert abs(columns.min() - 520) <= 4
    assert abs(columns.max() - 680) <= 4
    assert not marks[335:465, 535:665].any(), "the inside of a mark stays free"


def test_pixels_that_are_not_square_are_shown_as_wide_as_they_are() -> None:
    picture = draw_marks(
        tissue(400, 400),
        [mark((200.0, 200.0), half=50)],
        spacing=PixelSpacing(row=0.1, column=0.05),
        view_name="LCC",
        height=800,
    )
    assert picture.size == (400, 800)
    # 0.05 mm is one pixel of this picture: 100 columns of the finding are 100 pixels wide.
    columns = np.nonzero(coloured(picture, SHOWN)[380:420])[1]
    assert abs(columns.min() - 150) <= 4


def test_the_film_under_the_marks_is_not_drawn_on() -> None:
    plain = draw_view(tissue(), [], spacing=SQUARE, view_name="RCC", height=600)
    marked = draw_view(tissue(), [mark()], spacing=SQUARE, view_name="RCC", height=600)
    assert marked.film.mode == "L"
    assert np.array_equal(np.asarray(plain.film), np.asarray(marked.film))
    untouched = np.asarray(marked.marks)[..., 3] == 0
    flat, film = np.asarray(marked.flat()), np.asarray(marked.film.convert("RGB"))
    assert np.array_equal(flat[untouched], film[untouched])
    assert untouched.mean() > 0.8


def test_an_optional_mark_is_blue_and_dashed() -> None:
    shown = draw_view(
        tissue(), [mark()], spacing=SQUARE, view_name="RCC", recommended=1, height=600
    )
    optional = draw_view(
        tissue(),
        [mark(operating_point=2)],
        spacing=SQUARE,
        view_name="RCC",
        recommended=1,
        height=600,
    )
    assert not coloured(optional.flat(), SHOWN).any()
    assert not coloured(shown.flat(), OPTIONAL).any()
    assert not np.asarray(shown.optional).any()
    # Along the upper side of the outline: one line without gaps, and one with several.
    row, first, last = 160, 265, 335
    solid = coloured(shown.marks, SHOWN)[row, first:last]
    dashed = coloured(optional.optional, OPTIONAL)[row, first:last]
    assert solid.all()
    assert np.count_nonzero(np.diff(dashed.astype(int))) >= 6


def test_a_mark_at_the_recommended_operating_point_is_shown() -> None:
    at = draw_view(
        tissue(),
        [mark(operating_point=1)],
        spacing=SQUARE,
        view_name="RCC",
        recommended=1,
        height=600,
    )
    assert coloured(at.marks, SHOWN).any()


def test_a_view_without_findings_has_no_marks_and_says_so() -> None:
    without = draw_view(tissue(), [], spacing=SQUARE, view_name="LMLO", height=600)
    assert not coloured(without.marks, SHOWN).any()
    assert not coloured(without.marks, OPTIONAL).any()
    # The note adds ink beside name and scale bar, at the side away from the chest wall.
    noted = np.asarray(without.marks)[..., 3] > 0
    named = np.asarray(
        draw_view(tissue(), [mark()], spacing=SQUARE, view_name="LMLO", height=600).marks
    )
    below = slice(400, 600)
    assert noted[below].sum() > (named[..., 3] > 0)[below].sum()
    assert not noted[:, : noted.shape[1] // 4].any()


def test_a_caption_is_written_below_the_name_of_the_view() -> None:
    plain, captioned = (
        draw_marks(tissue(), [mark()], spacing=SQUARE, view_name="LCC", height=600, caption=caption)
        for caption in ("", "Not for diagnosis")
    )
    changed = np.any(np.asarray(plain) != np.asarray(captioned), axis=-1)
    rows, columns = np.nonzero(changed)
    assert rows.min() > 400
    assert columns.min() > changed.shape[1] // 4
    assert changed.sum() > 300


@settings(max_examples=25, deadline=None)
@given(x=st.floats(0, 400), y=st.floats(0, 600))
def test_a_label_is_never_cut_off(x: float, y: float) -> None:
    def label_of(center: tuple[float, float]) -> int:
        finding = replace(mark(center), outline=())
        picture = draw_view(tissue(), [finding], spacing=SQUARE, view_name="RCC", height=900)
        return int(coloured(picture.marks, SHOWN).sum())

    assert label_of((x, y)) == pytest.approx(label_of((200.0, 300.0)), rel=0.15)


def test_labels_of_neighbours_do_not_cover_each_other_or_an_outline() -> None:
    findings = [mark((200.0, 300.0)), mark((285.0, 300.0), score=0.8)]
    alone = [
        draw_view(tissue(), [f], spacing=SQUARE, view_name="RCC", height=600).marks
        for f in findings
    ]
    both = draw_view(tissue(), findings, spacing=SQUARE, view_name="RCC", height=600).marks
    apart = sum(int(coloured(marks, SHOWN).sum()) for marks in alone)
    assert coloured(both, SHOWN).sum() > 0.98 * apart


def test_marks_are_numbered_from_the_highest_score() -> None:
    low, high = mark(score=0.3), mark(score=0.8)
    assert numbered([low, high]) == [(1, high), (2, low)]


@pytest.mark.parametrize(
    ("score", "text"),
    [(1.0, ">99 %"), (0.995, ">99 %"), (0.99, "99 %"), (0.5, "50 %"), (0.004, "<1 %")],
)
def test_a_score_is_never_shown_as_certainty(score: float, text: str) -> None:
    assert percent(score) == text


def test_a_close_up_is_centered_on_the_mark_and_shows_each_calcification() -> None:
    pixels = tissue()
    pixels[198:202, 298:302] = 1.0
    finding = mark(calcifications=(Calcification((300.0, 200.0), 0.4, 8.0),))
    (close_up,) = draw_close_ups(pixels, [finding], spacing=SQUARE, size=360)
    assert close_up.extent_mm == pytest.approx(18.0)
    assert close_up.film.size == close_up.marked.size == (360, 360)
    spot = np.asarray(close_up.film).astype(float)
    bright = np.argwhere(spot > 250).mean(axis=0)
    assert bright == pytest.approx([180, 180], abs=2.5)
    ring = np.argwhere(coloured(close_up.marked, SHOWN)[150:210, 150:210]).mean(axis=0)
    assert ring == pytest.approx([30, 30], abs=2)


def test_a_close_up_at_the_edge_of_the_image_is_black_beyond_it() -> None:
    (close_up,) = draw_close_ups(
        np.full((600, 400), 0.5, np.float32),
        [mark((395.0, 5.0), half=4)],
        spacing=SQUARE,
        size=180,
    )
    film = np.asarray(close_up.film)
    assert film.shape == (180, 180)
    # The mark is in the middle of 18 mm; 0.5 mm beyond it the image ends.
    assert not film[:70].any()
    assert not film[:, 110:].any()


def test_the_first_close_ups_by_number_are_drawn_when_there_is_a_limit() -> None:
    findings = [mark(score=score) for score in (0.2, 0.9, 0.5)]
    close_ups = draw_close_ups(tissue(), findings, spacing=SQUARE, size=100, limit=2)
    assert [close_up.number for close_up in close_ups] == [1, 2]


def test_the_heat_map_is_laid_where_the_model_saw_something() -> None:
    values = np.zeros((6, 4), np.float32)
    values[4, 1] = 1.0
    heat = HeatMap(values=values, row_step=100.0, column_step=100.0)
    picture = draw_view(tissue(), [mark()], spacing=SQUARE, view_name="RCC", height=600, heat=heat)
    alpha = np.asarray(picture.marks)[..., 3]
    assert alpha[450, 150] > 100
    assert alpha[450, 350] == 0


def test_a_saved_picture_is_a_png(tmp_path: Path) -> None:
    path = tmp_path / "view.png"
    save_png(draw_marks(tissue(), [mark()], spacing=SQUARE, view_name="RCC", height=200), path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == (133, 200)
