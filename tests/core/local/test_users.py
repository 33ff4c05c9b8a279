"""The local exchange: who may connect, by the modes of the files and by what the kernel tells of the peer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from guestagent_core.errors import ExchangeError
from guestagent_core.local import LocalExchange
from guestagent_core.testing import take_request
from guestagent_core.unix_sockets import Peer

from .asking import PATIENCE, served

NOBODY, SOMEBODY = 65534, 65533

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")

CLIENT = """
import os, socket, sys

user = int(sys.argv[2])
if user != os.geteuid():
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
try:
    client = socket.socket(socket.AF_UNIX)
    client.connect(sys.argv[1])
    client.sendall(b"{}")
    print(client.recv(3).decode() or "turned away")
except (BrokenPipeError, ConnectionResetError):
    print("turned away")
except PermissionError:
    print("no way in")
"""


@contextmanager
def listening(path: Path, users: tuple[int, ...] = ()) -> Iterator[None]:
    """Has an exchange at ``path`` answer."""
    with closing(LocalExchange(LocalExchange.Options(path=path, users=users))) as exchange, served(exchange):
        yield


def outcome_for(user: int, path: Path) -> str:
    command = [sys.executable, "-c", CLIENT, str(path), str(user)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=PATIENCE).stdout.strip()


def test_our_own_user_is_let_in(path: Path) -> None:
    with listening(path):
        assert outcome_for(os.geteuid(), path) == "{}"


@pytest.mark.real
@as_root
def test_other_users_are_kept_out_by_the_modes_and_were_these_changed_by_the_check(path: Path) -> None:
    path.parent.chmod(0o711)
    with listening(path):
        assert outcome_for(NOBODY, path) == "no way in"
        path.chmod(0o666)
        assert outcome_for(NOBODY, path) == "turned away"


@pytest.mark.real
@as_root
def test_the_users_of_the_configuration_and_no_others_are_let_in(path: Path) -> None:
    path.parent.chmod(0o711)
    path = path.parent / "made by the exchange" / "s"
    with listening(path, users=(NOBODY,)):
        assert outcome_for(NOBODY, path) == "{}"
        assert outcome_for(SOMEBODY, path) == "turned away"
        assert outcome_for(0, path) == "{}"


@pytest.mark.real
@as_root
def test_root_is_let_in_by_the_agent_of_another_user(path: Path) -> None:
    os.chown(path.parent, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        exchange = LocalExchange(LocalExchange.Options(path=path))
    finally:
        os.seteuid(0)
    with closing(exchange), served(exchange):
        assert outcome_for(0, path) == "{}"
        assert outcome_for(NOBODY, path) == "{}"


def test_whoever_is_turned_away_gets_no_answer_and_is_named_in_the_log(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("guestagent_core.local.peer_of", lambda connected: Peer(17, 4711, 4711))
    with listening(path):
        assert outcome_for(os.geteuid(), path) == "turned away"
    assert f"process 17 of user 4711 was turned away from {path}" in caplog.text


def test_a_request_names_the_process_that_sent_it(path: Path) -> None:
    with (
        closing(LocalExchange(LocalExchange.Options(path=path))) as exchange,
        socket.socket(socket.AF_UNIX) as client,
    ):
        client.connect(os.fspath(path))
        client.sendall(b"{}")
        request = take_request(exchange)
    assert request["peer"] == (os.getpid(), os.geteuid(), os.getegid())


def test_a_user_that_does_not_exist_is_an_error(path: Path) -> None:
    with pytest.raises(ExchangeError, match="no user 'nobody-of-that-name'"):
        LocalExchange(LocalExchange.Options(path=path, users=("nobody-of-that-name",)))
    assert not path.exists()
