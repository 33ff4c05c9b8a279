"""What every command pack has to keep."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from guestagent_core.commands import CommandBase, CommandResult
from guestagent_core.context import Context
from guestagent_core.errors import CommandError
from guestagent_core.registry import CommandRegistry

__all__ = ("CommandPackContract",)

_STRANGE: tuple[Any, ...] = (None, True, 0, -1, 1.5, "", "\0", "\n", "x" * 100_000, [], [[]], {}, {"a": {"b": []}}, "ü")


class CommandPackContract:
    """The clauses of a command pack; a vendor's test sets the attributes.

    The fixture ``context`` can be overridden: a pack with options, or one that expects files, needs more than an empty
    scratch root.
    """

    pack: ClassVar[type[CommandBase]]
    """The class to test."""
    samples: ClassVar[Mapping[str, Any]]
    """A value that each command accepts, by the command's name."""

    @pytest.fixture
    def context(self, tmp_path: Path) -> Context:
        root, state = tmp_path / "root", tmp_path / "state"
        root.mkdir()
        state.mkdir()
        options = self.pack.Options() if hasattr(self.pack, "Options") else None
        return Context(root, options, state)

    @pytest.fixture
    def registry(self, context: Context) -> CommandRegistry:
        return CommandRegistry([self.pack], context)

    def test_every_command_has_a_sample(self, registry: CommandRegistry) -> None:
        assert set(registry.specs) == set(self.samples), "samples has to hold one value for each command, and no others"

    def test_every_command_is_documented(self) -> None:
        for attribute, method in self.pack.command_methods.items():
            assert method.__doc__ or method.function.__doc__, f"{attribute}: what does {method.spec.name!r} do?"

    def test_samples_are_answered(self, registry: CommandRegistry) -> None:
        for name, value in self.samples.items():
            assert isinstance(registry.run_command(name, value), CommandResult)

    def test_examples_are_valid(self, registry: CommandRegistry) -> None:
        for spec in registry.specs.values():
            for example in spec.examples:
                spec.parse(example)

    def test_strange_values_are_answered_or_refused(self, registry: CommandRegistry) -> None:
        for name in registry.specs:
            for value in _STRANGE:
                try:
                    registry.run_command(name, value)
                except CommandError:
                    pass
                except Exception as error:
                    shown = repr(value)[:40]
                    raise AssertionError(f"{name!r} crashed on {shown}: give it an args= that checks") from error

    def test_secrets_do_not_reach_the_log(self, registry: CommandRegistry, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        for name in [name for name, spec in registry.specs.items() if spec.secret]:
            shown = ""
            try:
                registry.run_command(name, self.samples[name])
            except CommandError as error:
                shown = str(error)
            for place, text in (("an error", shown), ("the log", caplog.text)):
                assert str(self.samples[name]) not in text, f"{place} holds the value of {name!r}"
