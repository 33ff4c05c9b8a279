"""A command pack whose arguments are typed by msgspec, and which keeps state: limits of users."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from guestagent_core import CommandBase, CommandError, CommandResult, command

__all__ = ("Limit", "Limits")

User = Annotated[str, msgspec.Meta(pattern=r"^[a-z_][a-z0-9_-]{0,31}\Z")]  # $ would let a line feed pass


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of something a user may have."""

    user: User
    item: Literal["nofile", "nproc", "core"]
    value: Annotated[int, msgspec.Meta(ge=0, le=1_048_576)]


class Which(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits of one user."""

    user: User


State = dict[str, dict[str, int]]


class Limits(CommandBase):
    """Keeps limits in the agent's state folder, and writes them where the guest's PAM reads them."""

    @dataclass(frozen=True)
    class Options:
        """What ``[commands.limits]`` takes."""

        file: str = "/etc/security/limits.d/90-guestagent.conf"
        """The file that is written, in the guest."""

    @command("limits.list", parallel=True)
    def list(self, value: object) -> CommandResult:
        """Answers all limits: by user, by item."""
        return CommandResult(0, self._read())

    @command(
        "limits.set",
        args=partial(msgspec.convert, type=Limit),
        idempotent=True,
        examples=({"user": "alice", "item": "nofile", "value": 4096},),
    )
    def set(self, limit: Limit) -> CommandResult:
        """Sets one limit; a text comes back, and nothing has changed, if it is not one."""
        state = self._read()
        state.setdefault(limit.user, {})[limit.item] = limit.value
        self._write(state)
        return CommandResult()

    @command("limits.clear", args=partial(msgspec.convert, type=Which), idempotent=True)
    def clear(self, which: Which) -> CommandResult:
        """Removes the limits of one user; answers how many there were."""
        state = self._read()
        removed = state.pop(which.user, {})
        self._write(state)
        return CommandResult(0, len(removed))

    @property
    def _state_file(self) -> Path:
        return self.context.state_dir / "limits.json"

    def _read(self) -> State:
        try:
            return msgspec.json.decode(self._state_file.read_bytes(), type=State)
        except FileNotFoundError:
            return {}
        except msgspec.MsgspecError as error:
            raise CommandError(f"{self._state_file.name} is damaged: {error}; restore or remove it") from error

    def _write(self, state: State) -> None:
        lines = [f"{user} - {item} {state[user][item]}\n" for user in sorted(state) for item in sorted(state[user])]
        _replace(self.context.path(self.context.options.file), "".join(lines).encode())
        _replace(self._state_file, msgspec.json.encode(state))


def _replace(file: Path, content: bytes) -> None:
    """Writes a file so that after a crash it is the old one or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    staged = file.with_name(f".{file.name}.new")
    with staged.open("wb") as new:
        new.write(content)
        new.flush()
        os.fsync(new.fileno())
    staged.replace(file)
