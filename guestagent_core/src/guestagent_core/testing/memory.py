"""An exchange without a transport: a test asks, and gets the answer back."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from guestagent_core.errors import ExchangeError, ResponseTooLargeError

if TYPE_CHECKING:
    from guestagent_core.protocols import Request, Response

__all__ = ("MemoryExchange", "MemoryQuestion")


class MemoryQuestion:
    """One request of a :class:`MemoryExchange`, from the asking side."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self._done = threading.Event()
        self._answer: bytes | None = None
        self.vanished = False

    def answer(self, timeout: float) -> bytes:
        """Waits up to ``timeout`` seconds for the answer and returns it.

        :raises TimeoutError: there is none.
        :raises ExchangeError: the request was discarded.
        """
        if not self._done.wait(timeout):
            raise TimeoutError(f"No answer within {timeout} s")
        if self._answer is None:
            raise ExchangeError("The request was discarded")
        return self._answer

    def vanish(self) -> None:
        """Goes away without waiting for the answer."""
        self.vanished = True

    def settle(self, answer: bytes | None) -> None:
        """Called by the exchange."""
        self._answer = answer
        self._done.set()


class MemoryExchange:
    """A waitable exchange whose requests come from :meth:`ask`, in any thread.

    :param limit: the largest answer in bytes.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        self._incoming: deque[dict[str, Any]] = deque()
        self._read: deque[Request] = deque()
        self._woken = False
        #: Whether the exchange has been closed.
        self.closed = False

    def ask(self, data: bytes, **keys: Any) -> MemoryQuestion:
        """Makes a request of ``data`` and further keys, such as ``id``."""
        question = MemoryQuestion({"data": data, **keys})
        question.request["question"] = question
        with self._changed:
            self._incoming.append(question.request)
            self._changed.notify_all()
        return question

    def get_request(self) -> Request | None:
        """Returns the next request that ``wait`` has read."""
        return self._read.popleft() if self._read else None

    def put_response(self, request: Request, response: Response) -> None:
        """Gives the answer to the one who asked.

        :raises ResponseTooLargeError: it is larger than the limit.
        :raises ExchangeError: the one who asked is gone.
        """
        data = response["data"]
        answer = data.encode() if isinstance(data, str) else bytes(data)
        if self._limit is not None and len(answer) > self._limit:
            raise ResponseTooLargeError(self._limit)
        if request["question"].vanished:
            raise ExchangeError("The one who asked has gone away")
        request["question"].settle(answer)

    def discard(self, request: Request) -> None:
        """Tells the one who asked that there is no answer."""
        request["question"].settle(None)

    def wait(self, timeout: float | None) -> bool:
        """Waits until there is a request; returns whether there is."""
        with self._changed:
            self._changed.wait_for(lambda: self._incoming or self._read or self._woken, timeout)
            self._woken = False
            self._read.extend(self._incoming)
            self._incoming.clear()
            return bool(self._read)

    def wake(self) -> None:
        """Ends a ``wait``."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """Marks the exchange as closed."""
        self.closed = True
