"""From annotations and images to labelled patches, and which of them are held out."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cadnode.core.annotations import Annotation, Case
from cadnode.core.errors import ConfigError
from cadnode.training.annotation_files import read_csv, read_groups, read_mask
from cadnode.training.batches import Batches
from cadnode.training.cut import fill_from_cases
from cadnode.training.detection import score_marks
from cadnode.training.image_files import as_mammogram, read_picture
from cadnode.training.labels import NO, UNKNOWN, YES
from cadnode.training.mini_mias import cases, read_info
from cadnode.training.options import CutOptions
from cadnode.training.patch_cache import PatchCache
from cadnode.training.simulator import synthetic_background
from cadnode.training.split import split_patches

SQUARE = Annotation(((10, 10), (30, 10), (30, 20), (10, 20)))
CIRCLE = Annotation(((50, 60),), 5)


def test_a_point_is_inside_or_within_the_margin() -> None:
    assert SQUARE.contains((20, 15))
    assert not SQUARE.contains((20, 22))
    assert SQUARE.contains((20, 22), margin=2)
    assert CIRCLE.contains((53, 64))
    assert not CIRCLE.contains((54, 64))


def test_a_mask_covers_the_pixels_whose_centers_are_inside() -> None:
    mask = SQUARE.mask((40, 40))
    assert mask.sum() == 200
    assert mask[10:20, 10:30].all()
    assert CIRCLE.mask((80, 80)).sum() == pytest.approx(np.pi * 25, rel=0.06)


def test_a_scaled_annotation_lies_at_the_same_place_of_the_image() -> None:
    assert SQUARE.scaled(0.5, 2).points[2] == (15, 40)
    assert CIRCLE.scaled(0.5, 0.5) == Annotation(((25, 30),), 2.5)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_a_csv_gives_outlines_by_image_and_images_without(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "sop_instance_uid,shape,points",
        "1.2,circle,50 60 5",
        "1.2,polygon,10 10 30 10 30 20 10 20",
        "1.3,,",
    )
    assert read_csv(path) == {"1.2": (CIRCLE, SQUARE), "1.3": ()}


def test_the_other_columns_of_a_csv_say_by_what_to_split_the_tables(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "sop_instance_uid,shape,points,density,unit",
        "1.2,circle,50 60 5,c,",
        "1.2,circle,90 60 5,,room 2",
        "1.3,,,a,room 1",
    )
    assert read_groups(path) == {
        "1.2": (("density", "c"), ("unit", "room 2")),
        "1.3": (("density", "a"), ("unit", "room 1")),
    }


@pytest.mark.parametrize("bad", ["circle,50 60", "circle,1 2 -3", "polygon,1 2 3 4", "star,1 2 3"])
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, bad: str) -> None:
    path = write(tmp_path / "a.csv", "sop_instance_uid,shape,points", f"1.2,{bad}")
    with pytest.raises(ConfigError, match="line 2"):
        read_csv(path)


def test_a_csv_without_the_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the columns are"):
        read_csv(write(tmp_path / "a.csv", "x,y", "1,2"))


def test_each_region_of_a_mask_becomes_an_outline_with_its_corners(tmp_path: Path) -> None:
    mask = np.zeros((50, 60), np.uint8)
    mask[10:20, 10:30] = 255
    mask[40:44, 50:54] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    first, second = read_mask(tmp_path / "m.png")
    assert sorted(first.points) == sorted(SQUARE.points)
    assert second.center == (52, 42)


def test_a_picture_is_scaled_by_its_type(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 5), 51, np.uint8)).save(tmp_path / "p.png")
    assert read_picture(tmp_path / "p.png") == pytest.approx(np.full((4, 5), 0.2))


def test_a_colour_picture_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / "p.png")
    with pytest.raises(ConfigError, match="single-channel"):
        read_picture(tmp_path / "p.png")


def test_mini_mias_counts_rows_from_the_bottom_and_pairs_films(tmp_path: Path) -> None:
    info = write(
        tmp_path / "Info.txt",
        "some words before",
        "mdb001 G CALC B 30 20 4",
        "mdb002 D NORM",
        "mdb003 F CALC M *NOTE 3*",
    )
    for name in ("mdb001", "mdb002", "mdb003"):
        Image.fromarray(np.zeros((100, 100), np.uint8)).save(tmp_path / f"{name}.png")
    first, second, third = cases(tmp_path, read_info(info))
    assert first.annotations == (Annotation(((30, 80),), 4),)
    assert first.patient == second.patient != third.patient
    assert second.complete
    assert not third.complete
    assert dict(first.groups) == {"tissue": "fatty-glandular", "finding": "calcifications"}
    assert dict(second.groups)["finding"] == "normal"


def case(name: str, patient: str, *annotations: Annotation) -> Case:
    background = synthetic_background(np.random.default_rng(len(name)), 0.2)
    return Case(as_mammogram(background.pixels, name=name, pitch_mm=0.2), patient, annotations)


def given(cases: list[Case]) -> Callable[[Container[str]], Iterable[Case]]:
    return lambda done: [c for c in cases if c.mammogram.sop_instance_uid not in done]


SMALL = CutOptions(patch_size=64, map_size=2, pitch_mm=0.2, stride=64, normals_per_image=6)


def small_cache(folder: Path) -> PatchCache:
    return PatchCache(folder, patch_size=64, map_size=2)


def test_patches_about_an_annotation_are_yes_and_the_others_no(tmp_path: Path) -> None:
    cache = small_cache(tmp_path)
    assert (
        fill_from_cases(cache, given([case("1.1", "a", Annotation(((150, 350),), 12))]), SMALL) == 0
    )
    labels = np.asarray(cache.labels[: len(cache)])
    assert (labels == YES).sum() >= SMALL.shifts
    assert 0 < (labels == NO).sum() <= 6
    assert (np.asarray(cache.cells[: len(cache)])[labels == YES] != NO).any(axis=(1, 2)).all()


def test_an_image_that_may_hold_more_gives_no_normal_patch(tmp_path: Path) -> None:
    whole = case("1.1", "a")
    cache = small_cache(tmp_path)
    fill_from_cases(cache, given([Case(whole.mammogram, "a", (), complete=False)]), SMALL)
    assert len(cache) == 0


def test_an_image_in_the_cache_is_not_cut_again(tmp_path: Path) -> None:
    fill_from_cases(small_cache(tmp_path), given([case("1.1", "a")]), SMALL)
    again = small_cache(tmp_path)
    before = len(again)
    fill_from_cases(again, given([case("1.1", "a"), case("1.22", "b")]), SMALL)
    assert {row["image"] for row in again.rows[before:]} == {"1.22"}


def test_simulated_calcifications_in_normal_images_give_patches_of_both_kinds(
    tmp_path: Path,
) -> None:
    cache = small_cache(tmp_path)
    fill_from_cases(
        cache, given([case("1.1", "a"), case("1.22", "b")]), replace(SMALL, simulated=10)
    )
    made = [index for index, row in enumerate(cache.rows) if "simulated" in row]
    assert {(row["image"], row["patient"]) for row in cache.rows} == {("1.1", "a"), ("1.22", "b")}
    assert 10 <= len(made) <= 20
    labels = np.asarray(cache.labels)[made]
    assert 5 <= (labels == YES).sum() <= 15
    again = small_cache(tmp_path / "again")
    fill_from_cases(
        again, given([case("1.22", "b"), case("1.1", "a")]), replace(SMALL, simulated=10)
    )
    assert sorted(str(row) for row in again.rows) == sorted(str(row) for row in cache.rows)


def test_nothing_is_simulated_where_calcifications_may_lie_that_nobody_outlined(
    tmp_path: Path,
) -> None:
    whole = case("1.1", "a")
    cache = small_cache(tmp_path)
    unclear = Case(whole.mammogram, "a", (), complete=False)
    fill_from_cases(cache, given([unclear]), replace(SMALL, simulated=10))
    assert len(cache) == 0


def test_an_image_without_a_breast_is_counted_as_failed(tmp_path: Path) -> None:
    blank = Case(as_mammogram(np.zeros((300, 200), np.float32), name="1.9", pitch_mm=0.2), "a")
    assert fill_from_cases(small_cache(tmp_path), given([blank]), SMALL) == 1


def test_the_images_done_are_counted_with_those_of_the_run_before(tmp_path: Path) -> None:
    fill_from_cases(small_cache(tmp_path), given([case("1.1", "a")]), SMALL)
    counted: list[int] = []
    both = given([case("1.1", "a"), case("1.22", "b")])
    fill_from_cases(small_cache(tmp_path), both, SMALL, progress=counted.append)
    assert counted == [1, 2]


def numbered(cache: PatchCache, first: int, count: int) -> None:
    for number in range(first, first + count):
        grey = np.full((64, 64), number % 251, np.float32)
        cache.append(grey, number % 2, np.zeros((2, 2), np.uint8), {"patient": f"p{number}"})


def test_a_cache_grows_past_the_room_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cadnode.training.patch_cache.STEP", 64 * 64 * 16)
    cache = small_cache(tmp_path)
    numbered(cache, 0, 50)
    cache.save()
    numbered(cache, 50, 50)
    cache.save()
    for same in (cache, small_cache(tmp_path)):
        assert len(same) == 100
        assert [row["patient"] for row in same.rows] == [f"p{number}" for number in range(100)]
        assert np.asarray(same.patches)[:100, 5, 5].tolist() == list(range(100))
        assert np.asarray(same.labels)[:100].tolist() == [0, 1] * 50


def test_what_a_killed_run_left_unfinished_is_overwritten(tmp_path: Path) -> None:
    cache = small_cache(tmp_path)
    numbered(cache, 0, 3)
    cache.save()
    numbered(cache, 3, 2)
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"patient": "p3"}\n{"pati')
    again = small_cache(tmp_path)
    assert len(again) == 3
    numbered(again, 7, 1)
    again.save()
    assert [row["patient"] for row in small_cache(tmp_path).rows] == ["p0", "p1", "p2", "p7"]
    assert (tmp_path / "rows.jsonl").read_text().count("\n") == 4


def test_a_full_disk_is_said_before_anything_is_written_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = small_cache(tmp_path)
    numbered(cache, 0, 1)
    cache.save()

    def full(file: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.posix_fallocate", full)
    again = small_cache(tmp_path)
    assert len(again) == 1
    with pytest.raises(ConfigError, match=r"patches\.u8: No space left"):
        numbered(again, 1, 1)


def test_room_can_be_taken_where_the_file_system_cannot_reserve_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The C library then writes a byte a block at its place, which a file opened to append refuses."""

    def by_writing(file: int, offset: int, length: int) -> None:
        assert not fcntl.fcntl(file, fcntl.F_GETFL) & os.O_APPEND
        assert offset == os.fstat(file).st_size
        os.pwrite(file, b"\0", offset + length - 1)

    monkeypatch.setattr("os.posix_fallocate", by_writing)
    monkeypatch.setattr("cadnode.training.patch_cache.STEP", 64 * 64 * 16)
    cache = small_cache(tmp_path)
    numbered(cache, 0, 40)
    cache.save()
    assert np.asarray(small_cache(tmp_path).patches)[:40, 5, 5].tolist() == list(range(40))


@pytest.mark.parametrize("name", ["rows.jsonl", "patches.u8", "labels.u8", "index.json"])
def test_a_damaged_cache_is_named(tmp_path: Path, name: str) -> None:
    cache = small_cache(tmp_path)
    numbered(cache, 0, 5)
    cache.save()
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:3])
    with pytest.raises(ConfigError, match="is damaged"):
        small_cache(tmp_path)


def test_an_image_that_gave_no_patch_is_not_asked_for_again(tmp_path: Path) -> None:
    blank = Case(as_mammogram(np.zeros((300, 200), np.float32), name="1.9", pitch_mm=0.2), "a")
    fill_from_cases(small_cache(tmp_path), given([blank]), SMALL)
    asked: list[Container[str]] = []

    def again(done: Container[str]) -> list[Case]:
        asked.append(done)
        return []

    assert fill_from_cases(small_cache(tmp_path), again, SMALL) == 1
    assert "1.9" in asked[0]


def test_an_image_added_after_the_training_began_is_refused_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    fill_from_cases(small_cache(tmp_path), given([case("1.1", "a")]), SMALL)
    before = len(small_cache(tmp_path))
    both = given([case("1.1", "a"), case("1.22", "b")])
    with pytest.raises(ConfigError, match=r"1\.22 is not among the images"):
        fill_from_cases(small_cache(tmp_path), both, SMALL, closed=True)
    assert len(small_cache(tmp_path)) == before
    fill_from_cases(small_cache(tmp_path), given([case("1.1", "a")]), SMALL, closed=True)


def test_a_cache_of_another_shape_is_refused(tmp_path: Path) -> None:
    small_cache(tmp_path).save()
    with pytest.raises(ConfigError, match="holds patches of"):
        PatchCache(tmp_path, patch_size=96, map_size=3)


def test_no_patient_is_on_both_sides_of_a_split() -> None:
    patients = [f"p{index // 7}" for index in range(140)]
    train, held = split_patches(patients, share=0.1, split="patient", seed=3)
    assert {patients[i] for i in train}.isdisjoint(patients[i] for i in held)
    assert sorted([*train, *held]) == list(range(140))
    assert len(held) == 14


def test_the_same_seed_gives_the_same_split() -> None:
    patients = [f"p{index % 9}" for index in range(60)]
    one, two = (split_patches(patients, share=0.2, split="patient", seed=5)[1] for _ in "ab")
    np.testing.assert_array_equal(one, two)


def test_a_split_by_patient_needs_two_patients() -> None:
    with pytest.raises(ConfigError, match="two patients"):
        split_patches(["a"] * 10, share=0.1, split="patient", seed=0)


def test_a_split_by_patch_holds_out_its_share() -> None:
    train, held = split_patches(["a"] * 100, share=0.05, split="patch", seed=0)
    assert (len(train), len(held)) == (95, 5)


def filled(folder: Path) -> PatchCache:
    cache = PatchCache(folder, patch_size=64, map_size=2)
    for index in range(20):
        cells = np.array([[index % 2, 0], [0, 0]], np.uint8)
        cache.append(np.full((64, 64), 10 * index), index % 2, cells, {"patient": "a"})
    return cache


def batches(cache: PatchCache, side: int = 64) -> Batches:
    return Batches(cache, np.arange(20), 4, side, augment=True, seed=1)


def test_every_batch_is_half_calcifications_and_an_epoch_takes_each_once(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    epoch = batches(cache).epoch(0)
    assert all((np.asarray(cache.labels)[chosen] == YES).sum() == 2 for chosen in epoch)
    assert sorted(np.concatenate(epoch)) == list(range(20))


def test_another_epoch_takes_them_in_another_order(tmp_path: Path) -> None:
    both = batches(filled(tmp_path))
    assert not np.array_equal(both.epoch(0), both.epoch(1))
    np.testing.assert_array_equal(both.epoch(1), both.epoch(1))


def test_a_part_of_a_calcification_patch_shows_its_calcification(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    half = batches(cache, side=32)
    _, targets = half.load(np.arange(1, 20, 2), 0, 0)
    assert (targets["patch"] == YES).all()
    assert (targets["cells"][:, 0, 0, 0] == YES).all()
    assert UNKNOWN not in targets["cells"]


def test_marks_are_hits_on_clusters_and_false_elsewhere() -> None:
    from cadnode.core.findings import Finding

    def mark(column: float, row: float, score: float) -> Finding:
        corners = [(column + x, row + y) for x, y in ((-5, -5), (5, -5), (5, 5), (-5, 5), (-5, -5))]
        return Finding(score, (column, row), tuple(corners), 4.0, 0)

    annotated = case("1.1", "a", Annotation(((100, 200),), 10), Annotation(((20, 20),), 5))
    found = score_marks(annotated, [mark(104, 206, 0.8), mark(100, 200, 0.9), mark(300, 50, 0.7)])
    assert found.lesions == (0.9, -np.inf)
    assert found.false_marks == (0.7,)
    assert not found.normal
