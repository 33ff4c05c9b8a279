"""Unix sockets: who may reach one, who gets a path that several want, and what is left behind."""

from __future__ import annotations

import fcntl
import os
import pwd
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from guestagent_core.errors import ExchangeError
from guestagent_core.unix_sockets import LONGEST_PATH, ListeningSocket, Peer, check_path, peer_of, user_id

PATIENCE = 30.0  # seconds until something counts as hanging
NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    previous = os.umask(request.param)
    yield
    os.umask(previous)


any_umask = pytest.mark.parametrize("umask", [0, 0o077], indirect=True, ids=["umask 0", "umask 077"])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def leave_stale(path: Path) -> None:
    """Leaves what an agent leaves that was killed."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
        dead.listen()


def can_connect(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client, suppress(ConnectionRefusedError, FileNotFoundError):
        client.connect(os.fspath(path))
        return True
    return False


# Who is there


def test_the_peer_of_a_connection_is_the_process_that_connected(folder: Path) -> None:
    script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)"
    with closing(ListeningSocket(folder / "s")) as listening:
        listening.socket.settimeout(PATIENCE)
        with subprocess.Popen([sys.executable, "-c", script, str(folder / "s")]) as client:
            connected, _ = listening.socket.accept()
            with connected:
                peer = peer_of(connected)
    assert peer == Peer(client.pid, os.geteuid(), os.getegid())
    assert str(peer) == f"process {client.pid} of user {os.geteuid()}"


def test_a_system_that_does_not_tell_the_peer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED")
    one, other = socket.socketpair()
    with one, other, pytest.raises(ExchangeError, match="does not tell who"):
        peer_of(one)


def test_a_user_may_be_given_by_name_or_number() -> None:
    assert user_id(pwd.getpwuid(0).pw_name) == 0
    assert user_id(4711) == 4711
    with pytest.raises(ExchangeError, match="no user 'nobody-of-that-name'"):
        user_id("nobody-of-that-name")


# The path


def test_a_path_of_107_bytes_can_be_connected_to(folder: Path) -> None:
    path = folder / ("x" * (LONGEST_PATH - len(os.fsencode(folder)) - 1))
    assert len(os.fsencode(path)) == 107
    with closing(ListeningSocket(path)):
        assert can_connect(path)


def test_a_path_of_108_bytes_is_an_error_that_tells_the_limit(folder: Path) -> None:
    path = folder / ("x" * (LONGEST_PATH - len(os.fsencode(folder))))
    with pytest.raises(ExchangeError, match="may have 107 bytes, and this one has 108"):
        ListeningSocket(path)
    assert list(folder.iterdir()) == []


def test_the_length_of_a_path_is_counted_in_bytes() -> None:
    check_path(Path("/" + "ü" * 53))
    with pytest.raises(ExchangeError, match="has 109"):
        check_path(Path("/" + "ü" * 54))


# Who may reach it


@any_umask
@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(("shared", "folder_mode", "socket_mode"), [(False, 0o700, 0o600), (True, 0o711, 0o666)])
def test_the_modes_hold_under_any_umask(folder: Path, shared: bool, folder_mode: int, socket_mode: int) -> None:
    path = folder / "run" / "guestagent" / "s"
    with closing(ListeningSocket(path, shared=shared)):
        assert (mode(path.parent), mode(path)) == (folder_mode, socket_mode)


@pytest.mark.parametrize("umask", [0], indirect=True, ids=["umask 0"])
@pytest.mark.usefixtures("umask")
def test_the_socket_is_open_to_others_at_no_moment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "chmod", lambda path, mode: None)  # shows what the file is before its mode is set
    with closing(ListeningSocket(folder / "s")):
        assert mode(folder / "s") == 0o600


def test_the_mode_of_a_folder_that_is_there_is_left_alone(folder: Path) -> None:
    folder.chmod(0o750)
    with closing(ListeningSocket(folder / "s")):
        assert mode(folder) == 0o750


@pytest.mark.parametrize("open_mode", [0o770, 0o707])
def test_a_folder_in_which_others_could_replace_the_socket_is_refused(folder: Path, open_mode: int) -> None:
    folder.chmod(open_mode)
    with pytest.raises(ExchangeError, match="others can replace a socket in this folder"):
        ListeningSocket(folder / "s")
    assert list(folder.iterdir()) == []


def test_a_folder_with_the_sticky_bit_will_do(folder: Path) -> None:
    folder.chmod(0o1777)
    with closing(ListeningSocket(folder / "s")):
        assert can_connect(folder / "s")


@pytest.mark.real
@as_root
def test_a_folder_that_belongs_to_somebody_else_is_refused(folder: Path) -> None:
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(ExchangeError, match="others can replace a socket in this folder"):
        ListeningSocket(folder / "s")


# Who gets it


def test_a_stale_socket_is_taken_over(folder: Path) -> None:
    leave_stale(folder / "s")
    assert not can_connect(folder / "s")
    with closing(ListeningSocket(folder / "s")):
        assert can_connect(folder / "s")


@pytest.mark.parametrize("waiting", [0, 200], ids=["idle", "with a full queue"])
def test_a_live_socket_is_an_error_and_goes_on(folder: Path, waiting: int) -> None:
    with closing(ListeningSocket(folder / "s")) as live:
        clients = [socket.socket(socket.AF_UNIX) for _ in range(waiting)]
        for client in clients:
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect(os.fspath(folder / "s"))
        with pytest.raises(ExchangeError, match="another agent listens there"):
            ListeningSocket(folder / "s")
        for client in clients:
            client.close()
        while True:  # accepts what waits, the other agent's question included
            try:
                live.socket.accept()[0].close()
            except BlockingIOError:
                break
        assert can_connect(folder / "s")


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_refused_and_left_alone(folder: Path, kind: str) -> None:
    path = folder / "s"
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    else:
        leave_stale(folder / "other")
        path.symlink_to(folder / "other")
    before = path.lstat()
    with pytest.raises(ExchangeError, match="something that is no socket"):
        ListeningSocket(path)
    assert path.lstat() == before


def test_what_the_system_refuses_is_an_error_that_names_the_path(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(ExchangeError, match="file/s: the socket cannot be opened: "):
        ListeningSocket(folder / "file" / "s")


def test_of_several_agents_that_start_at_once_on_a_stale_socket_exactly_one_wins(folder: Path) -> None:
    path = folder / "s"
    for _ in range(50):
        leave_stale(path)
        winners, losers = start_at_once(path, 4)
        assert (len(winners), len(losers)) == (1, 3), losers
        assert all("another agent listens there" in str(error) for error in losers)
        assert can_connect(path)
        winners[0].close()


def start_at_once(path: Path, count: int) -> tuple[list[ListeningSocket], list[ExchangeError]]:
    barrier = threading.Barrier(count)
    winners: list[ListeningSocket] = []
    losers: list[ExchangeError] = []

    def start() -> None:
        barrier.wait(PATIENCE)
        try:
            winners.append(ListeningSocket(path))
        except ExchangeError as error:
            losers.append(error)

    threads = [threading.Thread(target=start) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return winners, losers


# What is left


def test_closing_removes_the_socket(folder: Path) -> None:
    listening = ListeningSocket(folder / "s")
    listening.close()
    assert list(folder.iterdir()) == []


def test_closing_leaves_the_socket_of_a_successor_alone(folder: Path) -> None:
    listening = ListeningSocket(folder / "s")
    (folder / "s").unlink()
    with closing(ListeningSocket(folder / "s")):
        listening.close()
        listening.close()
        assert can_connect(folder / "s")


def test_closing_again_leaves_the_socket_of_a_successor_alone(folder: Path) -> None:
    listening = ListeningSocket(folder / "s")
    listening.close()
    with closing(ListeningSocket(folder / "s")):  # whose file may well get the number of the old one
        listening.close()
        assert can_connect(folder / "s")


def test_a_socket_that_is_being_closed_is_live_until_its_file_is_gone(folder: Path) -> None:
    # Or a successor could take it over meanwhile, and its file, if it got the number of the old one, would be removed.
    listening = ListeningSocket(folder / "s")
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # as an agent does that looks whether the socket is stale
    closer = threading.Thread(target=listening.close)
    closer.start()
    closer.join(0.05)
    still_live = can_connect(folder / "s")
    os.close(lock)
    closer.join(PATIENCE)
    assert still_live
    assert list(folder.iterdir()) == []


def test_closing_does_without_the_folder(folder: Path) -> None:
    listening = ListeningSocket(folder / "run" / "s")
    (folder / "run" / "s").unlink()
    (folder / "run").rmdir()
    listening.close()
    assert listening.socket.fileno() == -1
