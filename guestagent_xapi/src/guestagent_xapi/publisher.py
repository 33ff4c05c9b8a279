"""The publisher: a thread that keeps what the host sees of the guest true.

XAPI reads everything again whenever something below ``attr`` or ``control`` changes, and does not look at ``data`` by
itself. So what is below ``data`` is written first, and something below ``attr`` or ``control`` last.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from guestagent_commands_net.netlink import Changes, read_state
from guestagent_core import ExchangeError
from guestagent_xen.answering import NO_ROOM
from guestagent_xen.session import SessionLostError, StoreError
from guestagent_xen.watching import Watcher, is_missing, removing, writing

from .addresses import AddressKeys, VifNode, vif_of_links
from .facts import GuestPath, memory_facts, system_facts
from .rivals import running_rival

__all__ = ("Publisher", "PublisherOptions")

_log = logging.getLogger(__name__)
_DOMAIN = "unique-domain-id"
_VIFS, _FUNCTIONS = "device/vif", "xenserver/device/net-sriov-vf"
_MARK = "attr/PVAddons/Installed"  # rewritten to make the host look; missing: the store has been emptied
_NAME = "/proc/sys/kernel/hostname"
_LEAST_INTERVAL = 0.05  # seconds between two looks at the network, which often changes in bursts
_RETRY = 60.0  # seconds after which a full store, or one that failed, is tried again
_FULL = (*NO_ROOM, "E2BIG")
_QUIET = ("data/meminfo_total", "data/meminfo_free")  # the host is not made to look for these


@dataclass(frozen=True)
class PublisherOptions:
    """What ``[hooks.xapi]`` takes."""

    path: Path | None = None
    """A xenbus device or a socket, as for the ``xenstore`` exchange."""
    publish: bool = True
    """Whether the host is told what the guest is and which addresses it has."""
    memory_interval: float = 60.0
    """Seconds between two readings of the memory; 0: it is not published."""
    timeout: float = 5.0
    """Seconds that the daemon has to answer."""

    def __post_init__(self) -> None:
        if self.memory_interval and not self.memory_interval >= 1:
            raise ValueError("memory_interval must be 0, or at least 1 second")
        if self.timeout <= 0:
            raise ValueError("timeout must be more than 0 seconds")


class Publisher:
    """Publishes until it is stopped.

    :param path: where a path of the guest lies.
    :param services: gives what commands have published, by the key below ``data/service``.
    """

    def __init__(self, options: PublisherOptions, path: GuestPath, services: Callable[[], Mapping[str, str]]) -> None:
        self._options = options
        self._path = path
        self._services = services
        self._watcher = Watcher(options.path, (_DOMAIN, _VIFS, _FUNCTIONS), options.timeout)
        self._thread = threading.Thread(target=self._run, name="xapi-publisher", daemon=True)
        self._stopping = False
        self._published: dict[str, str | None] = {}  # what the store holds of ours; None: something, or nothing
        self._refused: dict[str, str] = {}  # keys that the daemon does not take, and the error
        self._system: dict[str, str] = {}
        self._memory: dict[str, str] = {}
        self._addresses = AddressKeys()
        self._address_keys: dict[str, str] = {}
        self._by_mac: dict[str, VifNode] = {}
        self._domain: bytes | None = None
        self._is_known = False  # whether the store has been looked at since it was new
        self._rival: str | None = None

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def services_changed(self) -> None:
        """Has what commands publish written soon. May be called from any thread."""
        self._watcher.wake()

    def stop(self) -> None:
        """Ends the thread; what is published stays."""
        self._stopping = True
        self._watcher.wake()
        self._thread.join()
        self._watcher.close()

    def _run(self) -> None:
        with Changes() as network, self._name_changes() as names:
            descriptors = [(network.fileno(), select.POLLIN), *((name, select.POLLPRI) for name in names)]
            look_at = time.monotonic()  # when memory and system are read next
            looked_at_network = 0.0
            network_changed = True
            self._watcher.wait(0)  # connects
            while not self._stopping:
                try:
                    now = time.monotonic()
                    if self._watcher.connected and not self._is_known:
                        self._learn()
                    if now >= look_at:
                        look_at = now + (self._options.memory_interval or _RETRY)
                        self._look(now)
                    if network_changed:
                        time.sleep(max(0.0, looked_at_network + _LEAST_INTERVAL - now))
                        network.wait(0)
                        looked_at_network = time.monotonic()
                        self._address_keys = self._current_addresses()
                        network_changed = False
                    self._publish()
                except ExchangeError as error:
                    if self._watcher.connected:
                        _log.warning("What the host sees may be out of date: %s", error)
                except OSError:
                    _log.exception("The guest cannot be looked at; it is tried again")
                timed = self._options.memory_interval or self._refused or self._rival
                changes = self._watcher.wait(max(0.0, look_at - time.monotonic()) if timed else None, descriptors)
                if network.fileno() in changes.readable:
                    network.wait(0)  # here: what is above may fail before it comes to that, and then no wait lasts
                    network_changed = True
                if set(changes.readable) & set(names):
                    look_at = 0.0
                if changes.paths:
                    network_changed = True
                    self._forget_vanished(changes.paths)

    @contextmanager
    def _name_changes(self) -> Iterator[list[int]]:
        """Gives the descriptor on which the kernel tells of a new host name, if the guest is this machine."""
        try:
            descriptor = os.open(_NAME, os.O_RDONLY | os.O_CLOEXEC) if self._path("/") == Path("/") else -1
        except OSError:
            descriptor = -1
        try:
            yield [descriptor] if descriptor >= 0 else []
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _look(self, now: float) -> None:
        """Reads what nothing tells of: the system, the memory, other agents; and tries again what was refused."""
        self._system = system_facts(self._path)
        self._memory = memory_facts(self._path) if self._options.memory_interval else {}
        self._refused = {key: error for key, error in self._refused.items() if error not in _FULL}
        rival = running_rival(self._path)
        if rival != self._rival:
            if rival is not None:
                _log.warning("%s runs here and publishes the same: nothing is published until it has ended", rival)
            else:
                _log.info("%s has ended: from now on this agent publishes", self._rival)
                self._forget()
            self._rival = rival

    def _forget_vanished(self, paths: list[str]) -> None:
        """Finds out whether the store is another one, or an emptied one; then all is published again."""
        if _DOMAIN not in paths or not self._is_known:
            return
        with suppress(ExchangeError):
            domain, mark = self._watcher.read_all((_DOMAIN, _MARK))
            if domain != self._domain or (_MARK in self._published and mark is None):
                _log.info("The domain is a new one: everything is published again")
                self._forget()

    def _forget(self) -> None:
        """What the store holds is not known any more: all of it is written again, or removed."""
        self._is_known = False
        self._published = dict.fromkeys(self._published)
        self._refused.clear()

    def _current_addresses(self) -> dict[str, str]:
        self._by_mac = self._devices()
        state = read_state(routes=False)
        return self._addresses.keys(state, vif_of_links(state, self._by_mac, self._path))

    def _devices(self) -> dict[str, VifNode]:
        """Returns the host's network devices by their MAC; what was known if the store cannot be read."""
        with suppress(ExchangeError):
            nodes = [VifNode("vif", number) for number in self._watcher.children(_VIFS)]
            nodes += [VifNode("net-sriov-vf", number) for number in self._watcher.children(_FUNCTIONS)]
            folders = {"vif": _VIFS, "net-sriov-vf": _FUNCTIONS}
            nodes = [node for node in nodes if node.number.isdigit()]
            macs = self._watcher.read_all(f"{folders[node.kind]}/{node.number}/mac" for node in nodes)
            return {
                mac.decode(errors="replace").strip().lower(): node
                for node, mac in zip(nodes, macs, strict=True)
                if mac is not None
            }
        return self._by_mac

    # Writing

    def _publish(self) -> None:
        """Writes what differs from what the store holds.

        :raises ExchangeError: the store cannot be reached.
        """
        if self._rival is not None or not self._is_known or not self._watcher.connected:
            return
        services = {f"data/service/{key}": value for key, value in self._services().items()}
        wanted = {**self._system, **self._memory, **self._address_keys, **services}
        changed = {key: value for key, value in wanted.items() if self._published.get(key) != value}
        gone = [key for key in self._published if key not in wanted and key != "data/updated"]
        changed = {key: value for key, value in changed.items() if key not in self._refused}
        if not changed and not gone:
            return
        if gone or not set(changed) <= set(_QUIET):
            changed["data/updated"] = str(int(time.time()))
            if not any(_is_watched(key) for key in (*changed, *gone)) and _MARK in wanted:
                changed[_MARK] = wanted[_MARK]
        keys = [*gone, *sorted(changed, key=lambda key: (_rank(key), key))]
        keys.sort(key=_rank)
        operations = [writing(key, changed[key]) if key in changed else removing(key) for key in keys]
        try:
            answers = self._watcher.call_all(*operations)
        except SessionLostError:
            self._published.update(dict.fromkeys(keys))  # each is done, or is not
            raise
        for key, answer in zip(keys, answers, strict=True):
            self._take(key, changed.get(key), answer)

    def _take(self, key: str, value: str | None, answer: bytes | StoreError) -> None:
        """Notes what became of one operation."""
        if isinstance(answer, StoreError) and not (value is None and is_missing(answer)):
            if key not in self._refused:
                advice = "; it is tried again every minute" if answer.name in _FULL else ""
                _log.warning("The host will not see %s: %s%s", key, answer.name, advice)
            self._refused[key] = answer.name
        elif value is None:
            del self._published[key]
        else:
            self._published[key] = value

    def _learn(self) -> None:
        """Reads which domain this is, which addresses an earlier run has published, and the indices it gave them.

        :raises ExchangeError: the store cannot be read.
        """
        (self._domain,) = self._watcher.read_all((_DOMAIN,))
        nodes = [VifNode("vif", number) for number in self._watcher.children("attr/vif")]
        nodes += [VifNode("net-sriov-vf", number) for number in self._watcher.children("xenserver/attr/net-sriov-vf")]
        for node in nodes:
            for family in ("ipv4", "ipv6"):
                folder = f"{node.folder}/{family}"
                indices = [index for index in self._watcher.children(folder) if index.isdigit()]
                values = self._watcher.read_all(f"{folder}/{index}" for index in indices)
                for index, value in zip(indices, values, strict=True):
                    if value is not None:
                        self._published[f"{folder}/{index}"] = value.decode(errors="replace")
                        self._addresses.recall(node, family, int(index), value.decode(errors="replace"))
        self._is_known = True


def _rank(key: str) -> int:
    """What the host looks at by itself comes last."""
    return 0 if key.startswith("data/") else 2 if key.startswith("control/") else 1


def _is_watched(key: str) -> bool:
    return _rank(key) > 0 or key.startswith("data/service/")
