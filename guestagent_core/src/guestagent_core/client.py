"""The client of the local channel."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from pathlib import Path
from types import TracebackType

from .errors import ExchangeError
from .framing import FRAMERS
from .unix_sockets import check_path

__all__ = ("LocalClient",)

_CHUNK = 64 * 1024
_RETRY = 0.01  # seconds
_LONGEST_TIMEOUT = 1e6  # seconds; sockets take no infinity, and nothing beyond 24 days
_LONGEST_ANSWER = 64 * 1024 * 1024  # bytes


class LocalClient:
    """Asks an agent over its Unix socket; connects when it is first asked, and again after an error.

    :param path: the socket.
    :param timeout: how long a request may take, in seconds; None, or more than 11 days: no limit.
    :param framing: that of the channel.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float | None = 30.0, framing: str = "json") -> None:
        self._path = Path(path)
        self._timeout = timeout
        self._framing = framing
        self._socket: socket.socket | None = None

    def request(self, data: bytes) -> bytes:
        """Sends one message and returns the answer.

        :raises ValueError: the data is not one message; an agent would give no answer, or several.
        :raises ExchangeError: no agent listens, it does not answer in time, or it hangs up.
        """
        data = data.rstrip(b"\n") + b"\n"
        framer = FRAMERS[self._framing](len(data))
        if len(framer.feed(data)) != 1 or framer.finish():
            raise ValueError(f"The data is not one message in the framing {self._framing!r}")
        timeout = self._timeout
        deadline = None if timeout is None or timeout > _LONGEST_TIMEOUT else time.monotonic() + timeout
        try:
            if self._socket is None:
                self._socket = self._connect(deadline)
            _limit(self._socket, deadline)
            self._socket.sendall(data)
            return self._receive(self._socket, deadline)
        except TimeoutError as error:
            self.close()
            raise ExchangeError(f"{self._path}: no answer within {self._timeout} s") from error
        except ConnectionError as error:
            self.close()
            raise ExchangeError(f"{self._path}: the agent hung up without an answer; may this user connect?") from error
        except OSError as error:
            self.close()
            raise ExchangeError(f"{self._path}: {error.strerror or error}") from error
        except BaseException:
            self.close()  # what is still to come would be taken for the next answer
            raise

    def close(self) -> None:
        """Hangs up; may be called again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> LocalClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self, deadline: float | None) -> socket.socket:
        check_path(self._path)
        connected = socket.socket(socket.AF_UNIX)
        try:
            while True:
                _limit(connected, deadline)
                try:
                    connected.connect(os.fspath(self._path))
                    return connected
                except BlockingIOError:  # many wait to connect, and a socket with a time-out is not let into that queue
                    time.sleep(_RETRY)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connected.close()
            raise ExchangeError(f"{self._path}: no agent listens there; is it running?") from error
        except BaseException:
            connected.close()
            raise

    def _receive(self, connected: socket.socket, deadline: float | None) -> bytes:
        framer = FRAMERS[self._framing](_LONGEST_ANSWER)
        answers: deque[bytes | ExchangeError] = deque()
        while not answers:
            _limit(connected, deadline)
            data = connected.recv(_CHUNK)
            if not data:
                raise ConnectionResetError
            answers.extend(framer.feed(data))
        answer = answers.popleft()
        if isinstance(answer, ExchangeError):
            raise ExchangeError(f"{self._path}: the answer is larger than {_LONGEST_ANSWER} bytes")
        return answer


def _limit(connected: socket.socket, deadline: float | None) -> None:
    if deadline is not None:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        connected.settimeout(remaining)
