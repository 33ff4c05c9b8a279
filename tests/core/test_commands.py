"""How commands are declared, and what is refused when a pack is defined."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from guestagent_core import (
    CommandBase,
    CommandError,
    CommandResult,
    CommandSpec,
    Context,
    InvalidArgumentError,
    command,
)
from guestagent_core.commands import CommandMethod, checked_result, defined_packs


class Net(CommandBase):
    """A pack to inherit from."""

    @command("net.reset", timeout=55, secret=True)
    def reset(self, value: object) -> CommandResult:
        """Resets the network."""
        return CommandResult(0, "Net.reset")

    @reset.resume
    def reset_again(self, value: object) -> CommandResult:
        return CommandResult(0, "Net.reset_again")

    @command("net.show", parallel=True)
    def show(self, value: object) -> CommandResult:
        return CommandResult(0, f"Net.show {value}")


def names(pack: type[CommandBase]) -> dict[str, str]:
    return {attribute: method.spec.name for attribute, method in pack.command_methods.items()}


# Marks


@pytest.mark.parametrize("name", ["", "two words", "a,b", "it's", "a\nb", "tab\t", "\x00", "del\x7f", "no\u00a0break"])
def test_a_name_that_would_break_a_list_or_a_log_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be named") as caught:
        command(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["x", "net.reset", "key-init", "a_b/c:d", "gr\u00fc\u00dfe", '"'])
def test_other_names_are_fine(name: str) -> None:
    assert command(name)(lambda self, value: (0, "")).spec.name == name


def test_a_timeout_may_be_short() -> None:
    assert command("x", timeout=0.001)(lambda self, value: (0, "")).spec.timeout == 0.001


@pytest.mark.parametrize("timeout", [0, -1, math.nan, -math.inf])
def test_a_timeout_must_be_more_than_nothing(timeout: float) -> None:
    with pytest.raises(ValueError, match=r"Command 'x': the timeout must be more than 0 seconds, not "):
        command("x", timeout=timeout)


def test_a_spec_holds_what_the_mark_says() -> None:
    method: CommandMethod[Any, int] = command(
        "x", args=int, secret=True, idempotent=True, timeout=5, examples=["1", "2"]
    )(lambda self, n: (0, n))
    assert method.spec == CommandSpec("x", int, True, False, True, 5.0, ("1", "2"))
    plain = CommandSpec("x", None, False, False, False, 30.0, ())
    assert command("x")(lambda self, value: (0, "")).spec == CommandSpec("x") == plain


def test_a_parallel_command_is_idempotent() -> None:
    assert Net.command_methods["show"].spec.idempotent
    assert not Net.command_methods["reset"].spec.idempotent


def test_a_marked_method_is_still_a_method() -> None:
    assert Net(Context()).show(5) == (0, "Net.show 5")
    assert Net.show(Net(Context()), 6) == (0, "Net.show 6")
    assert Net.reset.__doc__ == "Resets the network."


def test_a_method_can_name_the_one_that_takes_it_up_again() -> None:
    method = Net.command_methods["reset"]
    assert method.resume_function is not None
    assert method.resume_function(Net(Context()), "") == (0, "Net.reset_again")
    assert Net(Context()).reset_again("") == (0, "Net.reset_again")  # it stays a plain method
    assert Net.command_methods["show"].resume_function is None


# Arguments


def raising(error: BaseException) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        raise error

    return parse


def test_args_makes_the_argument() -> None:
    assert CommandSpec("x", args=int).parse("12") == 12
    assert CommandSpec("x").parse("12") == "12"


@pytest.mark.parametrize(
    "error", [ValueError("no number"), KeyError("k"), CommandError("deep"), ZeroDivisionError(), SystemExit("bye")]
)
def test_whatever_args_raises_is_an_invalid_argument_with_the_same_text(error: BaseException) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        CommandSpec("x", args=raising(error)).parse("")
    assert str(caught.value) == str(error)
    assert caught.value.code == 400
    assert caught.value.__cause__ is error


def test_an_invalid_argument_error_of_args_is_passed_on_as_it_is() -> None:
    error = InvalidArgumentError("exactly this")
    with pytest.raises(InvalidArgumentError) as caught:
        CommandSpec("x", args=raising(error)).parse("")
    assert caught.value is error


def test_an_interrupt_is_none_of_the_arguments_business() -> None:
    with pytest.raises(KeyboardInterrupt):
        CommandSpec("x", args=raising(KeyboardInterrupt())).parse("")


# Collecting


def test_an_override_without_a_mark_keeps_it() -> None:
    class Special(Net):
        def reset(self, value: object) -> CommandResult:
            return CommandResult(1, f"Special, {super().reset(value)[1]}")

    method = Special.command_methods["reset"]
    assert method.spec == Net.command_methods["reset"].spec
    assert method.resume_function is Net.command_methods["reset"].resume_function
    assert method(Special(Context()), "") == (1, "Special, Net.reset")
    assert names(Special) == names(Net)


def test_an_override_with_a_mark_has_its_own() -> None:
    class Special(Net):
        @command("net.show.all")
        def show(self, value: object) -> CommandResult:
            return CommandResult(0, "all")

    assert names(Special) == {"reset": "net.reset", "show": "net.show.all"}
    assert not Special.command_methods["show"].spec.parallel


def test_an_override_by_none_removes_the_command_for_good() -> None:
    class Less(Net):
        show = None  # type: ignore[assignment]

    class LessStill(Less):
        def show(self, value: object) -> CommandResult:  # type: ignore[override]
            return CommandResult(0, "no command any more")

    assert names(Less) == names(LessStill) == {"reset": "net.reset"}
    assert names(Net) == {"reset": "net.reset", "show": "net.show"}


def test_a_plain_mixin_overrides_a_command_too() -> None:
    class Mixin:
        def show(self, value: object) -> CommandResult:
            return CommandResult(0, "Mixin.show")

    class Mixed(Mixin, Net):
        pass

    assert Mixed.command_methods["show"](Mixed(Context()), "") == (0, "Mixin.show")
    assert Mixed.command_methods["show"].spec.name == "net.show"


@pytest.mark.parametrize("other", [property(lambda self: 1), staticmethod(len), classmethod(print), 5, "text"])
def test_an_override_by_what_is_no_method_is_an_error_that_names_it(other: Any) -> None:
    with pytest.raises(TypeError, match=r"test_commands\.Broken\.show overrides the command 'net.show' with something"):
        type("Broken", (Net,), {"show": other, "__module__": "test_commands"})


def test_properties_are_not_evaluated_when_commands_are_collected() -> None:
    evaluated: list[object] = []

    class Lazy(Net):
        @property
        def connection(self) -> None:
            evaluated.append(self)

    class LazierStill(Lazy):
        """Collects once more."""

    assert names(LazierStill) == names(Net)
    LazierStill(Context())
    assert evaluated == []


async def coroutine(self: object, value: object) -> CommandResult:
    return CommandResult()


async def asynchronous_generator(self: object, value: object) -> Any:
    yield CommandResult()


WRONG: list[tuple[Any, str]] = [
    (coroutine, "not an async one"),
    (asynchronous_generator, "not an async one"),
    (lambda self: (0, ""), "takes self and one argument"),
    (lambda: (0, ""), "takes self and one argument"),
    (lambda self, one, two: (0, ""), "takes self and one argument"),
    (lambda self, *, value: (0, ""), "takes self and one argument"),
    (staticmethod(lambda value: (0, "")), "takes self and one argument"),
    (classmethod(lambda cls, value: (0, "")), "takes self and one argument"),
]


@pytest.mark.parametrize(("function", "reason"), WRONG)
@pytest.mark.parametrize("marked", [True, False])
def test_a_method_of_the_wrong_form_is_refused_with_its_name(function: Any, reason: str, marked: bool) -> None:
    if not marked and isinstance(function, (staticmethod, classmethod)):
        reason = "is not a method"
    with pytest.raises(TypeError, match=rf"^test_commands\.Broken\.show.*{reason}$"):
        type("Broken", (Net,), {"show": command("x")(function) if marked else function, "__module__": "test_commands"})


def test_a_resume_method_of_the_wrong_form_is_refused_with_its_name() -> None:
    with pytest.raises(TypeError, match=r"Broken\.again: a command takes self and one argument$"):

        class Broken(CommandBase):
            @command("x")
            def first(self, value: object) -> CommandResult:
                return CommandResult()

            @first.resume  # type: ignore[arg-type]
            def again(self) -> CommandResult:
                return CommandResult()


@pytest.mark.parametrize(
    "function", [lambda self, value="": (0, ""), lambda self, *values: (0, ""), lambda self, value, more=1: (0, "")]
)
def test_a_method_that_can_be_called_with_one_argument_will_do(function: Callable[[Any, Any], Any]) -> None:
    pack = type("Fine", (CommandBase,), {"run": command("x")(function)})
    assert names(pack) == {"run": "x"}


def test_every_pack_is_in_the_index_of_defined_ones() -> None:
    class New(Net):
        """Nothing new."""

    assert defined_packs()[-1] is New
    assert defined_packs().index(Net) < defined_packs().index(New)


# Results


def test_an_empty_result_is_success() -> None:
    assert CommandResult() == (0, "")


@pytest.mark.parametrize("result", [CommandResult("D0", "x"), (0, {"a": [1]}), ("D0", None), (-1, "")])
def test_a_result_is_a_code_and_a_message(result: tuple[int | str, Any]) -> None:
    checked = checked_result("x", result)
    assert isinstance(checked, CommandResult)
    assert checked == result


@pytest.mark.parametrize("rubbish", [None, "text", 0, [0, "list"], (0,), (0, 1, 2), (None, ""), (True, ""), (1.5, "")])
def test_anything_else_is_no_result(rubbish: object) -> None:
    with pytest.raises(CommandError, match=r"^Command 'x' answered something other than \(code, message\)$"):
        checked_result("x", rubbish)
