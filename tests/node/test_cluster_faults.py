"""Broker, worker and database connections killed during a run of exams: nothing lost, nothing twice."""

from __future__ import annotations

import pytest

from tests.faults.cluster import Kind, make_run, run_cluster

pytestmark = [pytest.mark.node, pytest.mark.timeout(900)]


def test_a_cluster_whose_parts_are_killed_loses_nothing_and_does_nothing_twice():
    kinds = [Kind.BROKER, Kind.ANALYSIS, Kind.CONNECTIONS]
    run = make_run(7, 10, kinds, pace=0.8, workers=1)
    outcome = run_cluster(run, workers=1, settle_seconds=240.0)
    assert outcome.verdict.good, outcome
    assert not outcome.troubles
    assert [kind for kind, _ in outcome.injected] == kinds
    assert outcome.images == sum(len(e.views) + bool(e.late_view) for e in run.exams)
    assert outcome.hints["given"] > 0
    assert outcome.hints["taken"] > 0
