"""``guestagent run`` with commands that leave a mark, which kills itself at the step that ``DIE_AT`` names.

It is a program: it is started by agents.py, and imported by nobody.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from guestagent_core import CommandBase, CommandResult, Dispatcher, cli, command, discovery, journal, service
from guestagent_core.calls import Delivery
from guestagent_core.entries import Entries, Entry
from guestagent_core.programs import Programs

MARKS = os.environ["MARKS"]
DIE_AT = os.environ.get("DIE_AT")


def reached(step: str) -> None:
    """Ends the process if this is where it is to die; nothing of Python runs after that, as in a crash."""
    if step == DIE_AT:
        os.kill(os.getpid(), signal.SIGKILL)


def mark(what: str, token: str) -> None:
    """Has an effect: one write, which is there whole or not at all."""
    descriptor = os.open(MARKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{what} {token}\n".encode())
    os.close(descriptor)


class Counting(CommandBase):
    """Commands that can be counted from outside."""

    def work(self, token: str) -> CommandResult:
        reached("before effect")
        mark("effect", token)
        reached("after effect")
        return CommandResult(0, token)

    @command("count")
    def count(self, token: str) -> CommandResult:
        return self.work(token)

    @command("count-on")
    def count_on(self, token: str) -> CommandResult:
        return self.work(token)

    @count_on.resume
    def go_on(self, token: str) -> CommandResult:
        mark("resumed", token)
        return CommandResult(0, token)

    @command("count-after")
    def count_after(self, token: str) -> CommandResult:
        self.context.after_answer(["sh", "-c", 'echo "program $1" >>"$2"', "sh", token, MARKS])
        return self.work(token)

    @command("stuck", timeout=0.1)
    def stuck(self, token: str) -> CommandResult:
        self.work(token)
        while True:
            time.sleep(1)

    @command("late", timeout=0.5)
    def late(self, token: str) -> CommandResult:
        script = 'sleep 1000 & echo "child $!" >>"$1"; echo "child $$" >>"$1"; wait'
        self.context.run(["sh", "-c", script, "sh", MARKS])
        return CommandResult(0, token)

    @command("fail")
    def fail(self, token: str) -> CommandResult:
        self.work(token)
        raise OSError(28, f"no room for {token}")


def watch(owner: type, name: str, step: Callable[..., str]) -> None:
    """Has the steps before and after a method noticed."""
    original = getattr(owner, name)

    def watched(*arguments: Any, **keywords: Any) -> Any:
        reached(f"before {step(*arguments)}")
        result = original(*arguments, **keywords)
        reached(f"after {step(*arguments)}")
        return result

    setattr(owner, name, watched)


def state(entries: Entries, entry: Entry) -> str:
    return entry.state


if DIE_AT:
    watch(Entries, "put", state)
    watch(Entries, "remove", lambda *_: "removal")
    watch(Dispatcher, "_put", lambda *_: "put")
    watch(Delivery, "settle", lambda *_: "settling")
    watch(Programs, "detach", lambda *_: "program")

journal._RETURN_TIME = 0.5
service._STUCK = 0.5
load_packs = discovery.load_packs
discovery.load_packs = lambda plugin: [*load_packs(plugin), Counting]
sys.exit(cli.main(sys.argv[1:]))
