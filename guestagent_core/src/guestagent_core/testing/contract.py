"""What all contracts share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, TypeVar

import pytest

if TYPE_CHECKING:
    from guestagent_core.discovery import Plugin

__all__ = ("Contract",)

ResultT = TypeVar("ResultT")


class Contract:
    """The base of every contract: clauses, which are tests, to inherit in a class whose name begins with ``Test``.

    The docstring of a clause is what it demands, and what to do about it: a failure shows it.
    """

    group: ClassVar[str] = ""
    """The entry-point group of the plugins that the contract is for."""
    entry_point: ClassVar[str | None] = None
    """The plugin's name in its group. If it is given, an installed package has to offer the tested plugin by it."""
    patience: ClassVar[float] = 30.0
    """How many seconds anything may take before it counts as hanging."""

    def returns(self, function: Callable[[], ResultT], otherwise: str) -> ResultT:
        """Runs ``function`` in another thread and returns, or raises, what it does.

        :raises AssertionError: with the text ``otherwise``, if it does not end.
        """
        results: list[ResultT] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                results.append(function())
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(self.patience)
        assert not thread.is_alive(), f"{otherwise} (waited {self.patience} s)"
        if failures:
            raise failures[0]
        return results[0]

    def at_once(self, functions: list[Callable[[], ResultT]], otherwise: str) -> list[ResultT]:
        """Runs ``functions`` in threads of their own at the same time and returns what they return."""
        barrier = threading.Barrier(len(functions))

        def run(function: Callable[[], ResultT], number: int) -> None:
            barrier.wait()
            try:
                results[number] = function()
            except BaseException as error:
                failures.append(error)

        results: dict[int, ResultT] = {}
        failures: list[BaseException] = []
        threads = [
            threading.Thread(target=run, args=(function, number), daemon=True)
            for number, function in enumerate(functions)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.patience)
            assert not thread.is_alive(), f"{otherwise} (waited {self.patience} s)"
        if failures:
            raise failures[0]
        return [results[number] for number in range(len(functions))]

    def offered(self) -> Plugin:
        """Returns the plugin that is installed as :attr:`entry_point`; skips the clause without that.

        :raises AssertionError: there is none.
        """
        from guestagent_core.discovery import Catalogue
        from guestagent_core.errors import PluginError

        if self.entry_point is None:
            pytest.skip(f"this test has no entry_point, the plugin's name in {self.group}")
        try:
            return Catalogue.installed().find(self.group, self.entry_point)
        except PluginError as error:
            raise AssertionError(f"{error}; is the package installed, with this entry point?") from None
