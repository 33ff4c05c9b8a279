"""The runner of one channel: what it may run, and in which order that is checked."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from .calls import Call, CallAbandonedError, Delivery, current_delivery, ensured_delivery, log_crash
from .errors import CommandDeniedError, CommandError, CommandNotFoundError

if TYPE_CHECKING:
    from .commands import CommandResult, CommandSpec
    from .protocols import CallHooks, Journal, Store
    from .registry import CommandRegistry

__all__ = ("ChannelRunner",)

_log = logging.getLogger(__name__)
_SURVIVE_LOCKDOWN = ("features", "version")
_LONGEST_LOGGED = 1000  # characters


class ChannelRunner:
    """Runs commands for one channel.

    Each call is checked in this order: allowed by name, known, its argument, the ``authorize`` hook, its turn
    (exclusive commands run one at a time, in the order in which they came), the journal, the ``run_command`` hook.

    :param channel: the channel's name, for the log and the hooks.
    :param allow: names of commands that the channel may run, or patterns such as ``net.*``.
    :param deny: names or patterns that it may not run, though allowed.
    :param store: what the commands get as ``context.store``.
    :param on_begin: called, in its thread, when an exclusive command begins.
    """

    def __init__(
        self,
        registry: CommandRegistry,
        channel: str = "default",
        *,
        allow: Iterable[str] = ("*",),
        deny: Iterable[str] = (),
        hooks: CallHooks | None = None,
        journal: Journal | None = None,
        store: Store | None = None,
        on_begin: Callable[[Call], object] | None = None,
    ) -> None:
        self._registry = registry
        self._channel = channel
        self._allow = tuple(allow)
        self._deny = tuple(deny)
        self._allows_all = "*" in self._allow and not self._deny
        self._hooks = hooks
        self._journal = journal
        self._store = store
        self._on_begin = on_begin
        self._numbers = itertools.count(1)
        self._running: dict[int, Call] = {}

    def commands(self) -> Mapping[str, CommandSpec]:
        """Returns what this channel may run, by name."""
        return {name: spec for name, spec in self._registry.specs.items() if self._denial(name) is None}

    def running(self) -> list[Call]:
        """Returns the calls that run."""
        return list(self._running.values())

    def run_command(self, name: str, value: Any = "") -> CommandResult:
        """Runs the command ``name`` if this channel may run it, and logs how it went.

        :raises CommandDeniedError: it may not.
        :raises CommandError: there is no such command, its argument is invalid, or it failed.
        """
        delivery = current_delivery.get()
        if delivery is None:
            with ensured_delivery():
                return self.run_command(name, value)
        given = delivery.request.get("id")
        identifier = f"#{next(self._numbers)}" if given is None else str(given)
        started = time.perf_counter()
        try:
            result = self._run(delivery, identifier, name, value)
        except Exception as error:
            code = error.code if isinstance(error, CommandError) else 500
            self._log_outcome(name, identifier, value, started, code, error)
            raise
        if _log.isEnabledFor(logging.INFO):
            self._log_outcome(name, identifier, value, started, result.code)
        return result

    def _run(self, delivery: Delivery, identifier: str, name: str, value: Any) -> CommandResult:
        denial = self._denial(name)
        if denial is not None:
            raise CommandDeniedError(denial)
        spec = self._registry.specs.get(name)
        if spec is None:
            raise CommandNotFoundError(name)
        argument = value if spec.args is None else spec.parse(value)
        deadline = time.monotonic() + spec.timeout if spec.parallel else None
        peer = delivery.request.get("peer")
        call = Call(identifier, self._channel, name, value, argument, spec, peer, deadline)
        if self._hooks is not None:
            denial = self._hooks.authorize(call)
            if denial is not None:
                raise CommandDeniedError(denial)
        delivery.commands = self.commands
        delivery.store = self._store
        if spec.parallel:
            return self._perform(delivery, call)
        place = self._registry.exclusive.enqueue()
        try:
            delivery.hand_over(place)
            if not place.wait():
                raise CallAbandonedError
            call = call._replace(deadline=time.monotonic() + spec.timeout)
            if self._on_begin is not None:
                self._on_begin(call)
            with self._registry.leaks.watching(name, self._registry.provider(name)):
                return self._perform(delivery, call)
        finally:
            place.release()

    def _perform(self, delivery: Delivery, call: Call) -> CommandResult:
        run = self._registry.run if self._hooks is None else self._hooks.run_command
        outer, delivery.call = delivery.call, call
        self._running[id(call)] = call
        try:
            if self._journal is None or call.spec.idempotent:
                return run(call)
            return self._journal.run(call, delivery.request, lambda: run(call), self._resumption(delivery, call, run))
        except Exception as error:
            log_crash(call, error)
            raise
        finally:
            del self._running[id(call)]
            delivery.call = outer

    def _resumption(
        self, delivery: Delivery, call: Call, run: Callable[[Call], CommandResult]
    ) -> Callable[[], CommandResult] | None:
        if not self._registry.resumes(call.name):
            return None

        def resume() -> CommandResult:
            delivery.call = resumed = call._replace(resumed=True)
            return run(resumed)

        return resume

    def _denial(self, name: str) -> str | None:
        lockdown = self._hooks.lockdown if self._hooks is not None else None
        if lockdown is not None and name not in _SURVIVE_LOCKDOWN:
            return lockdown
        if self._allows_all or (_matches(name, self._allow) and not _matches(name, self._deny)):
            return None
        return f"Command '{name}' is not allowed on channel {self._channel!r}"

    def _log_outcome(
        self,
        name: str,
        identifier: str,
        value: Any,
        started: float,
        code: int | str,
        error: Exception | None = None,
    ) -> None:
        spec = self._registry.specs.get(name)
        milliseconds = (time.perf_counter() - started) * 1000
        shown = name if spec is not None else ascii(name[:100])
        number, outcome = ascii(identifier)[1:-1], ascii(str(code))[1:-1]
        fields = {
            "channel": self._channel,
            "command": shown,
            "id": number,
            "code": outcome,
            "ms": round(milliseconds, 3),
        }
        text = "%s: %s %s: %s in %.1f ms"
        _log.info(text, self._channel, shown, number, outcome, milliseconds, extra={"call": fields})
        # The value of a command that is not known may well be a secret with the name misspelt.
        if not _log.isEnabledFor(logging.DEBUG):
            return
        hidden = spec is None or spec.secret
        _log.debug("%s: %s value %s", self._channel, shown, "<hidden>" if hidden else _shown(value))
        if isinstance(error, CommandError) and not hidden:
            _log.debug("%s: %s error %s", self._channel, shown, _shown(str(error)))


def _shown(value: Any) -> str:
    try:
        return ascii(value)[:_LONGEST_LOGGED]
    except RecursionError:
        return "<nested too deeply to be shown>"


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
