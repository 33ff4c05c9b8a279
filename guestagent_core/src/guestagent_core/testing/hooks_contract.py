"""What every hooks plugin has to keep."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from guestagent_core import hookspecs
from guestagent_core.agent import Agent
from guestagent_core.calls import Call
from guestagent_core.commands import CommandResult, CommandSpec
from guestagent_core.config import AgentConfig, Config
from guestagent_core.discovery import Catalogue
from guestagent_core.errors import CommandError, PluginLoadError
from guestagent_core.hooks import GROUP, Hooks

from .contract import Contract

__all__ = ("HooksContract", "sample_call")

_HOOKS = tuple(name for name in hookspecs.__all__ if name != "hookimpl")
_NAME = "the-plugin-under-test"
_SECRET = "xyzzy-the-secret-of-the-contract"  # noqa: S105 - nobody's
_STRANGE: tuple[Any, ...] = (None, True, -1, 1.5, "", "\0", "x" * 100_000, b"\xff", [], {}, {"a": [None]}, object())


def sample_call(
    name: str, argument: Any = "", *, value: Any = None, secret: bool = False, channel: str = "test", peer: Any = None
) -> Call:
    """Returns a call as hooks get it.

    :param argument: what the command's ``args`` made of the value.
    :param value: what the host sent; default: the argument.
    """
    sent = argument if value is None else value
    return Call("1", channel, name, sent, argument, CommandSpec(name, secret=secret), peer, None)


class HooksContract(Contract):
    """The clauses of a hooks plugin; a vendor's test gives the fixture ``hooks_plugin``: a new plugin, as the agent
    would register it (an object of the class, or the module).

    A policy also has samples of what it lets pass and what it denies.
    """

    group = GROUP
    allowed: ClassVar[Sequence[tuple[str, Any]]] = ()
    """Calls that the policy lets pass: names of commands with arguments."""
    denied: ClassVar[Sequence[tuple[str, Any]]] = ()
    """Calls that the policy denies."""
    transparent: ClassVar[bool] = True
    """Whether wrappers pass on what a command answers or raises; False for one that is there to change that."""

    @pytest.fixture
    def ran(self) -> list[Call]:
        """The calls that reached their command."""
        return []

    @pytest.fixture
    def hooks(self, hooks_plugin: object, ran: list[Call]) -> Hooks:
        """The hooks of an agent with this plugin alone; commands named ``fail`` fail, all others answer ``done``."""

        def run(call: Call) -> CommandResult:
            ran.append(call)
            if call.name == "fail":
                raise CommandError("failed for the test", 409)
            return CommandResult(0, "done")

        hooks = Hooks(run)
        hooks.register(hooks_plugin, _NAME, "this package")
        return hooks

    @pytest.fixture
    def hooks_agent(self, tmp_path: Path) -> Agent:
        """An agent that ``startup`` and ``shutdown`` get; it has no plugins and is not started."""
        return Agent(Config(AgentConfig(tmp_path / "root", commands=("!builtin",))), Catalogue(()))

    @pytest.fixture
    def started(self, hooks: Hooks, hooks_agent: Agent) -> Iterator[Hooks]:
        """The hooks, started; they are ended afterwards."""
        hooks.call_one(_NAME, "startup", agent=hooks_agent)
        yield hooks
        hooks.call_one(_NAME, "shutdown", agent=hooks_agent)

    def test_it_is_accepted(self, hooks_plugin: object) -> None:
        """The plugin has hooks: functions that are marked with ``hookimpl`` and named after a hook.

        The hooks, and the names of their parameters, are those of ``guestagent_core.hookspecs``.
        """
        hooks = Hooks(lambda call: CommandResult())
        try:
            hooks.register(hooks_plugin, _NAME, "this package")
        except PluginLoadError as error:
            raise AssertionError(error.reason) from None
        assert self._implementations(hooks_plugin), f"it has none of the hooks {', '.join(_HOOKS)}"

    def test_no_parameter_has_a_default(self, hooks_plugin: object) -> None:
        """No parameter of a hook has a default: versions of pluggy differ in what that means.

        Take the parameters that you need, by name, and leave the others out.
        """
        for name in self._implementations(hooks_plugin):
            for parameter in inspect.signature(getattr(hooks_plugin, name)).parameters.values():
                assert parameter.default is parameter.empty, f"{name}: the parameter {parameter.name} has a default"

    def test_it_starts_and_ends(self, hooks: Hooks, hooks_agent: Agent) -> None:
        """``startup`` and ``shutdown`` return, and threads that were started have ended then.

        Tell the threads to end in ``shutdown``, and join them there.
        """
        before = set(threading.enumerate())
        for hook in ("startup", "shutdown"):
            self.returns(partial(hooks.call_one, _NAME, hook, agent=hooks_agent), f"{hook} hangs")
        left = [thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()]
        assert not left, f"threads are left after shutdown: {left}"

    def test_a_policy_has_samples(self, hooks_plugin: object) -> None:
        """A policy has samples of what it lets pass and of what it denies.

        Set ``allowed`` and ``denied``: pairs of a command's name and an argument.
        """
        if "authorize" in self._implementations(hooks_plugin):
            assert self.allowed, "allowed is empty"
            assert self.denied, "denied is empty"

    def test_allowed_calls_pass(self, started: Hooks) -> None:
        """``authorize`` returns None for a call that the policy lets pass.

        Not False and not an empty text: whatever is not None denies.
        """
        for name, argument in self.allowed:
            reason = started.call_one(_NAME, "authorize", call=sample_call(name, argument))
            assert reason is None, f"{name!r} was denied: {reason!r}"

    def test_denied_calls_have_a_reason(self, started: Hooks) -> None:
        """``authorize`` returns the reason to deny a call: a text, which the host gets to see.

        Return it; a raised error denies too, but tells the host nothing and looks like a fault in the log.
        """
        for name, argument in self.denied:
            reason = started.call_one(_NAME, "authorize", call=sample_call(name, argument))
            assert reason is not None, f"{name!r} was let pass"
            assert isinstance(reason, str), f"the reason to deny {name!r} is no text"
            assert reason, f"the reason to deny {name!r} is empty"

    def test_a_policy_decides_about_strange_arguments(self, started: Hooks) -> None:
        """``authorize`` decides about any argument, and about commands that it does not know.

        Check the type before you look into an argument.
        """
        names = dict.fromkeys([name for name, _ in (*self.allowed, *self.denied)] + ["unknown.command"])
        for name in names:
            for argument in _STRANGE:
                try:
                    started.call_one(_NAME, "authorize", call=sample_call(name, argument))
                except Exception as error:
                    shown = ascii(argument)[:40]
                    raise AssertionError(f"authorize crashed on {name!r} with {shown}: {error!r}") from error

    def test_results_and_errors_are_passed_on(self, started: Hooks) -> None:
        """A wrapper passes on what the command answers, and what it raises.

        Write ``return (yield)``, with ``try`` and ``finally`` around it where needed. A wrapper that is there to change
        results says so: ``transparent = False``.
        """
        if not self.transparent:
            pytest.skip("this plugin changes results on purpose")
        assert started.run_command(sample_call("succeed")) == CommandResult(0, "done")
        with pytest.raises(CommandError) as caught:
            started.run_command(sample_call("fail"))
        assert caught.value.code == 409, f"another error came out: {caught.value}"

    def test_the_command_is_run_once(self, started: Hooks, ran: list[Call]) -> None:
        """A wrapper has the command run, and has it run once.

        One ``yield`` runs it. To deny a call is the task of ``authorize``; to run it again, that of the host.
        """
        if not self.transparent:
            pytest.skip("this plugin changes results on purpose")
        started.run_command(call := sample_call("succeed"))
        assert ran == [call], f"the command was run {len(ran)} times"

    def test_secrets_are_written_nowhere(
        self, started: Hooks, hooks_agent: Agent, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The value of a secret command is neither logged nor written into a file, and not told in a reason.

        Leave ``call.value`` and ``call.argument`` out if ``call.spec.secret``. Files are looked for in ``tmp_path``.
        """
        caplog.set_level(logging.DEBUG)
        said = []
        for name in ("succeed", "fail", *dict.fromkeys(name for name, _ in self.denied)):
            call = sample_call(name, _SECRET, secret=True)
            said.append(str(started.authorize(call)))
            try:
                started.run_command(call)
            except CommandError as error:
                said.append(str(error))
        started.call_one(_NAME, "shutdown", agent=hooks_agent)
        assert _SECRET not in caplog.text, "the log holds the value of a secret command"
        assert _SECRET not in "\n".join(said), "a reason holds the value of a secret command"
        for file in tmp_path.rglob("*"):
            if file.is_file():
                assert _SECRET.encode() not in file.read_bytes(), f"{file.name} holds the value of a secret command"

    def test_failures_of_others_are_survived(self, started: Hooks) -> None:
        """``plugin_failed`` takes the failure of any plugin, and raises nothing.

        It has ``error.group``, ``error.name`` and ``error.reason``.
        """
        started.call_one(_NAME, "plugin_failed", error=PluginLoadError("guestagent.commands", "other", "is broken"))

    def test_several_threads_may_call_at_once(self, started: Hooks, ran: list[Call]) -> None:
        """Hooks are entered by several threads at once.

        Hold a lock while you change what the plugin keeps, and keep what belongs to a call in local variables.
        """
        calls = [sample_call(f"command-{number}", "x" * number) for number in range(8)]

        def one(call: Call) -> CommandResult:
            started.call_one(_NAME, "authorize", call=call)
            return started.run_command(call)

        for _ in range(10):
            self.at_once([partial(one, call) for call in calls], "a hook hangs when several threads call it")
        if self.transparent:
            assert sorted(call.name for call in ran) == sorted(call.name for call in calls * 10)

    def test_it_is_found_by_its_entry_point(self, hooks_plugin: object) -> None:
        """The installed package offers the plugin by its entry point.

        Name the class, or the module, in ``[project.entry-points."guestagent.hooks"]`` and install the package anew.
        """
        from guestagent_core.discovery import load

        plugin = self.offered()
        found = load(plugin)
        same = isinstance(hooks_plugin, found) if isinstance(found, type) else hooks_plugin is found
        assert same, f"{plugin.entry_point.value} is not what this test tests"

    def _implementations(self, plugin: object) -> list[str]:
        return [name for name in _HOOKS if callable(getattr(plugin, name, None))]
