"""The host's side: asks the agent of a domain through XenStore, and waits for its answer.

This file runs alone, on Python 3.6 and with nothing but its standard library: copied to domain 0, as
``python3 __main__.py DOMID version``. To set a password it needs the program ``openssl`` too.
"""
# Python 3.6 does not know the newer spellings:
# ruff: noqa: UP006, UP007, UP022, UP035, UP045

import argparse
import base64
import getpass
import json
import os
import secrets
import select
import socket
import stat
import struct
import subprocess
import sys
import time
import uuid
from collections import deque
from contextlib import suppress
from typing import Any, Deque, Iterable, List, NamedTuple, Optional, Sequence, Union

__all__ = (
    "AgentError",
    "AgentTimeoutError",
    "Answer",
    "AnswerError",
    "DomainGoneError",
    "GuestClient",
    "HostError",
    "OpensslError",
    "RequestTooLargeError",
    "StoreError",
    "main",
)

_PROGRAM = "guestagent-xen-host"
_DEVICES = ("/dev/xen/xenbus", "/proc/xen/xenbus")
_READ, _WATCH, _UNWATCH, _WRITE, _REMOVE, _EVENT, _ERROR, _IS_INTRODUCED = 2, 4, 5, 11, 13, 15, 16, 17  # xs_wire.h
_HEADER = struct.Struct("=IIII")  # operation, request id, transaction id, length of what follows
_LARGEST = 4096  # bytes that follow a header (XENSTORE_PAYLOAD_MAX)
_SURELY_FITTING = 2016  # bytes of a value; an oxenstored may refuse larger ones
_GRACE = 1.0  # seconds that the store has for an operation at least, however late it is
_LONGEST_WAIT = 3600.0  # seconds, because poll() knows no longer ones than some weeks
_PRIME, _BASE = 2**107 - 1, 5  # of the key exchange
_DIGESTS = ("sha256", "md5")  # that make a key of the shared number: of OpenSSL since 1.1.0, and before
_LARGEST_PADDING = 16  # bytes
_MOST_EXCHANGES = 32  # of keys; one in fifteen is of no use
_UNREADABLE_PASSWORD = "Invalid password data received"  # noqa: S105 - what agents say who cannot decrypt it


class HostError(Exception):
    """Anything that went wrong; ``status`` is the exit status of the command line."""

    status = 1


class AgentError(HostError):
    """The agent answered that it failed.

    :param code: its return code, such as ``500``, or ``404`` for a command that it does not know.
    :param message: what it said.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class AnswerError(HostError):
    """The agent's answer cannot be understood."""


class AgentTimeoutError(HostError):
    """The domain is there, but its agent did not answer in time.

    :param was_taken: whether something in the guest removed the request, so that it may have been carried out.
    """

    status = 3

    def __init__(self, message: str, was_taken: bool) -> None:
        super().__init__(message)
        self.was_taken = was_taken


class DomainGoneError(HostError):
    """There is no domain of that number (any more)."""

    status = 4


class StoreError(HostError):
    """XenStore cannot be reached, hung up, does not answer in time, or refused something.

    :param name: the refusal in the daemon's words, such as ``EACCES``; empty if it is not the daemon who says so.
    """

    status = 5

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class RequestTooLargeError(StoreError):
    """The request does not fit into XenStore."""


class OpensslError(HostError):
    """The program ``openssl`` is missing, or failed."""

    status = 6


class Answer(NamedTuple):
    """What an agent answered."""

    code: str
    """``0`` is success, and ``D0`` that of ``keyinit``."""
    message: str

    def is_success(self) -> bool:
        """Whether the agent did what it was asked for."""
        return self.code in ("0", "D0")

    def checked(self) -> str:
        """Returns the message.

        :raises AgentError: the answer tells of a failure.
        """
        if not self.is_success():
            raise AgentError(self.code, self.message)
        return self.message


class GuestClient:
    """Asks the agent of one domain. One thread at a time may use it; several calls share a connection.

    Every call raises :class:`DomainGoneError`, :class:`AgentTimeoutError`, :class:`StoreError` and
    :class:`AnswerError`; those that return no :class:`Answer` raise :class:`AgentError` for one that tells of a
    failure.

    :param domid: the domain's number.
    :param socket: the daemon's Unix socket, or a xenbus device; without it, where they usually are.
    :param timeout: seconds that the agent has for each answer, and the store for what leads there.
    """

    def __init__(self, domid: int, *, socket: Optional[str] = None, timeout: float = 30.0) -> None:
        if domid < 0:
            raise ValueError(f"The number of a domain is 0 or more, not {domid}")
        if not timeout > 0:
            raise ValueError(f"The timeout must be more than 0 seconds, not {timeout}")
        self.domid = domid
        self.timeout = timeout
        self._socket = socket
        self._home = f"/local/domain/{domid}"
        self._store: Optional[_Store] = None

    def __enter__(self) -> "GuestClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up; the next call connects again."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def call(self, name: str, value: Any = "") -> Answer:
        """Asks for the command ``name`` and returns the answer, be it success or failure.

        :param value: anything that JSON can express.
        :raises RequestTooLargeError: it does not fit into the store.
        """
        content = json.dumps({"name": name, "value": value}).encode()
        return _read_answer(name, self._exchange(name, content, time.monotonic() + self.timeout))

    def version(self) -> str:
        """Returns the agent's version."""
        return self.call("version", "agent").checked()

    def features(self) -> List[str]:
        """Returns the names of the commands that the agent knows."""
        return [name.strip() for name in self.call("features").checked().split(",") if name.strip()]

    def set_password(self, password: str, digest: str = "sha256") -> None:
        """Sets the password of the guest's administrator.

        Agents differ in how they make a key of the exchanged numbers, most know one way only, and none tells which.
        So one is tried, and then the other. Those who expect the other way must not take what they decrypt for a
        password: old ones accept anything whose last byte is at most 16, one time in fifteen. Therefore nothing is
        sent before it is decrypted here in the wrong way and certain to be refused; else keys are exchanged anew.

        :param digest: what is tried first, ``sha256`` or ``md5``.
        :raises ValueError: the password is empty or has several lines, or ``digest`` is neither.
        :raises OpensslError: the program ``openssl`` is missing or fails.
        """
        if digest not in _DIGESTS:
            raise ValueError(f"{digest!r} is none of {', '.join(_DIGESTS)}")
        if not password or set(password) & set("\r\n\0"):
            raise ValueError("A password is one line, and not empty")
        plain = password.encode() + b"\n"  # which old agents expect, and all remove
        failures = []
        for each in sorted(_DIGESTS, key=lambda known: known != digest):
            answer = self._send_password(plain, each)
            if answer.is_success():
                return
            failures.append(answer)
            if answer.code == "404":
                break
        telling = [answer for answer in failures if answer.message != _UNREADABLE_PASSWORD]
        (telling or failures)[0].checked()

    def inject_file(self, path: str, content: bytes) -> None:
        """Makes ``content`` the guest's file ``path``, in the newest way that the agent knows.

        :raises ValueError: the agent knows the old way only, and ``path`` has a comma, which ends it there.
        :raises RequestTooLargeError: there is room for less than 3,000 bytes.
        """
        answer = self.call("features")
        # Who does not even know `features` knows the old way, if any.
        names = answer.message.replace(" ", "").split(",") if answer.is_success() else ["injectfile"]
        name = os.fsencode(path)
        if "file_inject" in names:
            self.call("file_inject", {"b64_path": _base64(name), "b64_file": _base64(content)}).checked()
        elif "injectfile" not in names:
            raise AgentError("404", f"The agent knows neither file_inject nor injectfile, but {', '.join(names)}")
        elif b"," in name:
            raise ValueError(f"{path}: the agent cannot write files with a comma in their path")
        else:
            self.call("injectfile", _base64(name + b"," + content)).checked()

    def reset_network(self) -> str:
        """Makes the guest's network what ``vm-data`` says; returns the agent's message."""
        return self.call("resetnetwork").checked()

    def agent_update(self, url: str, digest: str) -> str:
        """Makes the agent install another version of itself; returns its message.

        :param url: the archive. The guest fetches it.
        :param digest: the MD5 sum of the archive in hexadecimal.
        """
        value: Any = f"{url},{digest}"
        if "," in url:  # the text would be split there
            value = {"url": url, "md5sum": digest}
        return self.call("agentupdate", value).checked()

    def activate_kms(self, activation_key: str, profile: str, domains: Iterable[str]) -> str:
        """Registers the guest with the servers ``domains``; returns the agent's message."""
        value = {"activation_key": activation_key, "profile": profile, "domains": list(domains)}
        return self.call("kmsactivate", value).checked()

    def _send_password(self, plain: bytes, digest: str) -> Answer:
        """Sends it in a way that agents who expect the other digest refuse for certain."""
        (other,) = set(_DIGESTS) - {digest}
        for _ in range(_MOST_EXCHANGES):
            private = _private_number()
            answer = self.call("keyinit", str(pow(_BASE, private, _PRIME)))
            if answer.code != "D0":
                return Answer(answer.code, f"keyinit: {answer.message}")
            public = int(answer.message) if answer.message.strip().isdecimal() else 0
            if not 1 < public < _PRIME - 1:  # which would make a secret that everybody knows
                raise AnswerError(f"keyinit: domain {self.domid} answered no number to exchange keys with")
            shared = str(pow(public, private, _PRIME))
            encrypted = _openssl(plain, shared, digest, "-e")
            if _openssl(encrypted, shared, other, "-d", "-nopad")[-1] > _LARGEST_PADDING:
                return self.call("password", _base64(encrypted))
        raise AnswerError(f"keyinit: domain {self.domid} answers numbers of no use for a password")

    def _exchange(self, name: str, content: bytes, deadline: float) -> bytes:
        """Writes a request and returns the text of the answer; of both nothing stays behind."""
        identifier = str(uuid.uuid4())
        request, answer = f"{self._home}/data/host/{identifier}", f"{self._home}/data/guest/{identifier}"
        store = self._connected(deadline)
        if self._is_gone(store, deadline):
            raise DomainGoneError(f"There is no domain {self.domid}")
        store.check_size(name, request, content)
        try:
            store.watch(answer, deadline)  # before the request, so that no answer is missed
            store.write(name, request, content, deadline)
            data = self._wait_for(store, answer, deadline)
            if data is None:
                was_taken = store.read(request, deadline) is None
                store.remove(request)
                data = store.read(answer, deadline)  # which may have come right now
                if data is None:
                    how = "but something in the guest took the request" if was_taken else "and nobody took the request"
                    raise AgentTimeoutError(
                        f"{name}: no answer from domain {self.domid} within {self.timeout:g} s, {how}", was_taken
                    )
            store.remove(answer)
            return data
        except BaseException:  # which includes Ctrl-C
            store.remove(request)
            raise
        finally:
            store.unwatch(answer)

    def _wait_for(self, store: "_Store", answer: str, deadline: float) -> Optional[bytes]:
        while True:
            path = store.next_event(deadline)
            if path is None:
                return None
            if path == answer:
                data = store.read(answer, deadline)
                if data is not None:
                    return data
            elif self._is_gone(store, deadline):
                raise DomainGoneError(f"Domain {self.domid} went away before it answered")

    def _connected(self, deadline: float) -> "_Store":
        """Returns the connection, or a new one if the daemon hung up since the last call."""
        if self._store is not None:
            self._store.events.clear()  # what they tell is asked for anew
            with suppress(StoreError):
                self._store.read(f"{self._home}/name", deadline)
        if self._store is None or not self._store.is_open:
            store = _Store(_likely_places() if self._socket is None else [self._socket])
            try:
                store.watch(f"{self._home}/name", deadline)
                with suppress(StoreError):  # only domain 0 may
                    store.watch("@releaseDomain", deadline)
            except BaseException:
                store.close()
                raise
            self._store = store
        return self._store

    def _is_gone(self, store: "_Store", deadline: float) -> bool:
        """Whether the domain's name is removed, as tools do at its end, or the daemon knows no such domain."""
        return store.read(f"{self._home}/name", deadline) is None or store.is_introduced(self.domid, deadline) is False


class _Store:
    """A connection to the daemon, for one request at a time, each with a time-out.

    :param paths: where it may be: a socket or a device.
    :raises StoreError: there is none that can be opened.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.events: Deque[str] = deque()
        self.largest = _LARGEST
        self._last_id = 0
        self._unread = b""
        path = next((path for path in paths if os.path.exists(path)), None)
        if path is None:
            raise StoreError(f"There is no XenStore at {' or '.join(paths)}")
        try:
            if stat.S_ISSOCK(os.stat(path).st_mode):
                with socket.socket(socket.AF_UNIX) as connection:
                    # Daemons let one connection wait. A time-out of Python's would make the second fail at once.
                    patience = struct.pack("@ll", int(_GRACE), int(_GRACE % 1 * 1e6))
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
                    connection.connect(path)
                    self._descriptor = connection.detach()
            else:
                self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                self.largest -= _HEADER.size  # a kernel's buffer holds the header too
        except BlockingIOError as error:
            raise StoreError(f"{path}: XenStore does not answer") from error
        except OSError as error:
            raise StoreError(f"{path}: XenStore cannot be reached: {error.strerror or error}") from error
        os.set_blocking(self._descriptor, False)
        self.is_open = True

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            os.close(self._descriptor)

    def check_size(self, name: str, path: str, content: bytes) -> None:
        size = len(path) + 1 + len(content)
        if size > self.largest:
            raise RequestTooLargeError(f"{name}: the request and its path are {size} bytes, {self.largest} fit")

    def read(self, path: str, deadline: float) -> Optional[bytes]:
        """Returns what ``path`` holds, or None if it holds nothing or is not there."""
        try:
            return self._ask(_READ, path.encode() + b"\0", deadline) or None
        except StoreError as error:
            if error.name != "ENOENT":
                raise
            return None

    def write(self, name: str, path: str, content: bytes, deadline: float) -> None:
        try:
            self._ask(_WRITE, path.encode() + b"\0" + content, deadline)
        except StoreError as error:
            if len(content) <= _SURELY_FITTING or error.name not in ("E2BIG", "EINVAL", "ENOSPC", "EQUOTA"):
                raise
            text = f"{name}: {len(content)} bytes are too many for this XenStore, {_SURELY_FITTING} fit anywhere"
            raise RequestTooLargeError(f"{text} ({error.name})", error.name) from error

    def remove(self, path: str) -> None:
        with suppress(StoreError):  # it is not there, or there is nothing else to do about it
            self._ask(_REMOVE, path.encode() + b"\0", 0)

    def watch(self, path: str, deadline: float) -> None:
        self._ask(_WATCH, path.encode() + b"\0host\0", deadline)

    def unwatch(self, path: str) -> None:
        with suppress(StoreError):
            self._ask(_UNWATCH, path.encode() + b"\0host\0", 0)

    def is_introduced(self, domid: int, deadline: float) -> Optional[bool]:
        """Returns whether the daemon knows a domain, whatever became of its nodes; None: it does not say."""
        try:
            return self._ask(_IS_INTRODUCED, b"%d\0" % domid, deadline).startswith(b"T")
        except StoreError as error:
            if not error.name:
                raise
            return None  # only domain 0 may ask

    def next_event(self, deadline: float) -> Optional[str]:
        """Waits until something that is watched has changed, and returns its path; None: nothing has."""
        while time.monotonic() < deadline:  # even if the guest makes one event after the other
            self._take(())
            if self.events:
                return self.events.popleft()
            if self._poll(select.POLLIN, deadline):
                self._receive()
        return None

    def _ask(self, operation: int, content: bytes, deadline: float) -> bytes:
        """Sends one request, in one write as kernels want it, and waits for the answer."""
        if not self.is_open:
            raise StoreError("XenStore hung up")
        deadline = max(deadline, time.monotonic() + _GRACE)
        self._last_id = self._last_id % 0xFFFFFFFF + 1  # 32 bits, and never 0
        message = _HEADER.pack(operation, self._last_id, 0, len(content)) + content
        while message:
            try:
                message = message[os.write(self._descriptor, message) :]
            except BlockingIOError:
                self._poll_or_give_up(select.POLLOUT, deadline)
            except OSError as error:
                raise self._lost(f"XenStore hung up: {error.strerror}") from error
        nameless = (0,) if operation in (_WATCH, _UNWATCH) else ()  # how old kernels answer these
        while True:
            answer = self._take((self._last_id, *nameless))
            if answer is None:
                self._poll_or_give_up(select.POLLIN, deadline)
                self._receive()
            elif isinstance(answer, StoreError):
                raise answer
            else:
                return answer

    def _take(self, ids: Sequence[int]) -> Union[bytes, StoreError, None]:
        """Looks through what has come; keeps events, returns what has one of ``ids``, drops what nobody waits for."""
        while len(self._unread) >= _HEADER.size:
            operation, request_id, _, length = _HEADER.unpack_from(self._unread)
            if length > _LARGEST:
                raise self._lost(f"XenStore sent a message of {length} bytes")
            end = _HEADER.size + length
            if len(self._unread) < end:
                break
            content, self._unread = self._unread[_HEADER.size : end], self._unread[end:]
            if operation == _EVENT:  # its ids mean nothing
                self.events.append(content.split(b"\0")[0].decode(errors="replace"))
            elif request_id in ids:
                if operation != _ERROR:
                    return content
                name = content.rstrip(b"\0").decode(errors="replace")
                return StoreError(f"XenStore refuses: {name}", name)
        return None

    def _receive(self) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._lost(f"XenStore hung up: {error.strerror}") from error
        if not data:
            raise self._lost("XenStore hung up")
        self._unread += data

    def _poll(self, what: int, deadline: float) -> bool:
        waiting = select.poll()
        waiting.register(self._descriptor, what)
        while True:
            remaining = deadline - time.monotonic()
            if waiting.poll(max(0, min(remaining, _LONGEST_WAIT)) * 1000):
                return True
            if remaining <= 0:
                return False

    def _poll_or_give_up(self, what: int, deadline: float) -> None:
        if not self._poll(what, deadline):
            raise self._lost("XenStore does not answer")

    def _lost(self, message: str) -> StoreError:
        self.close()
        return StoreError(message)


def _likely_places() -> List[str]:
    """Returns where the daemon may be: where the environment says, or at one of the usual sockets, or devices."""
    if "XENSTORED_PATH" in os.environ:
        return [os.environ["XENSTORED_PATH"]]
    if "XENSTORED_RUNDIR" in os.environ:
        return [os.path.join(os.environ["XENSTORED_RUNDIR"], "socket")]
    return ["/var/run/xenstored/socket", "/run/xenstored/socket", *_DEVICES]


def _read_answer(name: str, data: bytes) -> Answer:
    try:
        answer = json.loads(data.decode().strip("\0 \t\r\n"))
        code, message = str(answer["returncode"]), str(answer["message"])
    except (ValueError, TypeError, KeyError, RecursionError):
        shown = data.decode(errors="backslashreplace")[:200]
        if name == "password":
            shown = "<removed>"
        raise AnswerError(f"{name}: the answer is not a JSON object with returncode and message: {shown}") from None
    while message.endswith("\\r\\n"):  # the four characters, from agents in Windows
        message = message[:-4]
    return Answer(code, message)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _private_number() -> int:
    return 2 + secrets.randbelow(_PRIME - 4)


def _openssl(data: bytes, passphrase: str, digest: str, *options: str) -> bytes:
    """Returns what AES-128-CBC makes of ``data``; neither it nor the pass phrase is seen in the list of processes."""
    reading, writing = os.pipe()
    try:
        os.write(writing, passphrase.encode() + b"\n")
        os.close(writing)
        command = ["openssl", "enc", "-aes-128-cbc", "-nosalt", "-md", digest, "-pass", f"fd:{reading}", *options]
        done = subprocess.run(
            command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(reading,), timeout=60
        )
    except subprocess.TimeoutExpired:
        raise OpensslError("openssl has not finished within 60 s") from None
    except OSError as error:
        raise OpensslError(f"openssl cannot be run, which encrypts passwords: {error.strerror}") from error
    finally:
        os.close(reading)
    if done.returncode != 0 or not done.stdout:
        text = done.stderr.decode(errors="backslashreplace").strip()
        raise OpensslError(f"openssl enc -md {digest}: exit status {done.returncode}: {text}")
    return done.stdout


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs the command line; returns the exit status, see its help."""
    options = _parse(sys.argv[1:] if arguments is None else list(arguments))
    timeout = getattr(options, "timeout", options.default_timeout)
    try:
        with GuestClient(options.domid, socket=getattr(options, "socket", None), timeout=timeout) as client:
            answer = options.run(client, options)
    except AgentError as error:
        answer = Answer(error.code, error.message)
    except HostError as error:
        return _complain(error, error.status)
    except (ValueError, OSError) as error:  # of what was typed, and of files that it names
        return _complain(error, 2)
    except KeyboardInterrupt:
        return 130
    if getattr(options, "json", False):
        print(json.dumps({"message": answer.message, "returncode": answer.code}))
    elif answer.is_success() and answer.message:
        print(_printable(answer.message, sys.stdout.encoding))
    if answer.is_success():
        return 0
    return _complain(f"{options.command}: {answer.code}: {answer.message}", 1)


def _complain(what: object, status: int) -> int:
    print(_printable(f"{_PROGRAM}: {what}", sys.stderr.encoding), file=sys.stderr)
    return status


def _printable(text: str, encoding: Optional[str]) -> str:
    """Returns a guest's text without what a terminal would obey, or cannot show."""
    seen = "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text
    )
    return seen.encode(encoding or "ascii", "backslashreplace").decode(encoding or "ascii")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="for each answer; default: 30, and 60 for resetnetwork"
    )
    common.add_argument("--socket", metavar="PATH", help="of the XenStore daemon, or a xenbus device")
    common.add_argument("--json", action="store_true", help="print the answer as JSON, failures too")
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        parents=[common],
        description="Asks the agent in a Xen domain, and prints its answer.",
        epilog="Any other COMMAND is sent with the VALUE after it: JSON, or else a string. Exit status: 0 success, "
        "1 the agent failed, 2 wrong use, 3 the agent did not answer in time, 4 there is no such domain (any more), "
        "5 XenStore failed, 6 openssl failed.",
    )
    parser.add_argument("domid", type=int, metavar="DOMID", help="the number of the domain")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    commands.required = True

    def add(name: str, run: Any, help: Optional[str] = None, timeout: float = 30.0) -> argparse.ArgumentParser:
        subparser = commands.add_parser(name, parents=[common], description=help, help=help)
        subparser.set_defaults(run=run, default_timeout=timeout)
        return subparser

    add("version", _run_version, "print the agent's version")
    add("features", _run_features, "print the names of the commands that it knows")
    password = add("password", _run_password, "set the administrator's password")
    password.add_argument("--password-file", metavar="FILE", help="default: ask for it, or read standard input")
    password.add_argument("--digest", choices=_DIGESTS, default=_DIGESTS[0], help="tried first; default: sha256")
    inject = add("injectfile", _run_injectfile, "write a file of the guest")
    inject.add_argument("path", metavar="PATH", help="in the guest")
    inject.add_argument("file", metavar="FILE", help="here, with the content; - reads standard input")
    add("resetnetwork", _run_resetnetwork, "configure the guest's network anew", 60.0)
    update = add("agentupdate", _run_agentupdate, "install another version of the agent")
    update.add_argument("url", metavar="URL", help="of the archive, which the guest fetches")
    update.add_argument("digest", metavar="MD5", help="of the archive, in hexadecimal")
    kms = add("kmsactivate", _run_kmsactivate, "register the guest for updates")
    kms.add_argument("profile", metavar="PROFILE", help="the name to register it under")
    kms.add_argument("domains", metavar="SERVER", nargs="+", help="to register it with")
    kms.add_argument("--key-file", metavar="FILE", help="the activation key; default: ask, or read standard input")

    xapi = add("xapi", _run_xapi, "act as a XAPI host does; more: xapi --help")
    xapi.add_argument("words", nargs=argparse.REMAINDER, metavar="VERB ...")

    # What the options leave of the arguments is DOMID, COMMAND and the rest.
    looking = argparse.ArgumentParser(prog=_PROGRAM, add_help=False, parents=[common])
    looking.add_argument("words", nargs="*")
    words = looking.parse_known_args(arguments)[0].words
    if len(words) > 1 and words[1] not in commands.choices:
        add(words[1], _run_other).add_argument("value", metavar="VALUE", nargs="?", default="")
    return parser.parse_args(arguments)


def _run_version(client: GuestClient, options: argparse.Namespace) -> Answer:
    return Answer("0", client.version())


def _run_features(client: GuestClient, options: argparse.Namespace) -> Answer:
    return Answer("0", "\n".join(client.features()))


def _run_password(client: GuestClient, options: argparse.Namespace) -> Answer:
    client.set_password(_read_secret("password", options.password_file), options.digest)
    return Answer("0", "")


def _run_injectfile(client: GuestClient, options: argparse.Namespace) -> Answer:
    if options.file == "-":
        content = sys.stdin.buffer.read()
    else:
        with open(options.file, "rb") as file:
            content = file.read()
    client.inject_file(options.path, content)
    return Answer("0", "")


def _run_resetnetwork(client: GuestClient, options: argparse.Namespace) -> Answer:
    return Answer("0", client.reset_network())


def _run_agentupdate(client: GuestClient, options: argparse.Namespace) -> Answer:
    return Answer("0", client.agent_update(options.url, options.digest))


def _run_kmsactivate(client: GuestClient, options: argparse.Namespace) -> Answer:
    key = _read_secret("activation key", options.key_file)
    return Answer("0", client.activate_kms(key, options.profile, options.domains))


def _run_xapi(client: GuestClient, options: argparse.Namespace) -> Answer:
    try:  # which is not beside this file where it runs alone
        from guestagent_core import ExchangeError
        from guestagent_xen.host import xapi, xapi_verbs
    except ImportError as error:
        raise ValueError(f"xapi needs the installed package guestagent_xen: {error}") from error
    try:
        with xapi.XapiHost(options.domid, socket=getattr(options, "socket", None)) as host:
            return Answer("0", xapi_verbs.run(host, options.words))
    except ExchangeError as error:
        raise StoreError(str(error)) from error


def _run_other(client: GuestClient, options: argparse.Namespace) -> Answer:
    try:
        value = json.loads(options.value)
    except (ValueError, RecursionError):
        value = options.value
    return client.call(options.command, value)


def _read_secret(name: str, path: Optional[str]) -> str:
    """Returns a secret that was not in the command line, where everybody could see it."""
    if path is None and sys.stdin.isatty():
        secret = getpass.getpass(f"The {name}: ")
        if getpass.getpass("Once more: ") != secret:
            raise ValueError(f"These were two {name}s")
        return secret
    if path is None or path == "-":
        data = sys.stdin.buffer.read()
    else:
        with open(path, "rb") as file:
            data = file.read()
    lines = data.decode().splitlines()
    if len(lines) != 1:
        raise ValueError(f"The {name} has to be one line, and not {len(lines)}")
    return lines[0]


if __name__ == "__main__":
    sys.exit(main())
