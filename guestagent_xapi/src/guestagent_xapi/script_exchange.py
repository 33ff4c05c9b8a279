"""The ``xapi-script`` exchange: what ``xe vm-call-plugin ... fn:run-script`` sends, through ``control/batcmd``."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_core import ExchangeError
from guestagent_xen.answering import NO_ROOM
from guestagent_xen.connecting import default_path
from guestagent_xen.session import Operation, StoreError
from guestagent_xen.watching import Watcher, removing, seconds_until, writing

if TYPE_CHECKING:
    from guestagent_core import Request, Response

__all__ = ("ScriptExchange",)

_log = logging.getLogger(__name__)
_DOMAIN = "unique-domain-id"
_FOLDER = "control/batcmd"
_STATE = f"{_FOLDER}/state"
_SCRIPT = f"{_FOLDER}/script"
_RUN = f"{_FOLDER}/guestagent-run"  # ours: tells one run from another of the same script, also after a crash
_FLAG = "control/feature-xs-batcmd"
_READY, _RUNNING = b"READY", b"IN PROGRESS"
_AGAIN = 1.0  # seconds until what the daemon refused is tried again: no event tells of more room
_INTERRUPTED = "The agent was interrupted before it had begun to run this"


class ScriptExchange:
    """Takes what the host writes to ``control/batcmd`` as a request, one at a time.

    While the channel is open the host sees the flag that lets it call. A run that a crash of the agent interrupted is
    handed out again with the same ``id``, for the journal to answer. What the daemon refuses, as it does while the
    guest's quota is full, or cannot be told, is tried again until it is written or the host takes its request back.

    :raises ExchangeError: there is no way to XenStore on this machine.
    """

    @dataclass(frozen=True)
    class Options:
        """What ``[channel.options]`` takes."""

        path: Path | None = None
        """A xenbus device or a socket, as for the ``xenstore`` exchange."""
        timeout: float = 5.0
        """Seconds that the daemon has to answer."""

        def __post_init__(self) -> None:
            if self.timeout <= 0:
                raise ValueError("timeout must be more than 0 seconds")

    def __init__(self, options: Options) -> None:
        if (options.path or default_path()) is None:
            raise ExchangeError("There is no way to XenStore on this machine; set the channel's option path")
        self._watcher = Watcher(options.path, (_STATE, _DOMAIN), options.timeout)
        self._inbox: deque[Request] = deque()
        self._open: str | None = None  # the run that has been handed out
        self._outcome: dict[str, str] | None = None  # what it came to, while that cannot be written
        self._next = _new_run()  # kept until it is known to be taken on: it may be without our having heard
        self._unflagged = True  # the flag has to be looked at
        self._flag_error = ""  # why it is not there
        self._is_first = True  # what is in progress now was begun by an earlier run of the agent
        self._stale = False
        self._closed = False

    def get_request(self) -> Request | None:
        """Returns the script that ``wait`` has read; its ``id`` is the run's."""
        return self._inbox.popleft() if self._inbox else None

    def put_response(self, request: Request, response: Response) -> None:
        """Writes the output, and then the state that the host waits for; later, if that is not possible now.

        :raises ExchangeError: the host has taken its request back.
        """
        self._outcome = json.loads(response["data"])
        try:
            written = self._end()
        except ExchangeError as error:
            _log.warning("The outcome of a script is written later: %s", error)
        else:
            if not written:
                raise ExchangeError("The host has taken its request back")

    def discard(self, request: Request) -> None:
        """Tells the host that there is no outcome."""
        nothing = {"state": "FAILURE", "stderr": "There is no answer"}
        self.put_response(request, {"data": json.dumps(nothing).encode()})

    def wait(self, timeout: float | None) -> bool:
        """Waits until the host has written a script, and reads it; returns whether there is one."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._inbox:
            refused = self._look()
            if self._inbox:
                break
            again_at = time.monotonic() + _AGAIN if refused else None
            changes = self._watcher.wait(seconds_until(deadline, again_at))
            self._unflagged = self._unflagged or _DOMAIN in changes.paths
            self._stale = self._stale or bool({_STATE, _FOLDER, "control"} & set(changes.paths))
            if changes.woken or (deadline is not None and time.monotonic() >= deadline and not changes.paths):
                break
        return bool(self._inbox)

    def wake(self) -> None:
        """Ends a ``wait``."""
        self._watcher.wake()

    def close(self) -> None:
        """Takes the flag away and hangs up; what is in progress stays for the next agent."""
        if self._closed:
            return
        self._closed = True
        with suppress(ExchangeError):
            self._watcher.call_all(removing(_FLAG))
        self._watcher.close()

    def _look(self) -> bool:
        """Sets the flag, writes what is yet to be written, and reads the host's request.

        :returns: whether the daemon refused some of that; without a connection there is nothing to refuse, and after a
                new one all is looked at.
        """
        if not self._watcher.connected:
            return False
        try:
            if self._unflagged:
                self._unflagged = not self._set_flag()
            if self._outcome is not None:
                self._end()
            if self._stale and self._open is None:
                self._read_request()
        except ExchangeError as error:
            _log.debug("Looking for a script: %s", error)
            return self._watcher.connected
        return self._unflagged

    def _read_request(self) -> None:
        state = self._watcher.read(_STATE)
        if state == _READY:
            self._begin()
        elif state == _RUNNING:
            self._resume()
        self._stale = self._is_first = False

    def _begin(self) -> None:
        """Takes the host's request on; the state says so before anything is run."""
        script: list[bytes | None] = []

        def take(transaction: int) -> list[Operation] | None:
            state, text = self._watcher.read_all((_STATE, _SCRIPT), transaction)
            script[:] = [text]
            return (
                [writing(_RUN, self._next, transaction), writing(_STATE, "IN PROGRESS", transaction)]
                if (state == _READY)
                else None
            )

        if self._watcher.transact(take):
            self._hand_out(self._next, script[0])

    def _resume(self) -> None:
        """Hands out what an earlier run of the agent had taken on, or this one without having heard of it."""
        run, script = self._watcher.read_all((_RUN, _SCRIPT))
        if not self._is_first and run != self._next.encode():
            return
        if run is not None and script is not None:
            self._hand_out(run.decode(errors="replace"), script)
        else:
            outcome = {"state": "FAILURE", "stderr": _INTERRUPTED}
            self._watcher.transact(lambda transaction: self._ending(None, outcome, transaction))

    def _hand_out(self, run: str, script: bytes | None) -> None:
        self._open, self._next = run, _new_run()
        if script is None:
            self._inbox.append({"error": "The host gave no script", "id": run})
        else:
            self._inbox.append({"data": script, "id": run})

    def _end(self) -> bool:
        """Writes the outcome of the open run; returns whether the host still waited for it.

        :raises ExchangeError: the daemon refuses, or it is not known whether it has done it.
        """
        run, outcome = self._open, self._outcome or {}
        written = self._watcher.transact(lambda transaction: self._ending(run, outcome, transaction))
        self._open = self._outcome = None
        self._stale = self._stale or not written
        return written

    def _ending(self, run: str | None, outcome: dict[str, str], transaction: int) -> list[Operation] | None:
        """Returns what ends the run; None if the host does not wait for it any more."""
        state, present = self._watcher.read_all((_STATE, _RUN), transaction)
        if state != _RUNNING or (run is not None and present != run.encode()):
            return None
        names = [name for name in ("return", "stdout", "stderr") if name in outcome]
        return [
            *(writing(f"{_FOLDER}/{name}", outcome[name], transaction) for name in names),
            writing(_STATE, outcome["state"], transaction),
        ]

    def _set_flag(self) -> bool:
        """Lets the host call; returns whether that is settled, for now or for good."""
        (present,) = self._watcher.read_all((_FLAG,))
        (answer,) = self._watcher.call_all(writing(_FLAG, "1")) if present is None else (b"",)
        error = answer.name if isinstance(answer, StoreError) else ""
        if error and error != self._flag_error:
            _log.warning("The host cannot call commands: %s", answer)
        self._flag_error = error
        return error not in NO_ROOM


def _new_run() -> str:
    return str(uuid.uuid4())
