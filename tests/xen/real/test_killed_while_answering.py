"""An agent is killed before each of its writes to the device while it answers: request and answer change together."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from typing import Any

import pytest
from tests.xen.harness import Daemon, Guest

from guestagent_core import ResponseTooLargeError
from guestagent_xen import answering
from guestagent_xen.answering import Answerer
from guestagent_xen.connecting import connect
from guestagent_xen.session import Operation, Session, StoreError

pytestmark = pytest.mark.real
READ, WRITE = 2, 11
REQUEST, ANSWERS, ANSWER = "data/host/one", "data/guest", "data/guest/one"


class KilledError(BaseException):
    """Nothing of the agent goes on."""


def answer_until_killed(
    answerer: Answerer, session: Session, value: bytes, writes: int, patch: pytest.MonkeyPatch
) -> bool:
    """Answers the request; returns whether there were more writes to the device than ``writes``."""
    write, left = os.write, writes

    def count(descriptor: int, data: Any) -> int:
        nonlocal left
        if descriptor == session.fileno():
            if not left:
                raise KilledError
            left -= 1
        return write(descriptor, data)

    with patch.context() as patched:
        patched.setattr(os, "write", count)
        try:
            with suppress(StoreError, ResponseTooLargeError):
                answerer.answer(session, REQUEST.encode(), b"one", value, more=True)
        except KilledError:
            pass
        else:
            return False
    # Whoever looks now is to see what came of all that was written before: the daemon takes it in this order.
    session.call(READ, b"data")
    return True


def fill(session: Session) -> None:
    """Makes answers until there is no room for another one."""
    number = 0
    while session.call_all(Operation(WRITE, f"{ANSWERS}/{number:036}\0".encode())) == [b"OK\0"]:
        number += 1


@pytest.mark.parametrize(
    ("case", "value", "is_answered"),
    [
        ("nothing is wrong", b"answer", True),
        ("the folder is closed", b"answer", False),
        ("the answer's node is somebody else's", b"answer", False),
        ("the request may not be removed", b"answer", False),
        ("the answer is too large", b"x" * 2100, False),
        ("there is no room", b"answer", True),
    ],
)
def test_the_request_is_there_or_its_answer(
    daemon: Daemon, guest: Guest, monkeypatch: pytest.MonkeyPatch, case: str, value: bytes, is_answered: bool
) -> None:
    monkeypatch.setattr(answering, "_UNTOUCHED", 0.01)
    host, request, answers, answer = daemon.host, *(f"{guest.home}/{path}" for path in (REQUEST, ANSWERS, ANSWER))
    writes, was_killed = 0, True
    while was_killed:
        host.write({request: b"request", answers: b""})
        host.give(request, "n7")
        host.give(answers, "n7")
        answerer = Answerer(ANSWERS.encode(), 5.0)
        with closing(connect(guest.device, 10.0)) as session:
            answerer.answer(session, b"data/host/before", b"before", b"", more=True)  # it knows its daemon by now
            if case == "the folder is closed":
                host.give(answers, "n0", "r7")
            elif case == "the answer's node is somebody else's":
                host.write({answer: b""})
                host.give(answer, "n0", "r7")
            elif case == "the request may not be removed":
                host.give(request, "n0", "r7")
            elif case == "there is no room":
                fill(session)
            was_killed = answer_until_killed(answerer, session, value, writes, monkeypatch)
        is_there, is_put = host.read(request) == b"request", host.read(answer) == value
        assert is_there or is_put, f"killed before write {writes + 1}"
        if case != "the request may not be removed":  # then it stays, and the answer is seen for a moment
            assert is_there != is_put, f"killed before write {writes + 1}"
        writes += 1
        if was_killed:
            host.remove(answers)
    assert writes > 2
    assert (is_put, is_there) == (is_answered, not is_answered)
