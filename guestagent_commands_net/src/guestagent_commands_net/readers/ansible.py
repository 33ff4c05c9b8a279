"""What Ansible's ``xenserver_guest`` publishes: a folder for each virtual interface, a node for each setting."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from guestagent_commands_net import conversions
from guestagent_commands_net.checks import NetworkValueError
from guestagent_commands_net.model import Change, Interface, Route
from guestagent_commands_net.settling import settle

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPInterface, Nic

__all__ = ("read_folders",)

_log = logging.getLogger(__name__)


def read_folders(
    folders: Mapping[str, Mapping[str, str]], nics: Sequence[Nic], *, hostname: str | None = None
) -> Change:
    """Returns the change that ``folders`` ask for: settings by their name, by the number of the virtual interface.

    Only what is named is changed: an interface without a folder stays as it is, and so does an IP version without a
    type. Folders of interfaces that are gone stay behind, and are left out.

    :raises NetworkValueError: a setting is wrong.
    """
    interfaces: list[Interface] = []
    routes: dict[str, Sequence[Route]] = {}
    for number in sorted(folders, key=lambda text: (len(text), text)):
        nic = _nic(number, folders[number], nics)
        if nic is None:
            _log.warning("vm-data/networks/%s is of an interface that is not here", number)
            continue
        interface, wanted = _read_folder(nic, folders[number], f"vm-data/networks/{number}")
        if interface is not None:
            interfaces.append(interface)
            routes[nic.name] = wanted
    return Change(settle(interfaces, routes), whole=False, hostname=hostname)


def _nic(number: str, folder: Mapping[str, str], nics: Sequence[Nic]) -> Nic | None:
    try:
        if folder.get("mac"):
            return conversions.nic_of(folder["mac"], nics)
    except NetworkValueError:
        return None
    return next((nic for nic in nics if nic.physical and str(nic.vif) == number), None)


def _read_folder(nic: Nic, folder: Mapping[str, str], where: str) -> tuple[Interface | None, list[Route]]:
    addresses: list[IPInterface] = []
    routes: list[Route] = []
    dhcp: set[int] = set()
    versions: list[int] = []
    for version, end in ((4, ""), (6, "6")):
        kind = folder.get(f"type{end}", "").lower() or ("static" if folder.get(f"ip{end}") else "")
        if not kind:
            continue
        versions.append(version)
        if kind == "dhcp":
            dhcp.add(version)
        elif kind == "static":
            prefix = folder.get(f"prefix{end}") or folder.get(f"netmask{end}")
            address = folder.get(f"ip{end}", "")
            if not address:
                raise NetworkValueError(f"{where}: 'type{end}' is static, and there is no 'ip{end}'")
            if not prefix and "/" not in address:
                raise NetworkValueError(f"{where}: 'ip{end}' has no 'prefix{end}'")
            addresses.append(conversions.interface_address(address, prefix, version, f"{where}: 'ip{end}'"))
            gateway = folder.get(f"gateway{end}")
            if gateway:  # an empty one takes the gateway away
                routes.append(
                    conversions.default_route(conversions.address(gateway, version, f"{where}: 'gateway{end}'"))
                )
        elif kind != "none":
            raise NetworkValueError(f"{where}: 'type{end}' is {kind[:100]!r}, not none, dhcp or static")
    if not versions:
        return None, []
    interface = Interface(
        nic.name,
        nic.mac,
        label=folder.get("name"),
        addresses=tuple(addresses),
        dhcp4=4 in dhcp,
        dhcp6=6 in dhcp,
        versions=tuple(versions),
    )
    return interface, routes
