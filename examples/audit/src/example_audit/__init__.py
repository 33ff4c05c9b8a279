"""A hooks plugin: what may be asked with which arguments, and a file in which every call is on record."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from guestagent_core import Call, CommandError, CommandResult
from guestagent_core.hookspecs import hookimpl

from .record import Record
from .rules import Rule, reason_to_deny

if TYPE_CHECKING:
    from guestagent_core.agent import Agent

__all__ = ("Audit",)


class Audit:
    """Denies by rules, and writes a line before and after each command. What cannot be recorded is not run."""

    @dataclass(frozen=True)
    class Options:
        """What ``[hooks.audit]`` takes."""

        file: Path = Path("{state_dir}/audit.jsonl")
        """The audit file; lines of JSON are added to it."""
        others: Literal["allow", "deny"] = "allow"
        """What happens to commands without rules."""
        rules: Mapping[str, Mapping[str, Rule]] = field(default_factory=dict)
        """By the name of a command, by the name of a part of its argument (``*``: the argument itself)."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._record = Record(options.file)

    @hookimpl
    def startup(self, agent: Agent) -> None:
        """Opens the file; if that fails, the agent runs nothing but features and version."""
        self._record.open()

    @hookimpl
    def shutdown(self, agent: Agent) -> None:
        """Closes the file."""
        self._record.close()

    @hookimpl
    def authorize(self, call: Call) -> str | None:
        """Returns the reason to deny the call, None to let it pass."""
        rules = self._options.rules.get(call.name)
        if rules is None:
            reason = None if self._options.others == "allow" else f"No rule allows {call.name!r}"
        else:
            reason = reason_to_deny(rules, call)
        if reason is not None:
            self._record.add("denied", call, reason=reason)
        return reason

    @hookimpl(wrapper=True)
    def run_command(self, call: Call) -> Generator[None, CommandResult, CommandResult]:
        """Records the call around its run."""
        try:
            self._record.add("begins", call)
        except (OSError, ValueError) as error:  # ValueError: the file is closed
            raise CommandError("The call cannot be recorded, so it is not run") from error
        try:
            result = yield
        except BaseException as error:
            self._record.add("failed", call, error=type(error).__name__)
            raise
        self._record.add("ended", call, code=result[0])
        return result
