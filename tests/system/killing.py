"""Runs one command and kills the process, with SIGKILL, at its N-th step: ``killing.py ROOT STATE NAME STEP`` < value.

A step is a call by which files change. It is killed before the call; to be killed after it is to be killed before the
next. Ends with status 0 when the command has ended before that.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = (
    "open",
    "write",
    "fsync",
    "fchmod",
    "fchown",
    "link",
    "rename",
    "replace",
    "unlink",
    "rmdir",
    "mkdir",
    "symlink",
    "setxattr",
    "chmod",
    "chown",
    "utime",
    "sendfile",
)


def main() -> None:
    root, state, name, last = sys.argv[1:]
    value = json.load(sys.stdin)
    from guestagent_commands_system import SystemCommands
    from guestagent_commands_system.options import Options, UpdateOptions
    from guestagent_core import CommandRegistry, Context

    options = Options(agentupdate=UpdateOptions(enabled=True))
    registry = CommandRegistry([SystemCommands], Context(Path(root), options, Path(state)))
    if name == "password":
        import cryptography.hazmat.primitives.ciphers.modes  # noqa: F401 - what is imported is no step
        import passlib.hash

        from guestagent_commands_system import key_exchange, passwords, shadow  # noqa: F401
        from guestagent_core.calls import Call, Delivery, current_delivery  # noqa: F401

        assert passlib.hash.sha512_crypt
        pack = SystemCommands(Context(Path(root), options, Path(state)))
        pack._exchanges[""] = key_exchange.KeyExchange(int(value["public"]), int(value["private"]))
        registry = CommandRegistry([pack])
        value = value["password"]
    else:
        import hashlib  # noqa: F401
        import shutil  # noqa: F401
        import subprocess  # noqa: F401
        import tarfile  # noqa: F401

        from guestagent_commands_system import files, kms, update  # noqa: F401
    _count(int(last))
    registry.run_command(name, value)


def _count(last: int) -> None:
    done = 0

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **keywords: Any) -> Any:
            nonlocal done
            done += 1
            if done == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **keywords)

        return counted

    for step in STEPS:
        setattr(os, step, counting(getattr(os, step)))


if __name__ == "__main__":
    main()
