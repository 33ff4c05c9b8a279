"""The registry: which pack offers which command."""

from __future__ import annotations

from itertools import permutations

import pytest

from guestagent_core import (
    CommandBase,
    CommandNotFoundError,
    CommandRegistry,
    CommandResult,
    Context,
    PluginConflictError,
    command,
)

from .packs import Net


class BetterNet(Net):
    def reset(self, value: object) -> CommandResult:
        return CommandResult(0, f"better, {super().reset(value)[1]}")


class BestNet(BetterNet):
    show = None  # type: ignore[assignment]

    @command("best")
    def best(self, value: object) -> CommandResult:
        return CommandResult(0, "best")


class Stranger(CommandBase):
    @command("show")
    def display(self, value: object) -> CommandResult:
        return CommandResult(0, "somebody else's")

    @command("own")
    def own(self, value: object) -> CommandResult:
        return CommandResult(0, "own")


@pytest.mark.parametrize("packs", list(permutations([Net, BetterNet])))
def test_a_subclass_replaces_its_base_in_either_order(packs: tuple[type[CommandBase], ...]) -> None:
    registry = CommandRegistry(packs)
    assert registry.run_command("reset", "x").message == "better, BetterNet resets x"
    assert registry.run_command("show", 1).message == "BetterNet shows 2"


@pytest.mark.parametrize("packs", list(permutations([Net, BetterNet, BestNet])))
def test_what_a_subclass_gave_up_is_not_offered_by_its_base(packs: tuple[type[CommandBase], ...]) -> None:
    registry = CommandRegistry(packs)
    assert set(registry.specs) == {"reset", "best"}
    assert registry.run_command("reset", "x").message == "better, BestNet resets x"
    with pytest.raises(CommandNotFoundError):
        registry.run_command("show", 1)


@pytest.mark.parametrize("packs", list(permutations([Net, Stranger])))
def test_the_same_name_from_strangers_is_an_error_that_names_both(packs: tuple[type[CommandBase], ...]) -> None:
    with pytest.raises(PluginConflictError) as caught:
        CommandRegistry(packs)
    assert (caught.value.group, caught.value.name) == ("guestagent.commands", "show")
    for pack in (Net, Stranger):
        assert f"{pack.__module__}.{pack.__name__}" in caught.value.reason


def test_a_conflict_names_the_packages_too() -> None:
    # The package is the one that the module comes from, so this claims to be in a module of an installed one.
    members = {"__module__": "guestagent_core.builtin", "show": command("show")(lambda self, value: (0, ""))}
    rival = type("Rival", (CommandBase,), members)
    with pytest.raises(PluginConflictError, match=r"guestagent_core\.builtin\.Rival \(package guestagent[_-]core\)"):
        CommandRegistry([Net, rival])


def test_after_a_conflict_the_registry_is_what_it_was() -> None:
    registry = CommandRegistry([Net])
    with pytest.raises(PluginConflictError):
        registry.add(Stranger(Context()))
    assert set(registry.specs) == {"reset", "show"}
    assert registry.run_command("show", 1).message == "Net shows 2"
    with pytest.raises(CommandNotFoundError):
        registry.run_command("own")


def test_one_pack_with_the_same_name_twice_is_an_error() -> None:
    class Twice(CommandBase):
        @command("x")
        def one(self, value: object) -> CommandResult:
            return CommandResult()

        @command("x")
        def two(self, value: object) -> CommandResult:
            return CommandResult()

    with pytest.raises(PluginConflictError, match=r"'x': offered twice by .*Twice"):
        CommandRegistry([Twice])


def test_a_command_that_is_not_enabled_does_not_exist() -> None:
    class Picky(Net):
        def enabled(self, name: str) -> bool:
            return name == "show"

    registry = CommandRegistry([Picky])
    assert set(registry.specs) == {"show"}
    with pytest.raises(CommandNotFoundError):
        registry.run_command("reset")


def test_of_one_pack_added_twice_the_last_one_counts() -> None:
    old, new = Net(Context()), Net(Context())
    new.reset = lambda value: (0, "new")
    assert CommandRegistry([old, new]).run_command("reset").message == "new"


def test_what_is_not_enabled_is_in_nobodys_way() -> None:
    class Quiet(Net):
        def enabled(self, name: str) -> bool:
            return name != "show"

    assert set(CommandRegistry([Quiet, Stranger]).specs) == {"reset", "show", "own"}


def test_two_registries_do_not_see_each_other() -> None:
    one, other = CommandRegistry([Net]), CommandRegistry([Stranger])
    assert (set(one.specs), set(other.specs)) == ({"reset", "show"}, {"show", "own"})
    assert other.run_command("show").message == "somebody else's"
    one.exclusive.enqueue()
    assert other.run_command("own").message == "own"  # not even the lock is shared


def test_classes_are_built_with_the_context_and_objects_taken_as_they_are() -> None:
    contexts: list[Context] = []

    class Noting(CommandBase):
        def __init__(self, context: Context) -> None:
            super().__init__(context)
            contexts.append(context)

    given, own = Context(options=1), Context(options=2)
    CommandRegistry([Noting, Noting(own)], given)
    assert contexts == [own, given]
    CommandRegistry([Noting])
    assert contexts[-1].root == Context().root
