"""The ``xapi-vif`` exchange: addresses that the host sets (``VIF.configure_ipv4`` and ``_ipv6``)."""

from __future__ import annotations

import json
import logging
import select
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_commands_net.netlink import Changes, read_state
from guestagent_core import Context, ExchangeError
from guestagent_xen.answering import NO_ROOM
from guestagent_xen.connecting import default_path
from guestagent_xen.session import Operation, StoreError
from guestagent_xen.watching import Watcher, removing, seconds_until, writing

from .static_settings import FAMILIES, FOLDERS, StaticSetting, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent_core import Request, Response

__all__ = ("VifExchange",)

_log = logging.getLogger(__name__)
_DOMAIN = "unique-domain-id"
_FLAG = "control/feature-static-ip-setting"
_LOOK_ANYWAY = 600.0  # seconds after which it is asked again whether somebody owns the network
_FLAG_AGAIN = 60.0  # seconds until a flag that found no room is tried again: asking who owns the network costs time
_AGAIN = 1.0  # seconds until what the daemon refused is tried again: no event tells of more room
_OF_IPV6 = "[ipv6] "  # begins the error texts of this family, for both families share one node
_LONGEST_ERROR = 500  # characters


class VifExchange:
    """Takes each order of the host, for one address family of one network device, as a request; its answer is the
    error code and text beside it, and that ``enabled`` is removed.

    While somebody owns the guest's network, the host sees the flag that lets it give orders. An order for a device that
    is not there yet waits for it.

    :raises ExchangeError: there is no way to XenStore on this machine.
    """

    @dataclass(frozen=True)
    class Options:
        """What ``[channel.options]`` takes."""

        path: Path | None = None
        """A xenbus device or a socket, as for the ``xenstore`` exchange."""
        root: Path = Path("{root}")
        """The guest's ``/``."""
        device_timeout: float = 30.0
        """Seconds for which an order waits for its network device to appear."""
        timeout: float = 5.0
        """Seconds that the daemon has to answer."""

        def __post_init__(self) -> None:
            if self.timeout <= 0 or self.device_timeout < 0:
                raise ValueError("timeout must be more than 0 seconds, device_timeout not less")

    @classmethod
    def available(cls) -> bool:
        """Whether this machine has a way to XenStore."""
        return default_path() is not None

    def __init__(self, options: Options) -> None:
        if (options.path or default_path()) is None:
            raise ExchangeError("There is no way to XenStore on this machine; set the channel's option path")
        self._options = options
        self._watcher = Watcher(options.path, (*FOLDERS.values(), _DOMAIN), options.timeout)
        self._network = Changes()
        self._inbox: deque[Request] = deque()
        self._stale: set[tuple[str, str | None]] = set()  # kinds and numbers of devices to look at; None: all of a kind
        self._open: set[tuple[str, str]] = set()  # devices and families of which a request has been handed out
        self._awaited: dict[tuple[str, str], float] = {}  # those whose device is not there, and until when it may come
        self._look_at = 0.0  # before that nothing is looked at, for the daemon has refused something
        self._flag_at = 0.0  # when the flag is looked at without a reason
        self._closed = False

    def get_request(self) -> Request | None:
        """Returns the next order; its ``id`` is the device and the family."""
        return self._inbox.popleft() if self._inbox else None

    def put_response(self, request: Request, response: Response) -> None:
        """Writes the outcome and removes the order, unless the host has given another one meanwhile.

        :raises ExchangeError: the store cannot be reached, or refuses; the order stays, and is handed out again.
        """
        setting: StaticSetting = request["setting"]
        outcome = json.loads(response["data"])
        self._open.discard((setting.device, setting.family))
        done = False
        try:
            done = self._watcher.transact(lambda transaction: self._ending(setting, outcome, transaction))
        except StoreError:
            self._look_at = time.monotonic() + _AGAIN
            raise
        finally:
            if not done:
                self._look_again(setting)

    def discard(self, request: Request) -> None:
        """Gives the order up for now; it is handed out again when the host or the connection changes."""
        self._open.discard((request["setting"].device, request["setting"].family))

    def wait(self, timeout: float | None) -> bool:
        """Waits until the host has given an order, and reads it; returns whether there is one."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._inbox:
            with suppress(ExchangeError):  # the watcher connects again, and then all is looked at
                self._look()
                if self._inbox:
                    break
            pause = self._pause(deadline)
            descriptors = [(self._network.fileno(), select.POLLIN)] if self._awaited else []
            changes = self._watcher.wait(pause, descriptors)
            self._take(changes.paths)
            if changes.readable:
                self._network.wait(0)
            self._retry_awaited(bool(changes.readable))
            if changes.woken:
                break
            if deadline is not None and time.monotonic() >= deadline:
                with suppress(ExchangeError):
                    self._look()
                break
        return bool(self._inbox)

    def _pause(self, deadline: float | None) -> float | None:
        """Returns the seconds after which there is something to do without an event; None: never."""
        if not self._watcher.connected:  # after a new connection all is looked at
            return seconds_until(deadline)
        due = (max(moment, self._look_at) for moment in self._awaited.values())
        return seconds_until(deadline, self._flag_at, self._look_at if self._stale else None, *due)

    def wake(self) -> None:
        """Ends a ``wait``."""
        self._watcher.wake()

    def close(self) -> None:
        """Takes the flag away and hangs up."""
        if self._closed:
            return
        self._closed = True
        with suppress(ExchangeError):
            self._watcher.call_all(removing(_FLAG))
        self._watcher.close()
        self._network.close()

    # Orders

    def _take(self, paths: Sequence[str]) -> None:
        """Notes what has to be looked at. Our own changes are no exception: of several events of a node one is told."""
        for path in paths:
            if path == _DOMAIN:
                self._flag_at = 0.0
            else:
                for kind, folder in FOLDERS.items():
                    if path == folder:
                        self._stale.add((kind, None))
                    elif path.startswith(folder + "/"):
                        self._stale.add((kind, path[len(folder) + 1 :].partition("/")[0]))

    def _look(self) -> None:
        """Reads the orders that have come, and sets the flag.

        :raises ExchangeError: the store cannot be reached, or refuses.
        """
        if not self._watcher.connected:
            return
        if time.monotonic() >= self._flag_at:
            self._flag_at = time.monotonic() + (_LOOK_ANYWAY if self._set_flag() else _FLAG_AGAIN)
        if time.monotonic() >= self._look_at:
            try:
                self._read_orders()
            except StoreError:
                self._look_at = time.monotonic() + _AGAIN
                raise

    def _read_orders(self) -> None:
        """Reads what has to be looked at; a device that is refused keeps none of the others waiting.

        :raises ExchangeError: the store cannot be reached, or refuses some of it, which stays to be looked at.
        """
        refused = None
        entries = list(self._stale)
        for entry in entries:
            kind, number = entry
            try:
                if number is None:
                    entries += [(kind, each) for each in self._watcher.children(FOLDERS[kind])]
                else:
                    self._read_device(kind, number)
            except StoreError as error:
                self._stale.add(entry)
                refused = error
            else:
                self._stale.discard(entry)
        if refused is not None:
            raise refused

    def _read_device(self, kind: str, number: str) -> None:
        settings = list(read_settings(self._watcher, kind, number))
        for family in FAMILIES.keys() - {setting.family for setting in settings}:
            self._awaited.pop((f"{kind}/{number}", family), None)  # the host has taken its order back
        for setting in settings:
            self._hand_out(setting)

    def _hand_out(self, setting: StaticSetting) -> None:
        key = setting.device, setting.family
        if key in self._open:
            return  # what has come meanwhile is seen when it is answered
        if setting.enabled != "0" and not _is_there(setting.mac):
            until = self._awaited.setdefault(key, time.monotonic() + self._options.device_timeout)
            if time.monotonic() < until:
                return
        self._awaited.pop(key, None)
        self._open.add(key)
        identifier = f"{setting.device}/{setting.family}"
        self._inbox.append({"data": setting.encode(), "id": identifier, "setting": setting})

    def _retry_awaited(self, network_changed: bool) -> None:
        """Looks at orders again whose device may have come, or has not come in time."""
        now = time.monotonic()
        for (device, _), until in self._awaited.items():
            if network_changed or now >= until:
                kind, _, number = device.partition("/")
                self._stale.add((kind, number))

    def _look_again(self, setting: StaticSetting) -> None:
        kind, _, number = setting.device.partition("/")
        self._stale.add((kind, number))

    def _ending(self, setting: StaticSetting, outcome: dict[str, str], transaction: int) -> list[Operation] | None:
        """Returns what ends the order ``setting``; None if it is not the host's last word any more."""
        kind, _, number = setting.device.partition("/")
        if setting not in read_settings(self._watcher, kind, number, transaction):
            return None
        code, text = outcome["error-code"], outcome["error-msg"][:_LONGEST_ERROR]
        (present,) = self._watcher.read_all((f"{setting.folder}/error-msg",), transaction)
        values = {}
        if code != "0":
            values = {"error-code": code, "error-msg": (_OF_IPV6 if setting.family == "ipv6" else "") + text}
        elif present and present.decode(errors="replace").startswith(_OF_IPV6) == (setting.family == "ipv6"):
            values = {"error-code": "0", "error-msg": ""}  # the error of the other family stays
        removed = f"{setting.folder}/enabled{FAMILIES[setting.family]}"
        paths = {f"{setting.folder}/{name}": value for name, value in values.items()}
        return [
            *(writing(path, value, transaction) for path, value in paths.items()),
            removing(removed, transaction),
        ]

    # The flag

    def _set_flag(self) -> bool:
        """Lets the host give orders, or not: the flag is there with the value 1, or not at all.

        :returns: whether there was room for that.
        """
        from guestagent_commands_net import families

        owner = families.owner(Context(self._options.root))
        (present,) = self._watcher.read_all((_FLAG,))
        if owner is not None and present != b"1":
            _log.info("The host may set addresses, which %s applies", owner)
            (answer,) = self._watcher.call_all(writing(_FLAG, "1"))
        elif owner is None and present is not None:
            _log.warning("The host may not set addresses: nothing is known to own the network")
            (answer,) = self._watcher.call_all(removing(_FLAG))
        else:
            return True
        if isinstance(answer, bytes):
            return True
        has_room = answer.name not in NO_ROOM
        _log.warning(
            "The host cannot set addresses: %s%s", answer, "" if has_room else "; it is tried again every minute"
        )
        return has_room


def _is_there(mac: str) -> bool:
    """Whether this machine has a network device with ``mac``."""
    links = read_state(addresses=False, routes=False).values()
    return any(mac in (link.mac, link.permanent_mac) for link in links)
