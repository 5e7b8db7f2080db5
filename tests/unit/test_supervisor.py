"""How long a process that died waits before it is started again."""

from __future__ import annotations

import pytest

from cadnode.supervisor import LONGEST_PAUSE, pause_after


@pytest.mark.parametrize(("deaths", "pause"), [(1, 0), (2, 1), (3, 3), (5, 15)])
def test_the_pause_grows_with_each_death(deaths, pause):
    assert pause_after(deaths) == pause


@pytest.mark.parametrize("deaths", [6, 1025, 1_000_000])
def test_the_pause_never_outgrows_its_limit_however_long_a_process_keeps_dying(deaths):
    assert pause_after(deaths) == LONGEST_PAUSE
