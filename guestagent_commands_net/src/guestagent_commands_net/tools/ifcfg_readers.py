"""Who goes by Red Hat's ``ifcfg`` files: the network scripts, NetworkManager, or nobody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .networkmanager_state import IFCFG_PLUGIN, Manager
from .services import runs, started_by, starts_unknown

if TYPE_CHECKING:
    from guestagent_core import Context

__all__ = ("NETWORK_MANAGER", "NETWORK_SCRIPTS", "IfcfgProfile", "Readers", "is_false")

NETWORK_MANAGER, NETWORK_SCRIPTS = "NetworkManager", "network"
"""Those who read the files."""
_SCRIPT = "/etc/sysconfig/network-scripts/ifup-eth"
_SERVICE = "network"
_SERVICE_SCRIPTS = (f"/etc/init.d/{_SERVICE}", f"/etc/rc.d/init.d/{_SERVICE}")
_NUMBER = re.compile(r"-?\d{1,9}")


def is_false(value: str) -> bool:
    """Returns whether a value says no, as both readers take it."""
    return value.lower() in ("no", "n", "false", "f", "0")


@dataclass(frozen=True, slots=True)
class IfcfgProfile:
    """What NetworkManager makes of the file of an interface."""

    is_left: bool
    """Whether it leaves the interface alone because the file says so."""
    autoconnect: bool
    priority: int

    @classmethod
    def of(cls, values: Mapping[str, str]) -> IfcfgProfile:
        """Returns what it makes of a file with ``values``."""
        priority = values.get("AUTOCONNECT_PRIORITY", "")
        return cls(
            is_left=is_false(values.get("NM_CONTROLLED", "")),
            autoconnect=not is_false(values.get("ONBOOT", "")),
            priority=int(priority) if _NUMBER.fullmatch(priority) else 0,
        )


class Readers:
    """Who reads the files: the network scripts, NetworkManager, or nobody."""

    def __init__(self, context: Context) -> None:
        self.manager = Manager(context)
        self._installed = context.path(_SCRIPT).is_file() and any(
            context.path(path).is_file() for path in _SERVICE_SCRIPTS
        )
        link = started_by(context, _SERVICE) if self._installed else None
        self.scripts: str | None = None
        """Why the network scripts are at work, None if they are not."""
        if link is not None:
            self.scripts = f"{link} starts the network scripts"
        elif self._installed and (runs(context, _SERVICE) or starts_unknown(context)):
            self.scripts = "the network scripts are there"

    @property
    def plugin(self) -> str | None:
        """Why NetworkManager reads such files, None if it does not."""
        return "NetworkManager reads such files" if IFCFG_PLUGIN in self.manager.plugins else None

    def reader(self, name: str, values: Mapping[str, str]) -> str:
        """Returns who reads the file of an interface that has ``values``, or would read it."""
        if self.scripts is not None and self._why_not_managed(name, values) is not None:
            return NETWORK_SCRIPTS
        return NETWORK_MANAGER if self.manager.at_work or not self._installed else NETWORK_SCRIPTS

    def why_unused(self, name: str, values: Mapping[str, str]) -> str | None:
        """Returns why nobody reads a file, and what can be done about it; None if somebody does."""
        not_managed = self._why_not_managed(name, values)
        if self.scripts is not None or not_managed is None:
            return None
        there = f"not started (the service {_SERVICE})" if self._installed else "not installed"
        return f"{not_managed}, and the network scripts are {there}: use either"

    def _why_not_managed(self, name: str, values: Mapping[str, str]) -> str | None:
        if not self.manager.at_work:
            return "NetworkManager is not at work"
        if self.plugin is None:
            return f"NetworkManager does not read it (it has no {IFCFG_PLUGIN})"
        if is_false(values.get("NM_CONTROLLED", "")):
            return "it says NM_CONTROLLED=no, which keeps NetworkManager away"
        device = self.manager.devices.get(name)
        return "NetworkManager has it as unmanaged" if device is not None and device.is_unmanaged else None
