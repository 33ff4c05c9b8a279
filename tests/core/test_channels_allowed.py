"""What a channel may run: allow and deny, features, lockdown."""

from __future__ import annotations

import pytest

from guestagent_core import (
    Call,
    ChannelRunner,
    CommandBase,
    CommandDeniedError,
    CommandRegistry,
    CommandResult,
    Context,
    command,
)
from guestagent_core.builtin import Builtin


class Pack(CommandBase):
    @command("parallel", parallel=True)
    def parallel(self, value: object) -> CommandResult:
        return CommandResult()

    @command("exclusive")
    def exclusive(self, value: object) -> CommandResult:
        return CommandResult()

    @command("net.show")
    def show(self, value: object) -> CommandResult:
        return CommandResult()

    @command("net.reset")
    def reset(self, value: object) -> CommandResult:
        return CommandResult()


class Hooks:
    """Hooks without a plugin."""

    lockdown: str | None = None

    def authorize(self, call: Call) -> str | None:
        return None

    def run_command(self, call: Call) -> CommandResult:
        return REGISTRY.run(call)


REGISTRY = CommandRegistry([Pack, Builtin])
ALL = ["exclusive", "features", "net.reset", "net.show", "parallel", "version"]


@pytest.mark.parametrize(
    ("allow", "deny", "expected"),
    [
        (["*"], [], ALL),
        ([], [], []),
        (["version"], [], ["version"]),
        (["net.*"], [], ["net.reset", "net.show"]),
        (["net.*", "features"], ["*.reset"], ["features", "net.show"]),
        (["*"], ["*"], []),
        (["*"], ["net.*", "p*"], ["exclusive", "features", "version"]),
        (["NET.*", "net", "net.[xyz]*"], [], []),
        (["net.?how"], [], ["net.show"]),
    ],
)
def test_names_and_patterns_say_what_may_run(allow: list[str], deny: list[str], expected: list[str]) -> None:
    runner = ChannelRunner(REGISTRY, "wire", allow=allow, deny=deny)
    assert sorted(runner.commands()) == expected
    for name in ALL:
        if name in expected:
            assert runner.run_command(name).code == 0
        else:
            with pytest.raises(CommandDeniedError, match=f"Command '{name}' is not allowed on channel 'wire'"):
                runner.run_command(name)


def test_what_is_added_to_the_registry_later_may_run_too() -> None:
    registry = CommandRegistry()
    runner = ChannelRunner(registry, deny=["net.reset"])
    assert runner.commands() == {}
    registry.add(Pack(Context()))
    assert sorted(runner.commands()) == ["exclusive", "net.show", "parallel"]


def test_features_lists_what_the_channel_may_run() -> None:
    runner = ChannelRunner(REGISTRY, deny=["net.*", "exclusive"])
    assert runner.run_command("features").message == "features,parallel,version"


def test_lockdown_leaves_features_and_version_alone() -> None:
    hooks = Hooks()
    runner = ChannelRunner(REGISTRY, hooks=hooks)
    hooks.lockdown = "a policy is missing"
    for name in ALL:
        if name in ("features", "version"):
            assert runner.run_command(name).code == 0
        else:
            with pytest.raises(CommandDeniedError, match=r"^a policy is missing$"):
                runner.run_command(name)
    assert runner.run_command("features").message == "features,version"
    hooks.lockdown = None
    assert sorted(runner.commands()) == ALL


def test_lockdown_allows_nothing_that_the_channel_does_not() -> None:
    hooks = Hooks()
    hooks.lockdown = "a policy is missing"
    with pytest.raises(CommandDeniedError, match="not allowed on channel"):
        ChannelRunner(REGISTRY, deny=["version"], hooks=hooks).run_command("version")
