"""The model of the capacity: the simulation agrees with what arithmetic and queueing theory say."""

from __future__ import annotations

import pytest

from tests.bench.capacity_model import Costs, Programme, arrivals, exams_per_hour, needed, simulate

COSTS = Costs(receive=0.05, send=0.0, prepare=0.25, model=0.5, report=0.3)


def test_a_burst_takes_as_long_as_the_cores_need():
    outcome = simulate(COSTS, [0.0] * 50, cores=2, workers=3)
    predicted = exams_per_hour(COSTS, cores=2, workers=3)
    assert 3600 * 50 / outcome.ended_at == pytest.approx(predicted, rel=0.03)


def test_one_worker_cannot_use_every_core():
    outcome = simulate(COSTS, [0.0] * 40, cores=8, workers=1)
    predicted = exams_per_hour(COSTS, cores=8, workers=1)
    assert predicted < 3600 * 8 / COSTS.of_exam
    assert 3600 * 40 / outcome.ended_at == pytest.approx(predicted, rel=0.05)


def test_an_exam_alone_waits_for_nobody():
    (delay,) = simulate(COSTS, [0.0], cores=2, workers=1, gap=10.0).delays
    assert delay == pytest.approx(0.25 + 0.5 / 2 + 0.3, abs=0.05)


def test_one_core_and_single_image_work_wait_as_a_queue_of_constant_service_does():
    # With nothing but the report to compute this is M/D/1: the mean wait is rho / 2 (1 - rho) of
    # the service, here at three quarters of the capacity.
    service = 0.01
    only = Costs(receive=0.0, send=0.0, prepare=0.0, model=0.0, report=service)
    begin = arrivals(10_000, 0.75 * 3600 / service, seed=1)
    delays = simulate(only, begin, cores=1, workers=1).delays
    waited = sum(delays) / len(delays) / service - 1
    assert waited == pytest.approx(0.75 / (2 * 0.25), rel=0.1)


def test_the_same_seed_gives_the_same_run():
    first, second, other = (arrivals(50, 100, seed) for seed in (7, 7, 8))
    assert first == second != other
    run = [simulate(COSTS, first, cores=2, workers=3) for _ in range(2)]
    assert run[0] == run[1]


def test_the_busy_hour_of_a_programme_and_the_machines_for_it():
    programme = Programme()
    assert programme.per_hour == 10_000
    assert programme.mb_per_second == pytest.approx(189, abs=1)
    assert needed(10_000, 1_000, utilisation=0.5) == 21
