"""The builders under contract."""

from __future__ import annotations

import pytest

from cadnode.core.ports import OutputBuilder
from tests.contract.builders.kinds import DOCUMENTS, EVERY_KIND, OF_EACH_IMAGE, Make
from tests.unit.sr_reports import EQUIPMENT


@pytest.fixture(params=EVERY_KIND)
def make(request: pytest.FixtureRequest) -> Make:
    """The builders under contract."""
    made: Make = request.param
    return made


@pytest.fixture
def builder(make: Make) -> OutputBuilder:
    return make(EQUIPMENT)


@pytest.fixture(params=DOCUMENTS)
def document_builder(request: pytest.FixtureRequest) -> OutputBuilder:
    """Those that make one SR document."""
    made: OutputBuilder = request.param(EQUIPMENT)
    return made


@pytest.fixture(params=OF_EACH_IMAGE)
def image_builder(request: pytest.FixtureRequest) -> OutputBuilder:
    """Those that make one object for each image."""
    made: OutputBuilder = request.param(EQUIPMENT)
    return made
