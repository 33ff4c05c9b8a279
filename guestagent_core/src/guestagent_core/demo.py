"""The demonstration: a real agent in a scratch folder, asked by a real client."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .client import LocalClient
from .discovery import DEMOS, Catalogue, load
from .errors import ExchangeError, PluginError
from .json_wire import decode_answer, encode_request

__all__ = ("DemoClient", "run_demos", "show_core")

_STARTING_TIME = 30.0  # seconds


class DemoClient:
    """What a demo asks the agent by; each question and its answer are shown."""

    def __init__(self, client: LocalClient, print: Callable[[str], object]) -> None:
        self._client = client
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
        started = time.perf_counter()
        answer = self._client.request(data)
        milliseconds = (time.perf_counter() - started) * 1000
        self._print(f"  -> {data.decode(errors='replace')}")
        self._print(f"  <- {answer.decode(errors='replace')}   ({milliseconds:.2f} ms)")
        return answer


def show_core(client: DemoClient, root: Path, print: Callable[[str], object]) -> None:
    """Shows what every agent can do."""
    print("What can you do?")
    client.call("features")
    print("Which version are you?")
    client.call("version", "agent")
    print("An unknown command, and a message that is none, are answered too:")
    client.call("make-coffee")
    client.request(b"hello?")
    print("How long does a request take?")
    quiet = DemoClient(client._client, lambda line: None)
    times = []
    for _ in range(1000):
        started = time.perf_counter()
        quiet.call("version", "agent")
        times.append(time.perf_counter() - started)
    times.sort()
    print(f"  1000 x version: median {times[500] * 1000:.3f} ms, 99 of 100 within {times[990] * 1000:.3f} ms")


def run_demos(print: Callable[[str], object]) -> list[PluginError]:
    """Runs the demo of every installed distribution in turn, each with an agent and a scratch folder of its own.

    :returns: the demos that could not be loaded.
    :raises ExchangeError: the agent does not start, or does not answer.
    """
    failures: list[PluginError] = []
    catalogue = Catalogue.installed()
    for plugin in catalogue.plugins(DEMOS):
        print(f"== {plugin.package} {plugin.version}: {plugin.name}")
        try:
            demo = load(catalogue.find(DEMOS, plugin.name))
        except PluginError as error:
            failures.append(error)
            print(f"  {error}")
            continue
        with tempfile.TemporaryDirectory(prefix="guestagent-demo-") as scratch:
            root = Path(scratch, "root")
            root.mkdir()
            with _agent(Path(scratch), root) as path, LocalClient(path) as client:
                demo(DemoClient(client, print), root, print)
        print("")
    print("The agents have ended, and their scratch folders are gone.")
    return failures


@contextmanager
def _agent(scratch: Path, root: Path) -> Iterator[Path]:
    """Runs an agent; gives the path of its socket once it says that it is ready."""
    config, path = scratch / "config.toml", scratch / "agent.sock"
    config.write_text(
        f'[agent]\nroot = {json.dumps(str(root))}\nlog_level = "warning"\n[[channel]]\nexchange = "local"\n'
    )
    command = [sys.executable, "-m", "guestagent_core", "run", "--config", str(config), "--socket", str(path)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(os.fspath(scratch / "ready.sock"))
        ready.settimeout(_STARTING_TIME)
        environment = {**os.environ, "NOTIFY_SOCKET": os.fspath(scratch / "ready.sock")}
        agent = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        try:
            while not ready.recv(4096).startswith(b"READY=1"):
                pass
            yield path
        except TimeoutError:
            raise ExchangeError(f"The agent did not start within {_STARTING_TIME:.0f} s") from None
        finally:
            agent.terminate()
            agent.wait()
