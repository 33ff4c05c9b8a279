"""The part of ``guestagent demo`` that shows what a XAPI host sees and sets, on a store that needs no Xen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_core.demo import describe_changes, read_files
from guestagent_core.errors import ExchangeError
from guestagent_xen.devstore import DevelopmentStore
from guestagent_xen.host.xapi import XapiHost

if TYPE_CHECKING:
    from guestagent_core.demo import DemoClient

__all__ = ("XapiDemo", "show_xapi")

_DOMAIN = 7
_PATIENCE = 30.0  # seconds
_LOOK_AGAIN = 0.001  # seconds
_FLAG = "feature-static-ip-setting"
_MAC = "0a:00:00:00:00:01"
_GUEST = {  # a guest with one network card, whose network ifupdown owns
    "sys/class/net/eth0/address": f"{_MAC}\n",
    "sys/class/net/eth0/type": "1\n",
    "usr/sbin/ifup": "#!/bin/false\n",
    "etc/os-release": 'NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13"\n',
    "proc/meminfo": "MemTotal: 1048576 kB\nMemFree: 786432 kB\nMemAvailable: 917504 kB\n",
    "etc/network/interfaces": "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n",
}


class XapiDemo:
    """Shows a XAPI host and a guest that share nothing but a XenStore."""

    _host: XapiHost

    @contextmanager
    def surroundings(self, scratch: Path) -> Iterator[str]:
        """Serves a store with one guest, and gives the guest a network card."""
        for name, text in _GUEST.items():
            file = scratch / "root" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755 if name.startswith("usr/sbin/") else 0o644)
        with DevelopmentStore(scratch / "xenstore") as store:
            path = json.dumps(str(store.add_guest(_DOMAIN)))
            with XapiHost(_DOMAIN, socket=str(store.path)) as host:
                host.make()
                host.plug(0, _MAC)
                self._host = host
                yield (
                    f"[hooks.xapi]\npath = {path}\n"
                    f'[[channel]]\nexchange = "xapi-vif"\nparser = "xapi-vif"\n'
                    f"[channel.options]\npath = {path}\ndevice_timeout = 0\n"  # no such card is in this machine
                )

    def __call__(self, client: DemoClient, root: Path, print: Callable[[str], object]) -> None:
        """Shows what the agent publishes, a setting that is applied, one that is refused, and one taken back."""
        self._await(lambda: bool(self._host.view().memory) and _FLAG in self._host.view().other and self._taken())
        print(f"A XenStore, which this process serves: the host is domain 0, the agent is in domain {_DOMAIN}.")
        print("The agent shows the host what the guest is, and that its addresses can be set:")
        view = self._host.view()
        for name, value in [*view.os_version.items(), *view.memory.items()]:
            print(f"  {name} = {value}")
        print(f"  {_FLAG} = {view.other[_FLAG]}")
        print("The host sets an address (VIF.configure_ipv4):")
        self._set(root, print, "192.0.2.10/24", "192.0.2.1")
        print("A gateway that is none is refused, and everything stays as it was:")
        self._set(root, print, "192.0.2.20/24", "192.0.2.300")
        print("The host takes its setting back, and what was before it comes back:")
        self._set(root, print, None)

    def _set(self, root: Path, print: Callable[[str], object], address: str | None, gateway: str = "") -> None:
        before = _settings(root)
        started = time.perf_counter()
        if address is None:
            self._host.none(0)
        else:
            self._host.static(0, address, gateway)
        self._await(self._taken)
        milliseconds = (time.perf_counter() - started) * 1000
        print(f"  host   {'nothing is set' if address is None else f'{address} via {gateway}'}")
        setting = self._host.setting(0)
        print(f"  agent  {setting['error-code']} {setting['error-msg']!r}   ({milliseconds:.2f} ms)")
        for line in describe_changes(before, _settings(root)):
            print(f"     {line}")

    def _taken(self) -> bool:
        """Whether the agent has tried what was set."""
        return not {"enabled", "enabled6"} & set(self._host.setting(0))

    def _await(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() >= deadline:
                raise ExchangeError(f"The agent has not answered within {_PATIENCE:g} s")
            time.sleep(_LOOK_AGAIN)


def _settings(root: Path) -> dict[str, tuple[str, bytes]]:
    """Returns the guest's configuration files, without what the agent keeps for itself."""
    return {path: file for path, file in read_files(root).items() if path.startswith("/etc/")}


show_xapi = XapiDemo()
