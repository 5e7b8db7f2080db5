"""The API does what its own description says, whatever it is asked: Schemathesis makes it up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from cadnode.console.access import open_access
from cadnode.core.accounts import Role
from tests.analyzed import analyze, receive
from tests.chromium import served
from tests.console import console_under_test
from tests.integration.viewer.exam import exam_objects

_EXAMPLES = 10
_EXCLUDED: list[Any] = [positive_data_acceptance]
"""Written as described, a search or a period may still mean nothing: that is answered 422."""
_EACH_STARTS_A_PROCESS = ("POST", "/api/v1/model/golden-check")


@dataclass(frozen=True)
class Api:
    """The API of a running console that knows one exam."""

    url: str
    token: Callable[[], str]
    """A new one, for all of it."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with console_under_test(tmp_path_factory.mktemp("node")) as node:
        receive(node, exam_objects())
        analyze(node)
        access = open_access(node.app, node.store)
        # With nobody in it the console would ask nobody on this machine for a token.
        access.add_user("somebody", Role.ADMIN, "correct horse battery", by="test")

        def token() -> str:
            return access.add_token("test", Role.ADMIN, 1, owner=None, by="test")[1]

        with served(node) as url:
            yield Api(url, token)


def ask(
    operation: schemathesis.APIOperation[Any, Any, Any, Any], headers: dict[str, str]
) -> list[str]:
    """What is wrong with the answers of one operation."""

    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def examples(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(headers=headers, excluded_checks=_EXCLUDED)

    try:
        examples()
    except BaseExceptionGroup as error:
        return [f"{operation.label}\n{each}" for each in error.exceptions]
    return []


def test_whatever_is_asked_the_answer_is_one_that_the_description_has(api):
    schema = schemathesis.openapi.from_url(
        f"{api.url}/api/v1/openapi.json", headers={"Authorization": f"Bearer {api.token()}"}
    )
    wrong: list[str] = []
    asked = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if (operation.method.upper(), operation.path) == _EACH_STARTS_A_PROCESS:
            continue
        asked += 1
        # The token of the one before may have been revoked by what was asked.
        wrong += ask(operation, {"Authorization": f"Bearer {api.token()}"})
    assert asked > 40
    assert not wrong, "\n\n".join(wrong)
