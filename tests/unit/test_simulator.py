"""Simulated calcifications: where they are is known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cadnode.training.clusters import ClusterRules, Distribution, draw_cluster
from cadnode.training.detector import Detector, draw_detector, expose
from cadnode.training.labels import NO, UNKNOWN, YES, label_patch
from cadnode.training.particles import Morphology, Particle, draw, make
from cadnode.training.simulator import (
    Background,
    SimulatedView,
    SimulatorSettings,
    simulate,
    synthetic_background,
)
from cadnode.training.visibility import SEEN, SEEN_TOGETHER

PITCH = 0.1
QUIET = SimulatorSettings(hard_negatives=False, vary_detector=False)


@pytest.fixture(scope="module")
def background() -> Background:
    return synthetic_background(np.random.default_rng(3), PITCH)


def drawn(particle: Particle) -> np.ndarray:
    canvas = np.zeros((60, 80), np.float32)
    draw(canvas, particle, pitch_mm=PITCH, amount=10)
    return canvas


def test_a_particle_is_brightest_at_its_center_and_nowhere_beyond_its_radius() -> None:
    canvas = drawn(Particle(3.05, 4.05, 0.5))
    assert divmod(int(canvas.argmax()), canvas.shape[1]) == (30, 40)
    rows, columns = np.nonzero(canvas)
    distance = np.hypot(rows + 0.5 - 30.5, columns + 0.5 - 40.5) * PITCH
    assert distance.max() < 0.5 + PITCH


def test_a_particle_a_quarter_of_a_pixel_wide_still_leaves_its_share() -> None:
    small = drawn(Particle(3.05, 4.05, 0.05)).sum()
    large = drawn(Particle(3.05, 4.05, 0.5)).sum()
    assert small / large == pytest.approx(0.01, rel=0.4)


def test_a_shell_is_brighter_at_its_rim_than_in_its_middle() -> None:
    canvas = drawn(Particle(3.05, 4.05, 1.5, hollow=0.9))
    assert canvas[30, 40] < 0.7 * canvas[30].max()


def test_a_particle_outside_the_image_leaves_it_alone() -> None:
    assert not drawn(Particle(-20, 300, 0.5)).any()


@pytest.mark.parametrize("morphology", list(Morphology))
def test_every_morphology_draws_something_near_where_it_was_asked(morphology: Morphology) -> None:
    particles = make(morphology, np.random.default_rng(1), 50, 60)
    assert particles
    assert all(np.hypot(p.row - 50, p.column - 60) < 30 for p in particles)
    assert all(p.radius > 0.03 for p in particles)


def test_the_same_seed_draws_the_same_cluster() -> None:
    first, second = (draw_cluster(np.random.default_rng(7), 40, 30, ClusterRules()) for _ in "ab")
    assert first == second


def view_with(background: Background, contrast: float, morphology: Morphology) -> SimulatedView:
    rng = np.random.default_rng(11)
    rules = ClusterRules(contrast=(contrast, contrast))
    row, column = (np.argwhere(background.breast).mean(axis=0) * PITCH).tolist()
    cluster = draw_cluster(rng, row, column, rules, morphology=morphology)
    return simulate(background, rng, QUIET, clusters=[cluster], turn=False)


def test_visible_calcifications_stand_out_at_their_recorded_places(background: Background) -> None:
    view = view_with(background, 40, Morphology.PUNCTATE)
    shown = view.calcifications[view.visible]
    assert len(shown) >= 3
    peaks = [view.grey[int(r) - 1 : int(r) + 2, int(c) - 1 : int(c) + 2].max() for r, c in shown]
    assert min(peaks) > np.quantile(view.grey[view.breast], 0.9)


def test_what_nobody_could_see_is_doubtful_not_true(background: Background) -> None:
    view = view_with(background, 0.5, Morphology.PUNCTATE)
    assert not view.visible.any()
    assert len(view.calcifications) >= 3


def test_a_patch_about_a_cluster_is_yes_and_its_cells_say_where(background: Background) -> None:
    view = view_with(background, 40, Morphology.FINE_PLEOMORPHIC)
    middle = np.median(view.calcifications, axis=0)
    top, left = (middle - 112).astype(int)
    label = label_patch(view, top, left, 224, 7)
    assert label.patch == YES
    for row, column in view.calcifications[view.visible] - (top, left):
        if 0 <= row < 224 and 0 <= column < 224:
            assert label.cells[int(row) // 32, int(column) // 32] == YES


def test_a_patch_far_from_the_cluster_is_no(background: Background) -> None:
    view = view_with(background, 40, Morphology.ROUND)
    far = label_patch(view, 0, 0, 64, 2)
    assert far.patch == NO
    assert not far.cells.any()


def test_a_patch_where_the_tissue_itself_is_unsure_is_never_normal(background: Background) -> None:
    unsure = np.ones(background.breast.shape, np.bool_)
    doubted = Background("b", "p", background.pixels, background.breast, unsure)
    view = simulate(doubted, np.random.default_rng(1), QUIET, clusters=[], turn=False)
    label = label_patch(view, 100, 50, 224, 7)
    assert label.patch == UNKNOWN
    assert (label.cells == UNKNOWN).all()


@pytest.mark.parametrize("pitch", [0.02, 0.04, 0.1, 0.25, 0.5])
def test_a_detector_can_be_drawn_for_every_pitch_a_bundle_may_have(pitch: float) -> None:
    drawn = [draw_detector(np.random.default_rng(seed), pitch).pitch_mm for seed in range(40)]
    assert min(drawn) >= min(pitch, 0.05)
    assert max(drawn) <= max(pitch, 0.2)
    assert any(received > pitch for received in drawn) == (pitch < 0.2)


def test_the_same_seed_simulates_the_same_view(background: Background) -> None:
    first, second = (
        simulate(background, np.random.default_rng(5), SimulatorSettings()) for _ in "ab"
    )
    np.testing.assert_array_equal(first.grey, second.grey)
    np.testing.assert_array_equal(first.calcifications, second.calcifications)


def test_bodies_that_count_alone_are_single() -> None:
    cluster = draw_cluster(
        np.random.default_rng(2), 9, 9, ClusterRules(), morphology=Morphology.RIM
    )
    assert cluster.distribution is Distribution.SINGLE


def test_grain_of_the_received_pixels_survives_a_coarse_pitch_and_other_noise_does_not() -> None:
    flat, texture = np.full((300, 300), 0.5, np.float32), np.full((300, 300), 0.01, np.float32)
    plain = Detector(0.08, 0.2, noise=1.0, noise_sigma=0.0, gamma=1.0, grey_levels=2**14)
    grainy = replace(plain, noise=0.0, grain=1.0)
    deviation = [
        float(
            expose(flat, texture, detector, np.random.default_rng(1), PITCH)[50:-50, 50:-50].std()
        )
        for detector in (plain, grainy)
    ]
    assert deviation[1] > 1.7 * deviation[0]


def test_tight_groups_lie_within_a_few_millimetres() -> None:
    def spread(share: float) -> float:
        rules = ClusterRules(tight_share=share)
        rng = np.random.default_rng(5)
        found = [
            np.std(np.array(cluster.centers)[:, 0])
            for cluster in (
                draw_cluster(rng, 50, 50, rules, morphology=Morphology.PUNCTATE) for _ in range(150)
            )
            if cluster.distribution is Distribution.GROUPED
        ]
        return float(np.median(found))

    assert spread(1.0) < 1.2 < 1.6 < spread(0.0)


def test_faint_calcifications_that_lie_together_are_asked_for_only_where_that_is_wanted(
    background: Background,
) -> None:
    def shown(together: bool) -> SimulatedView:
        settings = SimulatorSettings(
            rules=ClusterRules(contrast=(5, 7), tight_share=1.0), together=together
        )
        return simulate(background, np.random.default_rng(8), settings)

    alone, company = shown(False), shown(True)
    assert np.array_equal(alone.ratios, company.ratios)
    assert np.array_equal(alone.visible, alone.ratios >= SEEN)
    more = company.visible & ~alone.visible
    assert more.any()
    assert company.visible[alone.visible].all()
    assert (company.ratios[more] >= SEEN_TOGETHER).all()
