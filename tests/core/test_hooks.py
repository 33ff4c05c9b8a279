"""The hooks: listeners that cannot break the agent, and policies that cannot fail open."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from guestagent_core import (
    Call,
    ChannelRunner,
    CommandBase,
    CommandDeniedError,
    CommandError,
    CommandNotFoundError,
    CommandRegistry,
    CommandResult,
    PluginLoadError,
    command,
)
from guestagent_core.builtin import Builtin
from guestagent_core.hooks import Hooks
from guestagent_core.hookspecs import hookimpl


class Pack(CommandBase):
    @command("double", args=int)
    def double(self, value: int) -> CommandResult:
        return CommandResult(0, 2 * value)

    @command("keep", secret=True)
    def keep(self, value: str) -> CommandResult:
        return CommandResult()


@pytest.fixture
def registry() -> CommandRegistry:
    return CommandRegistry([Builtin, Pack])


@pytest.fixture
def hooks(registry: CommandRegistry) -> Hooks:
    return Hooks(registry.run)


@pytest.fixture
def runner(registry: CommandRegistry, hooks: Hooks) -> ChannelRunner:
    return ChannelRunner(registry, "test", hooks=hooks)


def test_without_plugins_commands_run(runner: ChannelRunner) -> None:
    assert runner.run_command("double", "4") == (0, 8)


def test_a_policy_sees_the_typed_argument_and_denies_with_its_reason(hooks: Hooks, runner: ChannelRunner) -> None:
    class Policy:
        @hookimpl
        def authorize(self, call: Call) -> str | None:
            return f"{call.argument + 1} is too much" if call.argument > 5 else None

    hooks.register(Policy(), "policy", "acme")
    assert runner.run_command("double", "5") == (0, 10)
    with pytest.raises(CommandDeniedError, match=r"^7 is too much$"):
        runner.run_command("double", "6")
    with pytest.raises(CommandNotFoundError):
        runner.run_command("nosuch")


@pytest.mark.parametrize("answer", ["", False, 0, ["x"]])
def test_whatever_a_policy_returns_but_none_denies(hooks: Hooks, runner: ChannelRunner, answer: object) -> None:
    class Policy:
        @hookimpl
        def authorize(self) -> object:
            return answer

    hooks.register(Policy(), "policy", "acme")
    with pytest.raises(CommandDeniedError):
        runner.run_command("double", "1")


@pytest.mark.parametrize("fault", [ZeroDivisionError(), SystemExit()])
def test_a_policy_that_raises_denies(hooks: Hooks, runner: ChannelRunner, fault: BaseException) -> None:
    class Policy:
        @hookimpl
        def authorize(self) -> None:
            raise fault

    hooks.register(Policy(), "policy", "acme")
    with pytest.raises(CommandDeniedError, match="a policy failed on command 'double'"):
        runner.run_command("double", "1")


def test_a_wrapper_sees_and_may_replace_the_result(hooks: Hooks, runner: ChannelRunner) -> None:
    seen: list[Any] = []

    class Audit:
        @hookimpl(wrapper=True)
        def run_command(self, call: Call) -> Generator[None, CommandResult, tuple[int, str]]:
            result = yield
            seen.append((call.name, call.channel, result))
            return 0, "replaced"

    hooks.register(Audit(), "audit", "acme")
    assert runner.run_command("double", 3) == CommandResult(0, "replaced")
    assert seen == [("double", "test", (0, 6))]


def test_a_wrapper_that_returns_rubbish_is_an_error(hooks: Hooks, runner: ChannelRunner) -> None:
    class Audit:
        @hookimpl(wrapper=True)
        def run_command(self) -> Generator[None, CommandResult, str]:
            yield
            return "rubbish"

    hooks.register(Audit(), "audit", "acme")
    with pytest.raises(CommandError, match="other than"):
        runner.run_command("double", 3)


def test_a_wrapper_that_crashes_is_in_the_log(
    hooks: Hooks, runner: ChannelRunner, caplog: pytest.LogCaptureFixture
) -> None:
    class Audit:
        @hookimpl(wrapper=True)
        def run_command(self) -> Generator[None, CommandResult, CommandResult]:
            yield
            raise ZeroDivisionError("the audit failed")

    hooks.register(Audit(), "audit", "acme")
    with pytest.raises(ZeroDivisionError):
        runner.run_command("double", 3)
    assert caplog.text.count("ZeroDivisionError: the audit failed") == 1


def test_a_policy_that_crashes_tells_no_secret(
    hooks: Hooks, runner: ChannelRunner, caplog: pytest.LogCaptureFixture
) -> None:
    class Policy:
        @hookimpl
        def authorize(self, call: Call) -> None:
            raise ValueError(f"cannot judge {call.argument}")

    hooks.register(Policy(), "policy", "acme")
    for name, shown in (("double", True), ("keep", False)):
        caplog.clear()
        with pytest.raises(CommandDeniedError):
            runner.run_command(name, "12345")
        assert ("cannot judge 12345" in caplog.text) is shown
        assert "in authorize" in caplog.text


def test_a_wrapper_that_exits_does_not_take_the_agent_down(hooks: Hooks, runner: ChannelRunner) -> None:
    class Audit:
        @hookimpl(wrapper=True)
        def run_command(self) -> Generator[None, CommandResult, CommandResult]:
            yield
            raise SystemExit

    hooks.register(Audit(), "audit", "acme")
    with pytest.raises(CommandError, match="tried to exit"):
        runner.run_command("double", 3)


class Misspelt:
    @hookimpl
    def authorise(self, call: Call) -> str:
        return "never asked"


class Greedy:
    @hookimpl
    def authorize(self, call: Call, colour: str) -> str:
        return "cannot be asked"


@pytest.mark.parametrize(("plugin", "culprit"), [(Misspelt(), "authorise"), (Greedy(), "colour")])
def test_a_plugin_with_a_hook_that_does_not_exist_is_refused_by_name(
    hooks: Hooks, plugin: object, culprit: str
) -> None:
    with pytest.raises(PluginLoadError, match=f"guestagent.hooks 'audit': acme: .*{culprit}"):
        hooks.register(plugin, "audit", "acme")
    hooks.register(object(), "audit", "acme")  # the name is free, and nothing of the other is left


class Listener:
    """Notes what it hears, and fails where it is told."""

    def __init__(self, name: str, heard: list[str], *failing: str) -> None:
        self.name = name
        self.heard = heard
        self.failing = failing

    def hear(self, hook: str) -> None:
        self.heard.append(f"{self.name} {hook}")
        if hook in self.failing:
            raise ZeroDivisionError(f"{self.name} fails")

    @hookimpl
    def startup(self) -> None:
        self.hear("startup")

    @hookimpl
    def shutdown(self) -> None:
        self.hear("shutdown")

    @hookimpl
    def plugin_failed(self, error: Exception) -> None:
        self.hear(f"plugin_failed {error}")


AGENT: Any = object()


def test_listeners_do_not_hear_less_because_another_fails(
    hooks: Hooks, runner: ChannelRunner, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []
    for name, failing in (("one", ()), ("two", ("shutdown",)), ("three", ())):
        hooks.register(Listener(name, heard, *failing), name, f"acme-{name}")
    assert hooks.startup(AGENT) == []
    hooks.shutdown(AGENT)
    hooks.plugin_failed(PluginLoadError("guestagent.commands", "x", "gone"))
    told = "plugin_failed guestagent.commands 'x': gone"
    for name in ("one", "two", "three"):
        assert [f"{name} startup", f"{name} shutdown", f"{name} {told}"] == [
            line for line in heard if line.startswith(name)
        ]
    assert "acme-two failed in shutdown" in caplog.text
    assert runner.run_command("double", 1) == (0, 2)


def test_a_plugin_that_fails_to_start_denies_all_but_features_and_version(hooks: Hooks, runner: ChannelRunner) -> None:
    heard: list[str] = []
    hooks.register(Listener("good", heard), "good", "acme-good")
    hooks.register(Listener("bad", heard, "startup"), "bad", "acme-bad")
    (failure,) = hooks.startup(AGENT)
    assert str(failure) == "guestagent.hooks 'bad': acme-bad cannot be started: ZeroDivisionError: bad fails"
    with pytest.raises(CommandDeniedError, match="acme-bad"):
        runner.run_command("double", 1)
    assert runner.run_command("features") == (0, "features,version")
    assert runner.run_command("version").code == 0
    hooks.shutdown(AGENT)
    assert "good shutdown" in heard
    assert "bad shutdown" not in heard
