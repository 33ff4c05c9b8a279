"""The context: the only way in which a command touches files, programs, the store and its own call."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import paths
from .calls import Action, Call, Delivery, current_delivery
from .errors import CommandError
from .programs import Programs
from .publications import Publications

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from .commands import CommandSpec
    from .protocols import Store

__all__ = ("Context",)


@dataclass(frozen=True)
class Context:
    """What a command pack is built with.

    What belongs to a running call (:attr:`call`, :attr:`commands`, :attr:`store`, :attr:`deadline`,
    :meth:`after_answer`, :meth:`publish`) is found through the thread that runs it; outside a call it raises
    RuntimeError.
    """

    root: Path = Path("/")
    """The folder that is the guest's ``/``; with another one than ``/`` no service manager is called."""
    options: Any = None
    """The pack's options, an object of its class' ``Options``; None if the class has none."""
    state_dir: Path = Path("/var/lib/guestagent")
    """Where packs keep what must survive a restart: a folder on this machine, not a path of the guest."""
    programs: Programs = field(default_factory=Programs, repr=False)
    publications: Publications = field(default_factory=Publications, repr=False)

    def path(self, guest_path: str | os.PathLike[str], *, follow: bool = True) -> Path:
        """Returns where ``guest_path`` lies on this machine.

        The path may be absolute or relative to the guest's ``/``. Symbolic links are resolved as in a chroot, so that
        none leads out of :attr:`root`; with ``follow=False`` a link in the last place is left as it is.

        :raises OSError: ELOOP, for too many links.
        """
        return paths.resolve(self.root, guest_path, follow=follow)

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] = "/",
        check: bool = True,
    ) -> CompletedProcess[bytes]:
        """Runs a program to its end and returns its exit status and output.

        It runs in a session of its own, with ``PATH=/usr/sbin:/usr/bin:/sbin:/bin``, ``LC_ALL=C`` and ``env`` as its
        whole environment. Of each output stream the first 64 KiB are kept. Programs that it leaves behind go on, unless
        its time is up: then its whole process group is killed.

        :param argv: the program and its arguments. Never put a secret there: everybody can read it. Use ``input``.
        :param input: what the program reads from its standard input.
        :param timeout: in seconds; the deadline of the running call holds in any case.
        :param cwd: the working folder, a path of this machine.
        :param check: whether an exit status other than 0 is an error.
        :raises FileNotFoundError: there is no such program.
        :raises CommandTimeoutError: its time was up.
        :raises CommandError: its exit status was not 0; the text has the end of what it wrote to standard error.
        """
        delivery = current_delivery.get()
        if delivery is not None and delivery.call is not None and delivery.call.deadline is not None:
            remaining = delivery.call.deadline - time.monotonic()
            timeout = remaining if timeout is None else min(timeout, remaining)
        done = self.programs.run(argv, input=input, timeout=timeout, env=env, cwd=cwd)
        if check and done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()[-500:]
            status = f"exit status {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
            raise CommandError(f"{argv[0]} failed with {status}" + (f": {said}" if said else ""))
        return done

    def detach(self, argv: Sequence[str]) -> None:
        """Starts a program that outlives the agent: by ``systemd-run`` under systemd, else orphaned in a new session.

        Its output goes nowhere.

        :raises CommandError: it cannot be started.
        """
        self.programs.detach(argv, service_manager=self.root == Path("/"))

    def after_answer(self, argv: Sequence[str]) -> None:
        """Detaches ``argv``, as :meth:`detach` does, once the answer to the running call has gone out or been lost.

        The journal keeps ``argv`` until then, so that an agent that is killed before it can start the program starts it
        when it runs again, a minute after its start at the latest. It is started at most once. (Commands that are
        idempotent are not journalled, and neither are their programs.)
        """
        self._delivery().actions.append(Action(tuple(argv), self.detach))

    def publish(self, service: str, key: str, value: str) -> None:
        """Lets the host see ``value`` as the status of a service, below ``data/service/SERVICE/KEY``.

        It stays until it is replaced. Where the channel of the running call has no way to show it, it is only logged,
        at the level of debugging. Never publish a secret: whoever may look at the guest from outside sees it.

        :raises ValueError: a name has other characters than ``A-Za-z0-9_@-`` or more than 64, the value has more than
            1024 bytes, or there would be more than 256 values.
        """
        self.publications.publish(self._delivery().store, service, key, value)

    @property
    def call(self) -> Call:
        """The running call."""
        call = self._delivery().call
        assert call is not None
        return call

    @property
    def commands(self) -> Mapping[str, CommandSpec]:
        """What the channel of the running call may run, by name."""
        return self._delivery().commands()

    @property
    def store(self) -> Store:
        """The store of the running call's channel.

        :raises CommandError: the channel has none.
        """
        store = self._delivery().store
        if store is None:
            raise CommandError(f"Channel {self.call.channel!r} has no store")
        return store

    @property
    def deadline(self) -> float:
        """The moment of :func:`time.monotonic`, in seconds, at which the running call should have ended."""
        deadline = self.call.deadline
        assert deadline is not None
        return deadline

    def _delivery(self) -> Delivery:
        delivery = current_delivery.get()
        if delivery is None or delivery.call is None:
            raise RuntimeError("No command is running in this thread")
        return delivery
