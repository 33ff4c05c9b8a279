"""The demonstration: a real agent in a scratch folder, asked by a real client; and the core's own part of it."""

from __future__ import annotations

import difflib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from .client import LocalClient
from .discovery import DEMOS, PARSERS, Catalogue, load
from .errors import ExchangeError, PluginError
from .json_wire import decode_answer, encode_request

__all__ = ("Demo", "DemoClient", "DemoWithSurroundings", "describe_changes", "read_files", "run_demos", "show_core")

_STARTING_TIME = 30.0  # seconds
_LARGEST_SHOWN = 64 * 1024  # bytes; what is larger is named, not shown


class DemoClient:
    """What a demo asks the agent by; shows each request, its answer, and what it changed in the guest's files."""

    def __init__(self, client: LocalClient, root: Path, print: Callable[[str], object]) -> None:
        self._client = client
        self._root = root
        self._print = print

    def call(self, name: str, value: Any = "") -> tuple[str, str]:
        """Runs a command and returns its return code and message.

        :raises ExchangeError: there is no answer.
        """
        return decode_answer(self.request(encode_request(name, value)))

    def request(self, data: bytes) -> bytes:
        """Sends bytes as they are and returns the answer's.

        :raises ExchangeError: there is no answer.
        """
        before = read_files(self._root)
        started = time.perf_counter()
        answer = self._client.request(data)
        milliseconds = (time.perf_counter() - started) * 1000
        self._print(f"  -> {data.decode(errors='replace')}")
        self._print(f"  <- {answer.decode(errors='replace')}   ({milliseconds:.2f} ms)")
        for line in describe_changes(before, read_files(self._root)):
            self._print(f"     {line}")
        return answer

    def repeat(self, name: str, value: Any, times: int) -> None:
        """Runs a command many times and shows how long that takes."""
        figures = []
        data = encode_request(name, value)
        for _ in range(times):
            started = time.perf_counter()
            self._client.request(data)
            figures.append((time.perf_counter() - started) * 1000)
        figures.sort()
        median, most = figures[times // 2], figures[times * 99 // 100]
        self._print(f"  {times} x {name}: median {median:.3f} ms, 99 of 100 within {most:.3f} ms")


class Demo(Protocol):
    """What an entry point of ``guestagent.demos`` names: a function, or an object that is called like one."""

    def __call__(self, client: DemoClient, root: Path, print: Callable[[str], object]) -> None:
        """Shows something; the agent runs, and ``root`` is its guest."""


class DemoWithSurroundings(Demo, Protocol):
    """A demo that has to be there before the agent is: what a channel leads to, say."""

    def surroundings(self, scratch: Path) -> AbstractContextManager[str]:
        """Makes, for as long as the agent runs, what the demo needs.

        :param scratch: a folder that goes afterwards; ``root`` in it is the guest's ``/``, still empty.
        :returns: TOML for the agent's configuration: the tables that it has beside the local channel's, ``[[channel]]``
            above all.
        """


def show_core(client: DemoClient, root: Path, print: Callable[[str], object]) -> None:
    """Shows what every agent can do."""
    print("What can you do?")
    client.call("features")
    print("Which version are you?")
    client.call("version", "agent")
    print("A command that you do not know:")
    client.call("make-coffee")
    print("How long does a request take?")
    client.repeat("version", "agent", 1000)


def run_demos(
    print: Callable[[str], object], *, keep: bool = False, pause: Callable[[], object] = lambda: None
) -> list[PluginError]:
    """Runs the demo of every installed distribution in turn, each with an agent and a scratch folder of its own.

    :param keep: whether the scratch folders stay.
    :param pause: called between two demos.
    :returns: the demos that could not be loaded.
    :raises PluginNotFoundError: there is no JSON parser, which the demos speak to.
    :raises ExchangeError: the agent does not start, or does not answer.
    """
    failures: list[PluginError] = []
    catalogue = Catalogue.installed()
    catalogue.find(PARSERS, "json")
    for number, plugin in enumerate(catalogue.plugins(DEMOS)):
        if number:
            pause()
        print(f"== {plugin.name}, of {plugin.package} {plugin.version}")
        try:
            demo = load(catalogue.find(DEMOS, plugin.name))
        except PluginError as error:
            failures.append(error)
            print(f"  {error}\n")
            continue
        with _scratch(keep) as scratch:
            root = scratch / "root"
            root.mkdir()
            surroundings = demo.surroundings(scratch) if hasattr(demo, "surroundings") else nullcontext("")
            with surroundings as channels, _agent(scratch, root, channels) as path, LocalClient(path) as client:
                demo(DemoClient(client, root, print), root, print)
            print(f"Kept: {scratch}\n" if keep else "")
    print("The agents have ended" + ("." if keep else ", and their scratch folders are gone."))
    return failures


@contextmanager
def _scratch(keep: bool) -> Iterator[Path]:
    scratch = Path(tempfile.mkdtemp(prefix="guestagent-demo-"))
    try:
        yield scratch
    finally:
        if not keep:
            shutil.rmtree(scratch)


@contextmanager
def _agent(scratch: Path, root: Path, channels: str) -> Iterator[Path]:
    """Runs an agent; gives the path of its socket once it says that it is ready."""
    config, path, ready_path = scratch / "config.toml", scratch / "agent.sock", scratch / "ready.sock"
    config.write_text(
        f'[agent]\nroot = {json.dumps(str(root))}\nlog_level = "warning"\n[[channel]]\nexchange = "local"\n{channels}'
    )
    command = [sys.executable, "-m", "guestagent_core", "run", "--config", str(config), "--socket", str(path)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(os.fspath(ready_path))
        unset = ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "WATCHDOG_USEC")
        environment = {name: value for name, value in os.environ.items() if name not in unset}
        agent = subprocess.Popen(
            command,
            env={**environment, "NOTIFY_SOCKET": os.fspath(ready_path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # it prints nothing; the end of it is the end of the agent
        )
        with agent:
            assert agent.stdout is not None
            try:
                told, ended = ready.fileno(), agent.stdout.fileno()
                readable, _, _ = select.select([told, ended], [], [], _STARTING_TIME)
                if told not in readable:
                    raise ExchangeError("The agent did not start; its log is above")
                yield path
            finally:
                agent.terminate()
                agent.wait()  # after Ctrl-C, leaving the block would wait for a quarter of a second at most


def read_files(root: Path) -> dict[str, tuple[str, bytes]]:
    """Returns the mode and the content of every file, and the target of every link, by its path in the guest."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            content = (
                os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            )
            found["/" + str(path.relative_to(root))] = (f"{path.lstat().st_mode:o}", content)
    return found


def describe_changes(before: dict[str, tuple[str, bytes]], after: dict[str, tuple[str, bytes]]) -> Iterator[str]:
    """Gives lines that say what has become of the files, as a unified diff.

    :param before: what ``read_files`` returned then.
    :param after: what it returned later.
    """
    for path in sorted({*before, *after}):
        (old_mode, old), (new_mode, new) = before.get(path, ("", b"")), after.get(path, ("", b""))
        if (old_mode, old) == (new_mode, new):
            continue
        what = "removed" if not new_mode else f"mode {new_mode}" if new_mode != old_mode else "changed"
        yield f"{path}: {what}"
        if b"\0" in old + new or len(old + new) > _LARGEST_SHOWN:
            yield f"  {len(old)} -> {len(new)} bytes"
            continue
        old_lines, new_lines = (content.decode(errors="replace").splitlines() for content in (old, new))
        _, _, *lines = [*difflib.unified_diff(old_lines, new_lines, lineterm="", n=1)] or ["", ""]
        yield from (f"  {line}" for line in lines)
