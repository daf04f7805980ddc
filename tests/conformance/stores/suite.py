"""What a store's suite is: cases, each a function of a fresh, empty store.

Rules
- A case knows the store by its port alone. Its docstring is the promise.
- A factory gives a new empty store for a while: `async with factory() as store`.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

Factory = Callable[[], AbstractAsyncContextManager[Any]]
Case = Callable[[Any], Awaitable[None]]


class Suite:
    """The cases of one port."""

    def __init__(self, port: str) -> None:
        self.port = port
        self.cases: list[Case] = []

    def case(self, function: Case) -> Case:
        """Add a case."""
        self.cases.append(function)
        return function

    async def check(self, factory: Factory) -> None:
        """Try all cases, each on a store of its own. Raises `AssertionError` where a promise is not kept."""
        for case in self.cases:
            async with factory() as store:
                await case(store)


def pairs(suites_and_factories: list[tuple[Suite, dict[str, Factory]]]) -> list[Any]:
    """List every case of every suite with every engine, as pytest's parameters."""
    import pytest

    return [
        pytest.param(case, factory, id=f"{suite.port}-{engine}-{case.__name__}")
        for suite, factories in suites_and_factories
        for engine, factory in factories.items()
        for case in suite.cases
    ]
