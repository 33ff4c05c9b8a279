"""The part of ``guestagent demo`` that shows the XenStore way, on a store that needs no Xen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pyxs._internal import Op

from .connecting import connect
from .devstore import DevelopmentStore
from .host import GuestClient
from .session import SessionLostError

if TYPE_CHECKING:
    from guestagent_core.demo import DemoClient

__all__ = ("XenStoreDemo", "show_xenstore")

_DOMAIN = 7
_HOME = f"/local/domain/{_DOMAIN}"
_PATIENCE = 30.0  # seconds
_TIMES = 200


class XenStoreDemo:
    """Shows a host and a guest that share nothing but a XenStore."""

    _store: DevelopmentStore

    @contextmanager
    def surroundings(self, scratch: Path) -> Iterator[str]:
        """Serves a store with one guest; gives the channel that leads the agent there."""
        with DevelopmentStore(scratch / "xenstore") as store:
            self._store = store
            path = json.dumps(str(store.add_guest(_DOMAIN)))
            yield (
                f'[[channel]]\nexchange = "xenstore"\n[channel.options]\npath = {path}\n'
                f"[channel.store_options]\npath = {path}\n"
            )

    def __call__(self, client: DemoClient, root: Path, print: Callable[[str], object]) -> None:
        """Shows what is in the store, what the agent does to it, and how long that takes."""
        print(f"A XenStore, which this process serves: the host is domain 0, the agent is in domain {_DOMAIN}.")
        print("The host writes a node; the agent takes it away and writes its answer, in one transaction:")
        self._converse("first", b'{"name": "version", "value": "agent"}', print)
        print("A value that is no request is answered too:")
        self._converse("second", b"\xff\0", print)
        print(f"The host's side as a program would use it, {_TIMES} x version:")
        with GuestClient(_DOMAIN, socket=str(self._store.path), timeout=_PATIENCE) as host:
            figures = sorted(_milliseconds(lambda: host.call("version", "agent")) for _ in range(_TIMES))
        print(f"  median {figures[_TIMES // 2]:.3f} ms, 99 of 100 within {figures[_TIMES * 99 // 100]:.3f} ms")

    def _converse(self, name: str, request: bytes, print: Callable[[str], object]) -> None:
        answer_path = f"{_HOME}/data/guest/{name}"
        with closing(connect(self._store.path, _PATIENCE)) as host:
            host.call(Op.WATCH, answer_path.encode(), b"answer")
            self._store.operations.clear()
            print(f"  host   {_HOME}/data/host/{name} = {request!r}")
            started = time.perf_counter()
            self._store.write(f"{_HOME}/data/host/{name}", request)
            while (answer := self._store.read(answer_path)) is None:
                if not host.await_event(b"answer", _PATIENCE):
                    raise SessionLostError(f"The agent has not answered within {_PATIENCE:g} s")
            milliseconds = (time.perf_counter() - started) * 1000
        asked = [operation for domain, operation in self._store.operations if domain == _DOMAIN]
        print(f"  agent  {', '.join(asked)}")
        print(f"  agent  {answer_path} = {answer!r}   ({milliseconds:.2f} ms)")
        self._store.remove(answer_path)


def _milliseconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return (time.perf_counter() - started) * 1000


show_xenstore = XenStoreDemo()
