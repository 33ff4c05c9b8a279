"""Changes one environment of the agent for another, and back if the agent does not come up.

This file runs alone, by the interpreter that environments are made of, because it outlives both the agent and the
environment that the agent was started from. It therefore imports nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ("Plan", "ask_version", "exchange", "switch", "try_out")

_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100  # fcntl.h
_PAUSE = 0.2  # seconds; a socket that is not there yet cannot be waited for
_RESTART_TIME = 120.0  # seconds
_TRIAL_TIME = 60.0  # seconds
_NO_ANSWER = (OSError, ValueError, KeyError, TypeError)
_REQUEST = b'{"name": "version", "value": "agent"}\n'

Plan = dict[str, Any]
"""What :func:`switch` has to do; ``install_wheels`` makes it, and it lies in a file until then."""


def ask_version(path: str, timeout: float = 5.0) -> tuple[int, str]:
    """Returns the process that answers at the socket ``path``, 0 if that cannot be told, and the version it answers.

    :raises OSError: nobody answers.
    :raises ValueError: the answer is none.
    :raises KeyError: it lacks something.
    :raises TypeError: it is no object.
    """
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(timeout)
        asking.connect(path)
        process = 0
        if hasattr(socket, "SO_PEERCRED"):
            process = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        asking.sendall(_REQUEST)
        answer = b""
        while not answer.endswith(b"\n"):
            received = asking.recv(4096)
            if not received:
                break
            answer += received
    answered = json.loads(answer)
    if answered["returncode"] != "0":
        raise ValueError(f"The agent answers version with {answered['returncode']}")
    return process, str(answered["message"])


def exchange(one: Path, other: Path) -> None:
    """Lets two folders have each other's name, in one step where the system can do that.

    :raises OSError: that is not possible.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None:
        paths = os.fsencode(one), os.fsencode(other)
        if renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
            _synchronise(one.parent)
            return
    aside = one.with_name(f"{one.name}.aside")
    one.rename(aside)
    try:
        other.rename(one)
    except BaseException:
        aside.rename(one)
        raise
    aside.rename(other)
    _synchronise(one.parent)


def switch(plan: Plan) -> bool:
    """Exchanges the environments and restarts the agent; undoes it if the agent does not answer ``version`` then.

    :returns: whether the new one answers.
    """
    environment, other = Path(plan["environment"]), Path(plan["other"])
    try:
        os.sync()  # so that no loss of power finds the name on the disk, and not what is in the folder
        exchange(environment, other)
    except OSError as error:
        _log(plan, f"the new environment cannot take its place: {error}")
        shutil.rmtree(other, ignore_errors=True)
        return False
    version = _restart(plan)
    if version is None:
        exchange(environment, other)
        version = _restart(plan)
        outcome = f"the agent that was there answers again: {version}" if version else "the one before does not either"
        _log(plan, f"the new agent did not answer, and was taken out again; {outcome}")
        shutil.rmtree(other, ignore_errors=True)
        return False
    _log(plan, f"the new agent answers: {version}")
    shutil.rmtree(other, ignore_errors=True)
    return True


def try_out(python: str, folder: Path) -> str:
    """Starts the agent of another environment, in a root of its own below ``folder``, and returns its version.

    :raises OSError: it does not answer.
    """
    root, path = folder / "root", folder / "agent.sock"
    root.mkdir()
    config = folder / "config.toml"
    config.write_text(f'[agent]\nroot = {json.dumps(str(root))}\n[[channel]]\nexchange = "local"\n')
    command = [python, "-I", "-m", "guestagent_core", "run", "--config", str(config), "--socket", str(path)]
    unset = ("NOTIFY_SOCKET", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "WATCHDOG_USEC")
    variables = {name: value for name, value in os.environ.items() if name not in unset}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=variables) as agent:
        try:
            end = time.monotonic() + _TRIAL_TIME
            while agent.poll() is None and time.monotonic() < end:
                try:
                    return ask_version(str(path))[1]
                except _NO_ANSWER:
                    time.sleep(_PAUSE)
            raise OSError("The agent ended" if agent.poll() is not None else "The agent does not answer")
        finally:
            agent.terminate()


def _restart(plan: Plan) -> str | None:
    """Restarts the agent; returns the version that another process than before answers then, None if none does."""
    try:
        old, _ = ask_version(plan["socket"])
    except _NO_ANSWER:
        old = 0
    try:
        restarted = subprocess.run(plan["restart"], stdin=subprocess.DEVNULL, timeout=_RESTART_TIME, check=False)
        if restarted.returncode != 0:
            _log(plan, f"{plan['restart'][0]} failed with exit status {restarted.returncode}")
    except (OSError, subprocess.TimeoutExpired) as error:
        _log(plan, str(error))
    end = time.monotonic() + plan["patience"]
    while time.monotonic() < end:
        try:
            process, version = ask_version(plan["socket"])
            if process != old or not process:
                return version
        except _NO_ANSWER:
            pass
        time.sleep(_PAUSE)
    return None


def _log(plan: Plan, text: str) -> None:
    moment = time.strftime("%Y-%m-%d %H:%M:%S")
    descriptor = os.open(plan["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with open(descriptor, "a") as file:
        file.write(f"{moment} {text}\n")


def _synchronise(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _main(arguments: list[str]) -> int:
    if arguments[0] == "try":
        try:
            sys.stdout.write(try_out(arguments[1], Path(arguments[2])))
        except OSError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        return 0
    return 0 if switch(json.loads(Path(arguments[1]).read_text())) else 1


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1:]))
