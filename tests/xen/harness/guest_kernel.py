"""What a guest's kernel does for XenStore, as a program: ``guest_kernel.py FOLDER DOMID [--old]``.

It keeps the link ``FOLDER/xenbus-DOMID`` to a character device that is like Linux' /dev/xen/xenbus, and passes what is
written there on to the real daemon, through the page that domain and daemon share. Each program that opens the device
has its own: a new one is put in place as soon as somebody opens the last. As Linux does (xenbus_dev_frontend.c):

- The first event of a watch is there before the reply to WATCH, and one pair of path and token may be watched twice.
- Events have no meaning in their request and transaction ids; ``--old``: nor have replies to WATCH and UNWATCH.
- Watches and transactions of a program end when it closes the device.
- A message that is too large is not passed on. Here the program is hung up on; Linux fails its write with EINVAL.
- SIGUSR1, the machine moved to another host: what was asked for is not answered, and all watches are set again.
  SIGUSR2, only the daemon is a new one, which Linux does not notice: the same without the watches.

What it cannot do, because the devices are terminals: lose the second of two requests that come in one write, and keep
two programs apart that open it at the very same moment. Whoever has had an answer has a device of its own.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import selectors
import signal
import struct
import sys
import tty
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

HEADER = struct.Struct("=IIII")  # operation, request id, transaction id, length of what follows
WATCH, UNWATCH, BEGIN, END, EVENT, ERROR = 4, 5, 6, 7, 15, 16  # of Xen's public header io/xs_wire.h
LARGEST = 4096  # bytes of a message with its header, on the device
RING = 1024  # bytes in each direction
PAGE = 4096
FIRST_PORT = 1000  # see hypervisor.c
MEANINGLESS = 0xDEADBEEF
IN_OPEN = 0x20  # of sys/inotify.h
TIOCGPTN, TIOCSPTLCK = 0x80045430, 0x40045431  # of asm-generic/ioctls.h, which the module termios leaves out
_LIBC = ctypes.CDLL(None, use_errno=True)


class Ring:
    """The shared page: requests at 0, answers at RING, and behind them four counters."""

    def __init__(self, folder: Path, domid: int) -> None:
        self._path = folder / f"page-{domid}"
        self._port = struct.pack("=I", FIRST_PORT + domid)
        self.wake = os.open(folder / f"wake-{domid}", os.O_RDWR | os.O_NONBLOCK)
        self._events = os.open(folder / "events", os.O_RDWR)  # outlives the daemon
        self.renew()

    def renew(self) -> None:
        """Maps a new page."""
        with open(self._path, "r+b") as page:
            self._page = memoryview(mmap.mmap(page.fileno(), PAGE))
        self._counters = self._page[2 * RING : 2 * RING + 16].cast("I")  # taken, put; taken, put
        self.unsent = bytearray()
        self._received = bytearray()

    def move(self) -> bool:
        """Moves bytes both ways; returns whether there were any."""
        with suppress(BlockingIOError):
            os.read(self.wake, 4096)
        counters = self._counters
        moved = False
        while room := min((counters[3] - counters[2]) % 2**32, RING - counters[2] % RING):
            start = RING + counters[2] % RING
            self._received += self._page[start : start + room]
            counters[2] = (counters[2] + room) % 2**32
            moved = True
        while room := min(RING - (counters[1] - counters[0]) % 2**32, RING - counters[1] % RING, len(self.unsent)):
            start = counters[1] % RING
            self._page[start : start + room] = self.unsent[:room]
            del self.unsent[:room]
            counters[1] = (counters[1] + room) % 2**32
            moved = True
        if moved:
            os.write(self._events, self._port)
        return moved

    def messages(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Yields what the daemon sent: operation, request id, transaction id, content."""
        while len(self._received) >= HEADER.size:
            operation, request, transaction, length = HEADER.unpack_from(self._received)
            if len(self._received) < HEADER.size + length:
                return
            content = bytes(self._received[HEADER.size : HEADER.size + length])
            del self._received[: HEADER.size + length]
            yield operation, request, transaction, content


class Program:
    """One opening of the device."""

    last = 0

    def __init__(self) -> None:
        Program.last += 1
        self.number = Program.last
        # Opening both ends here, as os.openpty does, would leave this one hung up on.
        self.terminal = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(self.terminal, TIOCSPTLCK, struct.pack("i", 0))
        tty.setraw(self.terminal)
        (number,) = struct.unpack("i", fcntl.ioctl(self.terminal, TIOCGPTN, bytes(4)))
        self.path = f"/dev/pts/{number}"
        self.written = bytearray()
        self.unread = bytearray()
        self.watches: list[bytes] = []
        self.held: dict[bytes, bytes] = {}  # replies to WATCH, until the watch's first event
        self.transactions: set[int] = set()


class Kernel:
    """The device, and all that have it open."""

    def __init__(self, folder: Path, domid: int, old: bool) -> None:
        self._old = old
        self._ring = Ring(folder, domid)
        self._link = folder / f"xenbus-{domid}"
        self._selector = selectors.DefaultSelector()
        self._programs: dict[int, Program] = {}
        self._requests: dict[int, tuple[Program | None, int, int, bytes]] = {}
        self._last_request = 0
        self._inotify = _LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, lambda *_: None)
        for descriptor, handle in (
            (self._ring.wake, lambda: None),
            (self._inotify, self._replace),
            (reader, lambda: self._move_house(reader)),
        ):
            self._selector.register(descriptor, selectors.EVENT_READ, handle)
        self._offer()

    def run(self) -> None:
        print("ready", flush=True)
        while True:
            ready: list[Callable[[], None]] = [key.data for key, _ in self._selector.select()]
            # Whoever has just opened the device must not share it with the next.
            for handle in sorted(ready, key=lambda handle: handle != self._replace):
                handle()
            while self._ring.move():
                for message in self._ring.messages():
                    self._deliver(*message)

    # The device

    def _offer(self) -> None:
        """Puts a device in place for the next program that opens it."""
        program = self._offered = Program()
        self._selector.register(program.terminal, selectors.EVENT_READ, lambda: self._exchange(program))
        self._programs[program.number] = program
        if _LIBC.inotify_add_watch(self._inotify, program.path.encode(), IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify", program.path)
        self._link.with_suffix(".new").symlink_to(program.path)
        self._link.with_suffix(".new").replace(self._link)

    def _replace(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._inotify, 4096)
        self._offer()

    def _exchange(self, program: Program) -> None:
        """Takes what a program wrote, and lets it have what it can read."""
        if program.number not in self._programs:
            return
        with suppress(BlockingIOError):
            try:
                data = os.read(program.terminal, 65536)
            except BlockingIOError:
                raise
            except OSError:  # closed
                data = b""
            if not data:
                self._drop(program)
                return
            program.written += data
        while len(program.written) >= HEADER.size:
            operation, request, transaction, length = HEADER.unpack_from(program.written)
            if HEADER.size + length > LARGEST:
                self._drop(program)
                return
            if len(program.written) < HEADER.size + length:
                break
            content = bytes(program.written[HEADER.size : HEADER.size + length])
            del program.written[: HEADER.size + length]
            if operation in (WATCH, UNWATCH):  # the daemon knows one client only, so the token tells whose it is
                path, token, *_ = content.split(b"\0")
                content = path + b"\0%d:" % program.number + token + b"\0"
                if operation == UNWATCH and content not in program.watches:  # Linux knows without asking
                    self._send(program, ERROR, 0 if self._old else request, transaction, b"ENOENT\0")
                    continue
            self._ask(program, operation, request, transaction, content)
        self._write(program)

    def _drop(self, program: Program) -> None:
        self._selector.unregister(program.terminal)
        del self._programs[program.number]
        os.close(program.terminal)
        for watch in program.watches:
            self._ask(None, UNWATCH, 0, 0, watch)
        for transaction in program.transactions:
            self._ask(None, END, 0, transaction, b"F\0")
        if program is self._offered:
            self._offer()

    def _send(self, program: Program, operation: int, request: int, transaction: int, content: bytes) -> None:
        program.unread += HEADER.pack(operation, request, transaction, len(content)) + content
        self._write(program)

    def _write(self, program: Program) -> None:
        with suppress(OSError):  # full, or closed, which reading tells
            while program.unread:
                del program.unread[: os.write(program.terminal, program.unread)]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if program.unread else 0)
        key = self._selector.get_key(program.terminal)
        if key.events != events:
            self._selector.modify(program.terminal, events, key.data)

    # The daemon

    def _ask(self, program: Program | None, operation: int, request: int, transaction: int, content: bytes) -> None:
        self._last_request = self._last_request % (2**32 - 1) + 1
        self._requests[self._last_request] = program, operation, request, content
        self._ring.unsent += HEADER.pack(operation, self._last_request, transaction, len(content)) + content

    def _deliver(self, operation: int, request: int, transaction: int, content: bytes) -> None:
        if operation == EVENT:
            self._deliver_event(content)
            return
        program, asked, own, said = self._requests.pop(request)
        if program is None:
            return
        if program.number not in self._programs:  # closed meanwhile: what it began ends now
            if asked == operation == BEGIN:
                self._ask(None, END, 0, int(content.rstrip(b"\0")), b"F\0")
            elif asked == operation == WATCH:
                self._ask(None, UNWATCH, 0, 0, said)
            return
        if asked == BEGIN and operation == BEGIN:
            program.transactions.add(int(content.rstrip(b"\0")))
        elif asked == END:
            program.transactions.discard(transaction)
        elif asked in (WATCH, UNWATCH):
            own, transaction = (0, 0) if self._old else (own, transaction)
            if operation == UNWATCH:
                program.watches.remove(said)
            elif operation == WATCH:
                program.watches.append(said)
                program.held[said] = HEADER.pack(operation, own, transaction, len(content)) + content
                return
            elif content == b"EEXIST\0" and asked == WATCH:  # to Linux a second watch like the first is one more
                path, token = said.split(b"\0")[:2]
                self._send(program, EVENT, MEANINGLESS, MEANINGLESS, path + b"\0" + token.partition(b":")[2] + b"\0")
                operation, content = WATCH, b"OK\0"
        self._send(program, operation, own, transaction, content)

    def _deliver_event(self, content: bytes) -> None:
        path, token = content.split(b"\0")[:2]
        number, _, own = token.partition(b":")
        program = self._programs.get(int(number))
        if program is None:
            return
        self._send(program, EVENT, MEANINGLESS, MEANINGLESS, path + b"\0" + own + b"\0")
        program.unread += program.held.pop(path + b"\0" + token + b"\0", b"")
        self._write(program)

    def _move_house(self, reader: int) -> None:
        forgotten = signal.SIGUSR2 in os.read(reader, 4096)
        self._requests.clear()
        self._ring.renew()
        for program in self._programs.values():
            program.transactions.clear()
            program.written.clear()
            program.held.clear()
            if forgotten:
                program.watches.clear()
            for watch in program.watches:
                self._ask(None, WATCH, 0, 0, watch)
        print("ready", flush=True)


if __name__ == "__main__":
    Kernel(Path(sys.argv[1]), int(sys.argv[2]), "--old" in sys.argv[3:]).run()
