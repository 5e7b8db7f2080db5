"""A node that has read an exam, and one that has none yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.analyzed import analyze, receive
from tests.console import ConsoleUnderTest, console_under_test
from tests.integration.viewer.exam import DESTINATION, exam_objects


@pytest.fixture(scope="package")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleUnderTest]:
    with console_under_test(tmp_path_factory.mktemp("node"), DESTINATION) as node:
        receive(node, exam_objects())
        analyze(node)
        yield node


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[ConsoleUnderTest]:
    with console_under_test(tmp_path) as node:
        yield node
