"""What a XAPI host does to a guest's XenStore: for tests and laboratories without a XAPI host.

Each function does what xenopsd does for one event of a domain's life, operation for operation: the same nodes, in the
same transactions, with the same permissions. ``guestagent-xen-host DOMID xapi ...`` is its command line.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pyxs._internal import Op

from guestagent_core import ExchangeError
from guestagent_xen.session import Operation
from guestagent_xen.watching import Watcher, removing, writing

__all__ = ("GuestView", "ScriptOutcome", "XapiHost")

_GUEST_OWNED = ("device", "device/vif", "feature", "error", "drivers", "control", "attr", "xenserver/attr", "data",
                "messages", "vm-data")  # fmt: skip
_HOST_OWNED = ("cpu", "memory")
_LONGEST_SCRIPT = 1024  # bytes
_ENDED = ("SUCCESS", "TRUNCATED", "FAILURE")
_NUMBER = re.compile(r"-?[0-9]{1,18}")  # what the guest writes as one may be anything


class ScriptOutcome(NamedTuple):
    """What became of a script."""

    state: str
    """``SUCCESS``, ``TRUNCATED`` or ``FAILURE``."""
    returned: int | None
    stdout: str
    stderr: str


class GuestView(NamedTuple):
    """What XAPI shows of a guest, made of the store as XAPI makes it (VM_guest_metrics)."""

    pv_drivers_version: Mapping[str, str]
    os_version: Mapping[str, str]
    networks: Mapping[str, str]
    other: Mapping[str, str]
    services: Mapping[str, str]
    memory: Mapping[str, str]


class XapiHost:
    """Acts on one domain. One thread at a time may use it.

    :param domid: the domain's number.
    :param socket: the daemon's socket; without it, where it usually is.
    :param timeout: seconds that the daemon has to answer.
    """

    def __init__(self, domid: int, *, socket: str | None = None, timeout: float = 5.0) -> None:
        self.domid = domid
        self._home = f"/local/domain/{domid}"
        self._watcher = Watcher(None if socket is None else Path(socket), (), timeout)
        self._watcher.wait(0)  # connects

    def __enter__(self) -> XapiHost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up."""
        self._watcher.close()

    # The domain

    def make(self, *, libxl: bool = False) -> str:
        """Makes the domain's tree, as for a new domain, and returns its ``unique-domain-id``.

        :param libxl: whether ``control`` and ``vm-data`` are the host's alone, as with other toolstacks.
        """
        identifier = str(uuid.uuid4())
        hosts = ("control", "vm-data") if libxl else ()

        def tree(transaction: int) -> Iterator[Operation]:
            yield from self._folder("", transaction, guest_owned=False)
            for name in (*_HOST_OWNED, *_GUEST_OWNED):
                yield from self._folder(name, transaction, guest_owned=name in _GUEST_OWNED and name not in hosts)
            values = {
                "domid": str(self.domid),
                "control/platform-feature-multiprocessor-suspend": "1",
                "control/platform-feature-xs_reset_watches": "1",
                "control/has-vendor-device": "0",
                "unique-domain-id": identifier,
                "memory/target": "1048576",
                "memory/static-max": "1048576",
            }
            yield from (self._writing(name, value, transaction) for name, value in values.items())

        self._transact(tree)
        return identifier

    def resume(self, macs: Mapping[int, str]) -> str:
        """Makes the tree anew, as a resume or a migration does: what the guest had written is gone.

        :param macs: the network devices that are plugged again, by number.
        :returns: the new ``unique-domain-id``.
        """

        def gone(transaction: int) -> Iterator[Operation]:
            for name in ("attr", "data", "control", "xenserver", "vm-data"):
                yield self._removal(name, transaction)

        self._transact(gone)
        identifier = self.make()
        for number, mac in macs.items():
            self.plug(number, mac)
        return identifier

    def plug(self, number: int, mac: str, settings: Mapping[str, str] | None = None, kind: str = "vif") -> None:
        """Plugs a network device; the settings that XAPI knows of it come with it.

        :param settings: keys below ``static-ip-setting`` that differ from those of a device without a setting.
        :param kind: ``vif``, or ``net-sriov-vf`` for a virtual function of a physical card.
        """
        device = f"xenserver/device/{kind}/{number}"

        def plugged(transaction: int) -> Iterator[Operation]:
            if kind == "vif":
                yield from self._folder(f"device/vif/{number}", transaction, guest_owned=True)
                yield self._writing(f"device/vif/{number}/mac", mac, transaction)
            yield from self._folder(device, transaction, guest_owned=True)
            if kind != "vif":
                yield self._writing(f"{device}/mac", mac, transaction)
            values = {"mac": mac, "error-code": "0", "error-msg": "", "enabled": "0", "enabled6": "0"}
            for name, value in {**values, **(settings or {})}.items():
                yield self._writing(f"{device}/static-ip-setting/{name}", value, transaction)

        self._transact(plugged)

    def unplug(self, number: int, kind: str = "vif") -> None:
        """Takes a network device away."""
        for name in (f"device/vif/{number}", f"xenserver/device/{kind}/{number}"):
            self._watcher.call_all(self._removal(name))

    # Settings

    def static(self, number: int, address: str, gateway: str = "", *, family: int = 4, kind: str = "vif") -> None:
        """Sets an address, as ``VIF.configure_ipv4`` and ``_ipv6`` with the mode static do.

        :param address: with its prefix length.
        :param gateway: empty: none.
        """
        self._configure(number, "1", {"address": address, "gateway": gateway}, family, kind)

    def dhcp(self, number: int, *, family: int = 4, kind: str = "vif") -> None:
        """Has the guest use DHCP, or autoconfiguration for IPv6."""
        self._configure(number, "2", {"address": "", "gateway": ""}, family, kind)

    def none(self, number: int, *, family: int = 4, kind: str = "vif") -> None:
        """Takes back what was set."""
        self._configure(number, "0", {"address": "", "gateway": ""}, family, kind)

    def _configure(self, number: int, mode: str, values: Mapping[str, str], family: int, kind: str) -> None:
        suffix = {4: "", 6: "6"}[family]
        folder = f"xenserver/device/{kind}/{number}/static-ip-setting"

        def configured(transaction: int) -> Iterator[Operation]:
            yield self._writing(f"{folder}/enabled{suffix}", mode, transaction)
            for name, value in values.items():
                path = f"{folder}/{name}{suffix}"
                yield self._writing(path, value, transaction) if value else self._removal(path, transaction)

        self._transact(configured)

    def setting(self, number: int, kind: str = "vif") -> dict[str, str]:
        """Returns what stands below ``static-ip-setting`` of a device."""
        return self._values(f"xenserver/device/{kind}/{number}/static-ip-setting")

    def set_data(self, values: Mapping[str, str]) -> None:
        """Makes ``vm-data`` what ``values`` says, as ``VM.set_xenstore_data`` of a running machine does."""

        def replaced(transaction: int) -> Iterator[Operation]:
            yield self._removal("vm-data", transaction)
            for name, value in values.items():
                yield self._writing(f"vm-data/{name.removeprefix('vm-data/')}", value, transaction)

        self._transact(replaced)

    # Scripts

    def script(self, text: str, timeout: float = 86400.0) -> ScriptOutcome:
        """Has the guest run a script, and waits for its end, as ``xe vm-call-plugin fn:run-script`` does.

        :raises ValueError: it has more than 1,024 bytes.
        :raises ExchangeError: the guest does not take scripts, or a former one has not ended.
        :raises TimeoutError: it has not ended in time; the request is taken back.
        """
        if len(text.encode()) > _LONGEST_SCRIPT:
            raise ValueError(f"A script has at most {_LONGEST_SCRIPT} bytes")
        if self._read("control/feature-xs-batcmd") is None:
            raise ExchangeError("The guest does not take scripts, or is still booting")
        state = self._read("control/batcmd/state")
        if state == "IN PROGRESS":
            raise ExchangeError("A former script of this guest has not ended")
        if state:
            self._watcher.call_all(self._removal("control/batcmd"))

        def asked(transaction: int) -> Iterator[Operation]:
            yield self._writing("control/batcmd/script", text, transaction)
            yield self._writing("control/batcmd/state", "READY", transaction)

        with self._watching("control/batcmd/state") as next_change:
            self._transact(asked)
            deadline = time.monotonic() + timeout
            while (state := self._read("control/batcmd/state")) not in _ENDED:
                if state is None:
                    raise ExchangeError("The script has been taken back")
                if not next_change(deadline - time.monotonic()):
                    self._watcher.call_all(self._removal("control/batcmd"))
                    raise TimeoutError(f"The script has not ended within {timeout:g} s")
            values = self._values("control/batcmd")
            self._watcher.call_all(self._removal("control/batcmd"))
        returned = values.get("return", "")
        return ScriptOutcome(
            state or "",
            int(returned) if _NUMBER.fullmatch(returned) else None,
            values.get("stdout", ""),
            values.get("stderr", ""),
        )

    # What XAPI shows

    def view(self) -> GuestView:
        """Returns what XAPI would show, with its limits: how deep it reads, and what it makes of addresses."""
        data, control = self._values("data"), self._values("control")
        version = self._values("attr/PVAddons")
        names = ("MajorVersion", "MinorVersion", "MicroVersion", "BuildVersion")
        drivers = {name.removesuffix("Version").lower(): version[name] for name in names if name in version}
        if not all(_NUMBER.fullmatch(part) for part in drivers.values()) or "major" not in drivers:
            drivers = {}
        systems = {name.removeprefix("os_").replace("ver", ""): text for name, text in data.items()
                   if name in ("os_name", "os_uname", "os_distro", "os_majorver", "os_minorver")}  # fmt: skip
        host = {}
        if "host_name_dns" in data:
            host["host_name"] = ".".join(part for part in (data["host_name_dns"], data.get("domain")) if part)
        services = {}
        for service in self._children("data/service"):
            services.update({f"{service}/{key}": text for key, text in self._values(f"data/service/{service}").items()})
        memory = {name: text for name, text in data.items() if name in ("meminfo_total", "meminfo_free")}
        other = {**control, **{f"data-{name}": text for name, text in data.items() if name == "ts"}}
        networks = {**self._networks("xenserver/attr/net-sriov-vf"), **self._networks("attr/vif")}
        return GuestView(drivers, {**systems, **host}, networks, other, services, memory)

    def _networks(self, folder: str) -> dict[str, str]:
        """Returns the addresses; one index that is no number makes those of its device vanish, as in XAPI."""
        networks: dict[str, str] = {}
        for number in self._children(folder):
            of_device: dict[str, str] = {}
            for family in ("ipv4", "ipv6"):
                values = self._values(f"{folder}/{number}/{family}")
                if not all(_NUMBER.fullmatch(index) for index in values):
                    of_device = {}
                    break
                for position, index in enumerate(sorted(values, key=int)):
                    of_device[f"{number}/{family}/{index}"] = values[index]
                    if family == "ipv4" and not position:
                        of_device[f"{number}/ip"] = values[index]
            networks.update(of_device)
        return networks

    # The store

    def _folder(self, name: str, transaction: int, *, guest_owned: bool) -> Iterator[Operation]:
        path = f"{self._home}/{name}".rstrip("/").encode() + b"\0"
        permissions = f"n{self.domid}\0" if guest_owned else f"n0\0r{self.domid}\0"
        yield Operation(Op.MKDIR, path, transaction)
        yield Operation(Op.SET_PERMS, path + permissions.encode(), transaction)

    def _writing(self, name: str, value: str, transaction: int = 0) -> Operation:
        return writing(f"{self._home}/{name}", value, transaction)

    def _removal(self, name: str, transaction: int = 0) -> Operation:
        return removing(f"{self._home}/{name}", transaction)

    def _transact(self, operations: Callable[[int], Iterator[Operation]]) -> None:
        self._watcher.transact(lambda transaction: list(operations(transaction)))

    def _read(self, name: str) -> str | None:
        value = self._watcher.read(f"{self._home}/{name}")
        return None if value is None else value.decode(errors="replace")

    def _children(self, name: str) -> list[str]:
        return self._watcher.children(f"{self._home}/{name}")

    def _values(self, name: str) -> dict[str, str]:
        """Returns the values directly below a node."""
        children = self._children(name)
        values = self._watcher.read_all(f"{self._home}/{name}/{child}" for child in children)
        return {
            child: value.decode(errors="replace")
            for child, value in zip(children, values, strict=True)
            if value is not None
        }

    @contextmanager
    def _watching(self, name: str) -> Iterator[Callable[[float], bool]]:
        """Gives what waits for a change of ``name`` and returns whether there was one in time."""
        path = f"{self._home}/{name}"
        watcher = Watcher(self._watcher.path, (path,))
        try:
            watcher.wait(0)
            yield lambda timeout: bool(timeout > 0 and watcher.wait(timeout).paths)
        finally:
            watcher.close()
