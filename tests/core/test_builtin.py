"""The commands that every agent has."""

from __future__ import annotations

import re
from typing import ClassVar

import pytest

from guestagent_core import ChannelRunner, CommandBase, CommandRegistry, CommandResult, __version__, command
from guestagent_core.builtin import Builtin
from guestagent_core.testing import CommandPackContract


class TestContract(CommandPackContract):
    entry_point = "builtin"
    pack = Builtin
    samples: ClassVar = {"features": "", "version": "agent"}


class Pack(CommandBase):
    @command("zeta")
    def zeta(self, value: object) -> CommandResult:
        return CommandResult()

    @command("alpha.one")
    def alpha(self, value: object) -> CommandResult:
        return CommandResult()


@pytest.mark.parametrize("value", ["", "agent", None, 5, {"x": []}])
def test_both_answer_whatever_they_are_given(value: object) -> None:
    registry = CommandRegistry([Builtin])
    assert registry.run_command("version", value) == (0, __version__)
    assert registry.run_command("features", value) == (0, "features,version")


def test_the_version_is_dotted_numbers() -> None:
    assert re.fullmatch(r"\d+(\.\d+)+", CommandRegistry([Builtin]).run_command("version").message)


def test_features_joins_the_sorted_names_by_commas() -> None:
    registry = CommandRegistry([Pack, Builtin])
    assert registry.run_command("features").message == "alpha.one,features,version,zeta"


def test_features_lists_what_its_channel_may_run() -> None:
    registry = CommandRegistry([Pack, Builtin])
    assert ChannelRunner(registry, deny=["z*"]).run_command("features").message == "alpha.one,features,version"
    assert ChannelRunner(registry, allow=["f*"]).run_command("features").message == "features"


def test_both_may_run_beside_others() -> None:
    registry = CommandRegistry([Builtin])
    registry.exclusive.enqueue()  # held for ever
    assert registry.run_command("version").code == registry.run_command("features").code == 0


def test_the_examples_are_accepted() -> None:
    registry = CommandRegistry([Builtin])
    for name, spec in registry.specs.items():
        assert spec.examples
        assert [registry.run_command(name, example).code for example in spec.examples] == [0] * len(spec.examples)
