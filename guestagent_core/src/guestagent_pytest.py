"""The pytest plugin of guestagent: fixtures for the tests of plugins, and failures that say which clause was broken.

It stands beside the package, and imports it where it is needed: every start of pytest pays for what is imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from guestagent_core import CommandBase, CommandRegistry, Context
    from guestagent_core.config import Config
    from guestagent_core.testing import MemoryExchange, Programs, RecordedPrograms, RunningAgent

__all__ = ("agent", "agent_config", "context", "memory_exchange", "packs", "programs", "registry")


@pytest.fixture
def programs() -> RecordedPrograms:
    """What commands run programs by: a record. To run them for real, override it to return ``Programs()``."""
    from guestagent_core.testing import RecordedPrograms

    return RecordedPrograms()


@pytest.fixture
def context(tmp_path: Path, programs: Programs) -> Context:
    """A context whose root is a scratch folder."""
    from guestagent_core import Context

    root, state = tmp_path / "root", tmp_path / "state"
    for folder in (root, state):
        folder.mkdir(exist_ok=True)
    return Context(root, None, state, programs)


@pytest.fixture
def packs() -> tuple[type[CommandBase], ...]:
    """The classes whose commands ``registry`` has; override it."""
    from guestagent_core.builtin import Builtin

    return (Builtin,)


@pytest.fixture
def registry(packs: tuple[type[CommandBase], ...], context: Context) -> CommandRegistry:
    """A registry of ``packs``, built with ``context``."""
    from guestagent_core import CommandRegistry

    return CommandRegistry(packs, context)


@pytest.fixture
def memory_exchange() -> Iterator[MemoryExchange]:
    """An exchange whose requests come from its method ``ask``."""
    from guestagent_core.testing import MemoryExchange

    exchange = MemoryExchange()
    yield exchange
    exchange.close()


@pytest.fixture
def agent_config() -> Config:
    """The configuration of ``agent``; override it. Its folders are replaced by scratch folders."""
    from guestagent_core.config import Config

    return Config()


@pytest.fixture
def agent(agent_config: Config, tmp_path: Path, programs: Programs) -> Iterator[RunningAgent]:
    """A running agent with the installed plugins; needs the parser ``json``, of guestagent_json."""
    from guestagent_core.testing import run_agent

    with run_agent(agent_config, tmp_path, programs) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds to a failure which clause of which contract was broken and what to do, or what the test still needs."""
    report = yield
    if report.failed and call.excinfo is not None and call.excinfo.errisinstance(pytest.FixtureLookupError):
        report.sections += _needs(item)
    clause = _clause(item) if report.failed and report.when == "call" else None
    add_section: Any = getattr(report.longrepr, "addsection", None)
    if clause is not None and add_section is not None:
        add_section(*clause)
    return report


def _needs(item: pytest.Item) -> list[tuple[str, str]]:
    """Returns what the contract that ``item`` belongs to has to be given, with a title."""
    for base in getattr(getattr(item, "cls", None), "__mro__", ())[1:]:
        if base.__name__.endswith("Contract") and base.__doc__:
            from inspect import cleandoc

            return [(f"what {base.__name__} needs", cleandoc(base.__doc__))]
    return []


def _clause(item: pytest.Item) -> tuple[str, str] | None:
    """Returns the contract whose clause ``item`` is, and the clause in words."""
    name = getattr(item, "originalname", None)
    for base in getattr(getattr(item, "cls", None), "__mro__", ()):
        function = vars(base).get(name)
        if function is not None:
            if not base.__name__.endswith("Contract") or not function.__doc__:
                return None  # a test of the vendor's own
            from inspect import cleandoc

            demanded, _, advice = cleandoc(function.__doc__).partition("\n\n")
            return f"broken clause of {base.__name__}", f"{demanded}\nWhat to do: {' '.join(advice.split())}"
    return None
