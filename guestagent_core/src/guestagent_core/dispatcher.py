"""The dispatcher: takes requests from one exchange, has one parser answer them, and puts the answers.

One thread at a time, the leader, talks to the exchange. What may run beside others is answered by the leader itself.
When a request turns out to hold an exclusive command, the leader gives the loop to a follower before it waits for its
turn and works; its answer is queued, and whoever leads then puts it. So quick requests pay for no other thread, and a
slow command delays none of them.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .calls import CallAbandonedError, Delivery, current_delivery
from .errors import ExchangeError, ResponseTooLargeError
from .protocols import Discarding, Waitable

if TYPE_CHECKING:
    from .locks import Place
    from .protocols import Exchange, Parser, Request, Response

__all__ = ("Dispatcher",)

_log = logging.getLogger(__name__)
_POLL = 1.0  # seconds between two questions to an exchange that cannot wait
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds, after an exchange failed
_MOST_EXCLUSIVE = 64  # commands of one dispatcher that wait or run; each holds a thread
_MOST_FOLLOWERS = 2  # idle threads kept for the next exclusive command
_FAULTS = (Exception, SystemExit)  # what a plugin may raise without taking the agent down


class Dispatcher:
    """Answers the requests of one exchange.

    :param exchange: an :class:`~guestagent_core.protocols.Exchange`; closing it is left to the caller.
    :param parser: a :class:`~guestagent_core.protocols.Parser`.
    :param name: for the log and the names of threads.
    """

    def __init__(self, exchange: Exchange, parser: Parser, name: str = "default") -> None:
        self._exchange = exchange
        self._waitable = exchange if isinstance(exchange, Waitable) else None
        self._discarding = exchange if isinstance(exchange, Discarding) else None
        self._parser = parser
        self._name = name
        self._pause, self._retry_at = 0.0, 0.0  # while the exchange fails; the leader's own
        # Reentrant, so that a signal handler may call stop() in a thread that holds it. It guards all below.
        self._changed = threading.Condition(threading.RLock())
        self._running = False
        self._stopping = False
        self._ended = False  # nobody leads any more, and nobody will
        self._leader: threading.Thread | None = None
        self._lead_offered = False
        self._followers = 0  # threads that wait to lead, or are about to
        self._threads: set[threading.Thread] = set()
        self._numbers = itertools.count(1)
        self._errands: set[_Errand] = set()  # exclusive commands that wait or run
        self._answers: deque[tuple[Delivery, Response | None]] = deque()  # only the leader takes from it

    def run(self) -> None:
        """Answers requests until :meth:`stop`; returns when everything that was running is answered.

        A dispatcher that was stopped stays so: running it again returns at once.

        :raises RuntimeError: it is running already.
        """
        self._begin()
        self._leader = threading.current_thread()
        try:
            self._lead()
            while self._follow():
                self._lead()
        finally:
            if not self._ended:  # an interrupt: what others still do is to be answered before it goes on
                self.stop()
                while self._leader is threading.current_thread() or self._follow():
                    self._lead()
            for thread in tuple(self._threads):
                thread.join()
            self._running = False

    def run_once(self, timeout: float = 0.0) -> bool:
        """Answers one request in this thread, waiting up to ``timeout`` seconds for it; returns whether there was one.

        What the exchange raises is passed on.

        :raises RuntimeError: the dispatcher is running already.
        """
        self._begin()
        try:
            request = self._exchange.get_request()
            if request is None:
                if self._waitable is not None:
                    self._waitable.wait(timeout)
                elif timeout > 0:
                    time.sleep(timeout)
                request = self._exchange.get_request()
            if request is None:
                return False
            delivery = Delivery(request)
            self._put(delivery, self._respond(delivery))
            return True
        finally:
            self._running = False

    def stop(self) -> None:
        """Makes :meth:`run` return: what is running is finished and answered, what waits for its turn is not begun.

        May be called from any thread and from a signal handler.
        """
        with self._changed:
            self._stopping = True
            for errand in self._errands:
                errand.cancel()
            self._changed.notify_all()
        self._wake()

    def _begin(self) -> None:
        with self._changed:
            if self._running:
                raise RuntimeError(f"Dispatcher {self._name!r} is running already")
            self._running = True

    def _wake(self) -> None:
        if self._waitable is None:
            return
        try:
            self._waitable.wake()
        except _FAULTS:  # the caller is no leader, or belongs to somebody else: it has more to do than this
            _log.exception("%s: the exchange cannot be woken (%s)", self._name, _described(self._exchange))

    # Leading: the loop

    def _lead(self) -> None:
        """Runs the loop until this thread has handed it over and done its errand, or the dispatcher has ended."""
        while True:
            while self._answers:
                self._put(*self._answers.popleft())
            if self._stopping or len(self._errands) >= _MOST_EXCLUSIVE:
                if self._await_answer():
                    return
                continue
            request = self._next_request()
            if request is not None and self._serve(request):
                return

    def _await_answer(self) -> bool:
        """Waits, without the exchange, for an answer to put or for room; returns True if the dispatcher has ended."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._answers or len(self._errands) < (1 if self._stopping else _MOST_EXCLUSIVE)
            )
            if self._stopping and not self._answers and not self._errands:
                self._ended, self._leader = True, None
                self._changed.notify_all()
            return self._ended

    def _next_request(self) -> Request | None:
        """Returns a request, or None after having waited for one or for an answer."""
        if self._pause and self._sleep(self._retry_at - time.monotonic()):
            return None
        try:
            request = self._exchange.get_request()
            if request is None:
                if self._waitable is None:
                    self._sleep(_POLL)
                else:
                    self._waitable.wait(None)
            elif type(request) is not dict and not isinstance(request, Mapping):
                raise ExchangeError(f"get_request returned a {type(request).__name__}, which is no mapping")
        except _FAULTS:
            self._pause = min(self._pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
            self._retry_at = time.monotonic() + self._pause
            what, pause = _described(self._exchange), self._pause
            _log.exception("%s: the exchange failed; it is tried again in %.0f s (%s)", self._name, pause, what)
            return None
        self._pause = 0.0
        return request

    def _sleep(self, seconds: float) -> bool:
        """Waits; returns True if an answer or the end cut it short."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: self._answers or self._stopping, seconds))

    def _serve(self, request: Request) -> bool:
        """Answers ``request``; returns True if this thread has handed the loop over meanwhile."""
        errand = _Errand(request, self)
        response = None
        try:
            response = self._respond(errand)
        except CallAbandonedError:
            pass
        except BaseException:  # an interrupt
            errand.interrupted = True
            raise
        finally:
            if errand.places:
                self._finish(errand, response)
        if errand.handed_over:
            self._wake()
            return True
        if not (errand.places and errand.abandoned):
            self._put(errand, response)
        return False

    def _respond(self, delivery: Delivery) -> Response | None:
        """Returns the parser's answer; None: nothing is to be sent."""
        request = delivery.request
        token = current_delivery.set(delivery)
        try:
            if "data" not in request and "error" in request:
                return self._parser.encode_error(500, str(request["error"]))
            response = self._parser.parse_request(request)
            if type(response) is dict or response is None or isinstance(response, Mapping):
                return response
            raise TypeError(f"parse_request returned a {type(response).__name__}, which is no mapping")
        except _FAULTS:
            _log.exception("%s: the parser failed (%s)", self._name, _described(self._parser))
        finally:
            current_delivery.reset(token)
        try:
            return self._parser.encode_error(500, "The parser failed")
        except _FAULTS:
            _log.exception("%s: it cannot even say so", self._name)
            return None

    def _put(self, delivery: Delivery, response: Response | None) -> None:
        """Gives the answer to the exchange, once more if it is too large; whatever fails is logged."""
        delivered = False
        try:
            if response is None and self._discarding is not None:
                self._discarding.discard(delivery.request)
            elif response is None:
                self._exchange.put_response(delivery.request, self._parser.encode_error(500, "There is no answer"))
            else:
                try:
                    self._exchange.put_response(delivery.request, response)
                except ResponseTooLargeError as error:
                    _log.warning("%s: an answer was replaced: %s", self._name, error)
                    self._exchange.put_response(delivery.request, self._parser.encode_error(500, str(error)))
            delivered = True
        except ExchangeError as error:
            _log.warning("%s: an answer was lost: %s", self._name, error)
        except _FAULTS:
            _log.exception("%s: an answer was lost (%s)", self._name, _described(self._exchange))
        if delivery.settled or delivery.actions:
            delivery.settle(delivered)

    # Handing the loop over

    def _hand_over(self, errand: _Errand, place: Place) -> None:
        """Lets a follower lead while this thread waits for ``place`` and works."""
        with self._changed:
            errand.places.append(place)
            self._errands.add(errand)
            if self._stopping:
                place.cancel()
            if errand.handed_over or not (self._followers or self._start_follower()):
                return  # without a thread to be had, this one does it all
            errand.handed_over = True
            self._leader = None
            self._lead_offered = True
            self._changed.notify()

    def _finish(self, errand: _Errand, response: Response | None) -> None:
        with self._changed:
            self._errands.discard(errand)
            if errand.handed_over and not errand.abandoned:
                self._answers.append((errand, response))
            self._changed.notify_all()

    def _follow(self, most: int | None = None) -> bool:
        """Waits to lead; returns False if the dispatcher has ended instead, or there are ``most`` followers already."""
        with self._changed:
            if most is not None and self._followers >= most:
                return False
            self._followers += 1
            try:
                self._changed.wait_for(lambda: self._lead_offered or self._ended)
            finally:
                self._followers -= 1
            if self._ended:
                return False
            self._lead_offered = False
            self._leader = threading.current_thread()
            return True

    def _start_follower(self) -> bool:
        thread = threading.Thread(target=self._run_follower, name=f"{self._name}-{next(self._numbers)}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            _log.warning("%s: no thread for a command, so all others of the channel wait: %s", self._name, error)
            return False
        self._threads.add(thread)
        return True

    def _run_follower(self) -> None:
        while self._follow(_MOST_FOLLOWERS):
            self._lead()
        with self._changed:
            self._threads.discard(threading.current_thread())


def _described(plugin: object) -> str:
    """Returns the module and class of ``plugin``, the module beginning with the name of its package."""
    return f"{type(plugin).__module__}.{type(plugin).__qualname__}"


class _Errand(Delivery):
    """A delivery that may hand the loop of its dispatcher over."""

    def __init__(self, request: Request, dispatcher: Dispatcher) -> None:
        super().__init__(request)
        self.handed_over = False
        self.interrupted = False
        self.places: list[Place] = []  # in the queue of exclusive commands
        self._dispatcher = dispatcher

    def hand_over(self, place: Place) -> None:
        self._dispatcher._hand_over(self, place)

    def cancel(self) -> None:
        """Gives up what waits for its turn; what runs goes on."""
        for place in self.places:
            place.cancel()

    @property
    def abandoned(self) -> bool:
        """Whether the request stays unanswered, whatever the parser made of that."""
        return self.interrupted or any(place.cancelled for place in self.places)
