"""The registry: which method takes up a call that was interrupted."""

from __future__ import annotations

from typing import Any

from guestagent_core import Call, CommandBase, CommandRegistry, CommandResult, command


class Resumable(CommandBase):
    @command("reset")
    def reset(self, value: object) -> CommandResult:
        return CommandResult(0, "reset")

    @reset.resume
    def reset_again(self, value: object) -> CommandResult:
        return CommandResult(0, f"{type(self).__name__} again")

    @command("show")
    def show(self, value: object) -> CommandResult:
        return CommandResult(0, "shown")


def resumed(registry: CommandRegistry, name: str) -> CommandResult:
    spec = registry.specs[name]
    return registry.run(Call("7", "wire", name, "", "", spec, resumed=True))


def test_a_resumed_call_is_taken_up_by_the_method_that_is_marked() -> None:
    registry = CommandRegistry([Resumable])
    assert registry.resumes("reset")
    assert resumed(registry, "reset") == (0, "Resumable again")
    assert registry.run_command("reset") == (0, "reset")


def test_a_command_without_such_a_method_is_not_resumed() -> None:
    registry = CommandRegistry([Resumable])
    assert not registry.resumes("show")
    assert not registry.resumes("nosuch")


def test_an_override_of_the_method_takes_its_place() -> None:
    class Special(Resumable):
        def reset_again(self, value: object) -> CommandResult:
            return CommandResult(1, f"special, {super().reset_again(value)[1]}")

    registry = CommandRegistry([Special])
    assert resumed(registry, "reset") == (1, "special, Special again")


def test_a_subclass_can_end_the_taking_up() -> None:
    class Special(Resumable):
        reset_again = None  # type: ignore[assignment]

    assert not CommandRegistry([Special]).resumes("reset")


def test_a_function_from_elsewhere_can_take_up() -> None:
    def elsewhere(pack: Any, value: object) -> CommandResult:
        return CommandResult(0, type(pack).__name__)

    class Other(CommandBase):
        @command("reset")
        def reset(self, value: object) -> CommandResult:
            return CommandResult(0, "reset")

        reset.resume(elsewhere)

    assert resumed(CommandRegistry([Other]), "reset") == (0, "Other")
