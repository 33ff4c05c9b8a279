"""The host's side against a store: what it asks, what it leaves behind, and which failure it tells from which."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from guestagent_xen.devstore import DevelopmentStore
from guestagent_xen.host import (
    AgentError,
    AgentTimeoutError,
    Answer,
    AnswerError,
    DomainGoneError,
    GuestClient,
    RequestTooLargeError,
    StoreError,
)
from guestagent_xen.host import __main__ as host

FILE = Path(host.__file__)
LIST, READ, WATCH, INTRODUCE, RELEASE, WRITE, REMOVE, EVENT, ERROR = 1, 2, 4, 8, 9, 11, 13, 15, 16
HEADER = struct.Struct("=IIII")
STANDARD_LIBRARY = {
    *("argparse", "base64", "collections", "contextlib", "getpass", "json", "os", "secrets", "select", "socket"),
    *("stat", "struct", "subprocess", "sys", "time", "typing", "uuid"),
}  # what of Python 3.6 may be used
_OPEN: list[Wire] = []


class Wire:
    """A plain client of the store, as domain 0."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.events: list[str] = []
        _OPEN.append(self)

    def message(self) -> tuple[int, bytes]:
        header = self.socket.recv(HEADER.size, socket.MSG_WAITALL)
        if len(header) < HEADER.size:
            raise ConnectionError
        operation, _, _, length = HEADER.unpack(header)
        return operation, self.socket.recv(length, socket.MSG_WAITALL) if length else b""

    def ask(self, operation: int, path: str, rest: bytes = b"") -> bytes | None:
        content = path.encode() + b"\0" + rest
        self.socket.sendall(HEADER.pack(operation, 1, 0, len(content)) + content)
        while True:
            answered, data = self.message()
            if answered != EVENT:
                return None if answered == ERROR else data
            self.events.append(data.split(b"\0")[0].decode())

    def children(self, path: str) -> list[str]:
        return [name.decode() for name in (self.ask(LIST, path) or b"").split(b"\0") if name]

    def event(self) -> str:
        while not self.events:
            operation, data = self.message()
            assert operation == EVENT
            self.events.append(data.split(b"\0")[0].decode())
        return self.events.pop(0)


Handler = Callable[[str, dict[str, Any]], "bytes | dict[str, Any] | None"]


class Agent(threading.Thread):
    """An old agent: takes each request, and writes what ``handle`` makes of it, unless that is None."""

    def __init__(self, path: Path, handle: Handler) -> None:
        super().__init__(daemon=True)
        self.handle = handle
        self.asked: list[dict[str, Any]] = []
        self.wire = Wire(path)
        self.wire.ask(WATCH, "/local/domain/7/data/host", b"agent\0")
        self.start()

    def run(self) -> None:
        while True:
            try:
                identifier = self.wire.event().rpartition("/")[2]
                text = self.wire.ask(READ, f"/local/domain/7/data/host/{identifier}")
                if identifier == "host" or not text:
                    continue
                request = json.loads(text)
                self.asked.append(request)
                answer = self.handle(identifier, request)
                if answer is not None:
                    data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                    self.wire.ask(REMOVE, f"/local/domain/7/data/host/{identifier}")
                    self.wire.ask(WRITE, f"/local/domain/7/data/guest/{identifier}", data)
            except OSError:
                return


def succeed(message: object = "", code: object = "0") -> Handler:
    return lambda identifier, request: {"message": message, "returncode": code}


@pytest.fixture
def store(small_store: DevelopmentStore) -> Iterator[Path]:
    path: Path = small_store.path
    wire = Wire(path)
    small_store.add_guest(7)
    wire.ask(WRITE, "/local/domain/7/data/host", b"")
    wire.ask(WRITE, "/local/domain/7/data/guest", b"")
    yield path
    for wire in _OPEN:
        wire.socket.shutdown(socket.SHUT_RDWR)  # which wakes the agents
    for thread in threading.enumerate():
        if isinstance(thread, Agent):
            thread.join()
    while _OPEN:
        _OPEN.pop().socket.close()


def client_of(store: Path, timeout: float = 30.0) -> GuestClient:
    return GuestClient(7, socket=str(store), timeout=timeout)


def leftovers(store: Path) -> list[str]:
    return [name for side in ("host", "guest") for name in Wire(store).children(f"/local/domain/7/data/{side}")]


def test_several_calls_share_a_connection_and_leave_nothing_behind(store: Path) -> None:
    agent = Agent(store, succeed("1.39.1"))
    with client_of(store) as client:
        assert client.version() == "1.39.1"
        connection = client._store
        assert client.call("other", {"a": [1, None]}) == Answer("0", "1.39.1")
        assert client._store is connection
    assert agent.asked == [{"name": "version", "value": "agent"}, {"name": "other", "value": {"a": [1, None]}}]
    assert leftovers(store) == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"returncode": 0, "message": "x"}, Answer("0", "x")),
        ({"returncode": 500, "message": None}, Answer("500", "None")),
        ({"returncode": "0", "message": "1.2.3\\r\\n"}, Answer("0", "1.2.3")),
        ({"returncode": "0", "message": "C:\\r\\n is inside"}, Answer("0", "C:\\r\\n is inside")),
        (b'{"message": "h\\u00e9", "returncode": "0"}\r\n', Answer("0", "hé")),
    ],
)
def test_what_old_agents_answer_is_understood(store: Path, answer: Any, expected: Answer) -> None:
    Agent(store, lambda identifier, request: answer)
    with client_of(store) as client:
        assert client.call("version") == expected


@pytest.mark.parametrize("answer", [b"plain text", b"[]", b'{"message": ""}', b"\xff", b"[" * 2000])
def test_an_answer_that_is_none_is_shown_and_removed(store: Path, answer: bytes) -> None:
    Agent(store, lambda identifier, request: answer)
    with client_of(store) as client, pytest.raises(AnswerError, match="version: the answer is not a JSON object"):
        client.version()
    assert leftovers(store) == []


def test_a_silent_agent_is_told_and_the_request_removed(store: Path) -> None:
    with client_of(store, 0.05) as client:
        with pytest.raises(AgentTimeoutError, match=r"within 0\.05 s, and nobody took the request") as caught:
            client.version()
        assert not caught.value.was_taken
        assert leftovers(store) == []
        Agent(store, succeed("1"))
        client.timeout = 30.0
        assert client.version() == "1"


def test_an_agent_that_took_the_request_and_died_is_told(store: Path) -> None:
    def die(identifier: str, request: dict[str, Any]) -> None:
        Wire(store).ask(REMOVE, f"/local/domain/7/data/host/{identifier}")

    agent = Agent(store, die)
    with client_of(store, 0.5) as client, pytest.raises(AgentTimeoutError) as caught:
        client.version()
    assert caught.value.was_taken == bool(agent.asked)


def test_an_answer_that_is_empty_yet_is_waited_for(store: Path) -> None:
    def hesitate(identifier: str, request: dict[str, Any]) -> dict[str, Any]:
        Wire(store).ask(WRITE, f"/local/domain/7/data/guest/{identifier}", b"")
        return {"message": "done", "returncode": "0"}

    Agent(store, hesitate)
    with client_of(store) as client:
        assert client.version() == "done"


def test_a_guest_that_keeps_the_host_busy_does_not_hold_it_up(store: Path) -> None:
    stop = threading.Event()

    def tease(identifier: str, request: dict[str, Any]) -> None:
        wire = Wire(store)
        while not stop.is_set():
            wire.ask(WRITE, f"/local/domain/7/data/guest/{identifier}", b"")

    Agent(store, tease)
    with client_of(store, 0.2) as client, pytest.raises(AgentTimeoutError):
        client.version()
    stop.set()


def test_a_domain_that_is_not_there_is_told_and_nothing_written(store: Path) -> None:
    with GuestClient(8, socket=str(store)) as client, pytest.raises(DomainGoneError, match="There is no domain 8"):
        client.version()
    assert "8" not in Wire(store).children("/local/domain")


def test_a_domain_of_which_only_the_nodes_are_left_is_told_and_nothing_written(store: Path) -> None:
    Wire(store).ask(RELEASE, "7")
    with client_of(store) as client, pytest.raises(DomainGoneError, match="There is no domain 7"):
        client.version()
    assert leftovers(store) == []


def test_who_may_not_ask_for_domains_asks_their_agents(store: Path) -> None:
    view = store.with_name(f"{store.name}.7")  # an unprivileged domain's
    with client_of(view, 0.2) as client, pytest.raises(AgentTimeoutError):
        client.version()


@pytest.mark.parametrize("removed", ["/local/domain/7/name", "/local/domain/7"])
def test_a_domain_that_goes_is_told_from_a_silent_agent(store: Path, removed: str) -> None:
    def vanish(identifier: str, request: dict[str, Any]) -> None:
        Wire(store).ask(REMOVE, removed)

    Agent(store, vanish)
    with client_of(store) as client, pytest.raises(DomainGoneError, match="went away before it answered"):
        client.version()
    assert leftovers(store) == []


def test_the_connection_is_made_anew_between_two_calls(store: Path) -> None:
    Agent(store, succeed("1"))
    with client_of(store) as client:
        assert client.version() == "1"
        assert client._store is not None
        broken = socket.socket(fileno=os.dup(client._store._descriptor))
        broken.shutdown(socket.SHUT_RDWR)  # as a daemon does that restarts
        broken.close()
        assert client.version() == "1"


class TestWithABadDaemon:
    """A daemon of the tests: says what it is told to, then nothing."""

    @pytest.fixture
    def listening(self, tmp_path: Path) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(tmp_path / "bad"))
            listening.listen()
            yield listening

    def test_one_that_stopped_is_told(self, listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host, "_GRACE", 0.05)
        with GuestClient(7, socket=listening.getsockname(), timeout=0.05) as client:
            with pytest.raises(StoreError, match="XenStore does not answer"):
                client.version()

    def test_one_that_accepts_nobody_is_told(self, listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host, "_GRACE", 0.05)
        listening.listen(0)  # one may wait
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(listening.getsockname())
            with GuestClient(7, socket=listening.getsockname()) as client:
                with pytest.raises(StoreError, match="XenStore does not answer"):
                    client.version()

    def test_one_that_accepts_late_is_waited_for(self, listening: socket.socket) -> None:
        listening.listen(0)
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(listening.getsockname())
            timer = threading.Timer(0.1, lambda: listening.accept()[0].close())
            timer.start()
            host._Store([listening.getsockname()]).close()
            timer.join()

    def test_one_that_hangs_up_is_told(self, listening: socket.socket) -> None:
        thread = threading.Thread(target=lambda: listening.accept()[0].close())
        thread.start()
        with GuestClient(7, socket=listening.getsockname()) as client:
            with pytest.raises(StoreError, match="XenStore hung up"):
                client.version()
        thread.join()

    def test_old_kernels_and_garbage_are_understood(self, listening: socket.socket) -> None:
        def serve() -> None:
            with suppress(ConnectionError), listening.accept()[0] as peer:  # it hangs up with something unread
                identifier, event = "", ""
                while len(header := peer.recv(HEADER.size, socket.MSG_WAITALL)) == HEADER.size:
                    operation, request_id, _, length = HEADER.unpack(header)
                    path, _, _ = peer.recv(length, socket.MSG_WAITALL).partition(b"\0")

                    def send(operation: int, request_id: int, data: bytes) -> None:
                        peer.sendall(HEADER.pack(operation, request_id, 0xDEADBEEF, len(data)) + data)

                    send(READ, 0, b"stray")  # no answer to anything
                    if operation in (WATCH, 5):
                        if operation == WATCH:  # the first event is before the answer
                            send(EVENT, 0xDEADBEEF, path + b"\0host\0")
                        send(operation, 0, b"OK\0")
                        event = path.decode()
                    elif operation == WRITE:
                        identifier = path.decode().rpartition("/")[2]
                        send(WRITE, request_id, b"OK\0")
                        send(EVENT, 1, event.encode() + b"\0host\0")
                    elif operation == READ and b"/guest/" in path and not identifier:
                        send(ERROR, request_id, b"ENOENT\0")
                    elif operation == READ and b"/guest/" in path:
                        send(READ, request_id, b'{"message": "old", "returncode": "0"}')
                    else:
                        send(operation, request_id, b"T\0")

        thread = threading.Thread(target=serve)
        thread.start()
        with GuestClient(7, socket=listening.getsockname()) as client:
            assert client.version() == "old"
        thread.join()


def test_a_request_that_does_not_fit_is_refused_with_the_limit(store: Path) -> None:
    with client_of(store) as client:
        with pytest.raises(RequestTooLargeError, match=r"other: .* are 41\d\d bytes, 4096 fit"):
            client.call("other", "x" * 4100)
    assert leftovers(store) == []


@pytest.mark.parametrize("name", ["E2BIG", "EQUOTA", "ENOSPC", "EINVAL"])
def test_a_request_that_this_store_refuses_names_its_error(
    store: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = host._Store._ask

    def refusing(self: Any, operation: int, content: bytes, deadline: float) -> bytes:
        if operation == WRITE:
            raise StoreError(f"XenStore refuses: {name}", name)
        return real(self, operation, content, deadline)

    monkeypatch.setattr(host._Store, "_ask", refusing)
    with client_of(store) as client:
        with pytest.raises(RequestTooLargeError, match=f"2016 fit anywhere .{name}."):
            client.call("other", "x" * 3000)
        with pytest.raises(StoreError, match=f"refuses: {name}") as caught:
            client.call("other")
    assert not isinstance(caught.value, RequestTooLargeError)


def test_files_are_injected_in_the_way_that_the_agent_knows(store: Path) -> None:
    features: list[tuple[str, str]] = []

    def handle(identifier: str, request: dict[str, Any]) -> dict[str, Any]:
        code, message = features[0] if request["name"] == "features" else ("0", "")
        return {"message": message, "returncode": code}

    agent = Agent(store, handle)
    old = {"name": "injectfile", "value": "L2V0Yy9tb3RkMixoZWxsbwo="}  # as recorded of the original
    new = {"name": "file_inject", "value": {"b64_path": "L2V0Yy9tb3RkMg==", "b64_file": "aGVsbG8K"}}
    with client_of(store) as client:
        for answer, expected in (
            (("0", "version,injectfile"), old),
            (("0", "injectfile,file_inject"), new),
            (("404", "No such agent command 'features'"), old),
        ):
            features[:] = [answer]
            client.inject_file("/etc/motd2", b"hello\n")
            assert agent.asked[-1] == expected
        features[:] = [("0", "version,injectfile")]
        with pytest.raises(ValueError, match="comma"):
            client.inject_file("/etc/a,b", b"")
        features[:] = [("0", "version")]
        with pytest.raises(AgentError, match="neither file_inject nor injectfile, but version"):
            client.inject_file("/etc/motd2", b"")


def test_the_other_commands_send_what_was_recorded(store: Path) -> None:
    agent = Agent(store, succeed())
    with client_of(store) as client:
        client.reset_network()
        client.agent_update("http://h/a.tar", "0123")
        client.agent_update("http://h/a,b.tar", "0123")
        client.activate_kms("KEY-1", "srv01", ["d1", "d2"])
    assert [(asked["name"], asked["value"]) for asked in agent.asked] == [
        ("resetnetwork", ""),
        ("agentupdate", "http://h/a.tar,0123"),
        ("agentupdate", {"url": "http://h/a,b.tar", "md5sum": "0123"}),
        ("kmsactivate", {"activation_key": "KEY-1", "profile": "srv01", "domains": ["d1", "d2"]}),
    ]


def test_the_command_line_prints_answers(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = Agent(store, lambda identifier, request: {"message": "a,b\x1b[31m", "returncode": "0"})
    place = ["--socket", str(store)]
    assert host.main([*place, "7", "features"]) == 0
    assert capsys.readouterr().out == "a\nb\\x1b[31m\n"
    assert host.main(["7", "other", *place, '{"a": 1}', "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"message": "a,b\x1b[31m", "returncode": "0"}
    assert agent.asked[-1] == {"name": "other", "value": {"a": 1}}
    assert host.main([*place, "7", "other", "{text"]) == 0
    assert agent.asked[-1]["value"] == "{text"


def test_the_exit_status_tells_what_failed(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Agent(store, succeed("no", "500"))
    place = ["--socket", str(store)]
    assert host.main([*place, "7", "version"]) == 1
    assert capsys.readouterr().err == "guestagent-xen-host: version: 500: no\n"
    assert host.main([*place, "7", "injectfile", "/x", str(tmp_path / "missing")]) == 2
    assert host.main([*place, "8", "version"]) == 4
    assert host.main(["--socket", str(tmp_path / "none"), "7", "version"]) == 5
    Wire(store).ask(WRITE, "/local/domain/9/name", b"silent")
    Wire(store).ask(INTRODUCE, "9", b"1\x001\0")
    assert host.main([*place, "9", "version", "--timeout", "0.05"]) == 3
    with pytest.raises(SystemExit) as caught:
        host.main(["7"])
    assert caught.value.code == 2


def test_the_environment_says_where_the_store_is(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Agent(store, succeed("1"))
    (store.parent / "socket").symlink_to(store)
    monkeypatch.setenv("XENSTORED_RUNDIR", str(store.parent))
    monkeypatch.delenv("XENSTORED_PATH", raising=False)
    assert host.main(["7", "version"]) == 0
    monkeypatch.setenv("XENSTORED_PATH", str(store.parent / "other"))
    assert host.main(["7", "version"]) == 5


def test_a_bus_takes_less_in_a_message(tmp_path: Path) -> None:
    (tmp_path / "xenbus").touch()
    store = host._Store([str(tmp_path / "xenbus")])
    assert store.largest == 4080
    store.close()


def test_the_file_runs_alone(store: Path, tmp_path: Path) -> None:
    Agent(store, succeed("1.39.1"))
    copy = shutil.copy(FILE, tmp_path / "copied.py")
    command = [sys.executable, "-I", str(copy), "--socket", str(store), "7", "version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1.39.1\n"


def test_the_package_runs_without_a_warning() -> None:
    command = [sys.executable, "-W", "error", "-m", "guestagent_xen.host", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_ctrl_c_takes_the_request_back(store: Path) -> None:
    agent = Agent(store, lambda identifier, request: os.kill(child.pid, signal.SIGINT))
    command = [sys.executable, str(FILE), "--socket", str(store), "7", "version"]
    child = subprocess.Popen(command)
    assert child.wait(30) == 130
    assert len(agent.asked) == 1
    assert leftovers(store) == []


def test_alone_it_says_what_it_needs_to_act_as_a_xapi_host(tmp_path: Path) -> None:
    alone = shutil.copy(FILE, tmp_path / "host.py")
    done = subprocess.run(
        [sys.executable, "-S", alone, "--socket", "/nowhere", "7", "xapi", "show"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "xapi needs the installed package guestagent_xen" in done.stderr


def test_the_file_is_python_3_6_and_needs_its_standard_library_alone() -> None:
    tree = ast.parse(FILE.read_text(), feature_version=(3, 6))
    can_do_without = [
        each
        for node in ast.walk(tree)
        if isinstance(node, ast.Try)
        and any(isinstance(handler.type, ast.Name) and handler.type.id == "ImportError" for handler in node.handlers)
        for each in node.body
    ]
    imported = set()
    for node in ast.walk(tree):
        if node in can_do_without:
            continue
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).partition(".")[0])
        assert not isinstance(node, ast.NamedExpr)
    assert imported <= STANDARD_LIBRARY
