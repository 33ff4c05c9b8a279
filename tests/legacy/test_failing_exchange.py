"""An old exchange that fails is asked again after a second, whatever it fails to do and however long."""

from __future__ import annotations

import threading
import time

import pytest

from guestagent_core import CommandRegistry, Dispatcher
from guestagent_legacy.adapters import OldExchange, OldParser


class Booting:
    """An exchange whose host is not up yet."""

    def __init__(self, failures: int) -> None:
        self.asked: list[float] = []
        self.failures = failures
        self.answered = threading.Event()

    def get_request(self) -> str | None:
        self.asked.append(time.monotonic())
        if len(self.asked) <= self.failures:
            raise OSError("not up yet")
        return None if self.answered.is_set() else "request"

    def put_response(self, request: str, response: str) -> None:
        self.answered.set()


class Full:
    """An exchange that has no room for an answer, and goes on handing out the request."""

    def __init__(self) -> None:
        self.refused: list[float] = []
        self.enough = threading.Event()

    def get_request(self) -> str | None:
        return None if self.enough.is_set() else "request"

    def put_response(self, request: str, response: str) -> None:
        self.refused.append(time.monotonic())
        if len(self.refused) == 3:
            self.enough.set()
        raise OSError("No space left on device")


class Echo:
    def parse_request(self, request: str) -> str:
        return request


def test_it_is_asked_every_second_and_the_log_says_it_once(caplog: pytest.LogCaptureFixture) -> None:
    booting = Booting(failures=4)
    dispatcher = Dispatcher(OldExchange(booting), OldParser(Echo(), CommandRegistry()))
    thread = threading.Thread(target=dispatcher.run)
    with caplog.at_level("INFO"):
        thread.start()
        assert booting.answered.wait(30)
        dispatcher.stop()
        thread.join()
    pauses = [later - earlier for earlier, later in zip(booting.asked, booting.asked[1:4], strict=False)]
    assert min(pauses) > 0.9
    assert pauses[-1] < 3.5  # and not twice as long each time
    assert [record.levelname for record in caplog.records if "exchange" in record.message] == ["ERROR", "INFO"]
    assert "not up yet" in caplog.text


def test_one_that_takes_no_answer_rests_for_a_second_before_the_next_request() -> None:
    full = Full()
    dispatcher = Dispatcher(OldExchange(full), OldParser(Echo(), CommandRegistry()))
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    assert full.enough.wait(60)
    dispatcher.stop()
    thread.join()
    pauses = [later - earlier for earlier, later in zip(full.refused, full.refused[1:], strict=False)]
    assert min(pauses) > 0.9
