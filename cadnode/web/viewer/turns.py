"""What takes long waits its turn without a thread, so that pages and sign-ins find one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import ParamSpec, Protocol, TypeVar

from anyio import CapacityLimiter, to_thread

P = ParamSpec("P")
T = TypeVar("T")


class Turns(Protocol):
    """Makes of a route one that is computed in a thread when it is its turn."""

    def __call__(self, route: Callable[P, T]) -> Callable[P, Awaitable[T]]:
        """The same route."""
        ...


def turns(at_once: int) -> Turns:
    """For routes of which no more than `at_once` are computed at one moment, all together."""
    limiter = CapacityLimiter(at_once)

    def in_turn(route: Callable[P, T]) -> Callable[P, Awaitable[T]]:
        @wraps(route)
        async def computed(*given: P.args, **named: P.kwargs) -> T:
            return await to_thread.run_sync(partial(route, *given, **named), limiter=limiter)

        return computed

    return in_turn
