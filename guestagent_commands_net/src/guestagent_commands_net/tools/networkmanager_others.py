"""Which cards NetworkManager leaves to other tools, or knows by the files of another backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from guestagent_core.errors import CommandError

from .networkmanager_profiles import Profiles, priority_of
from .networkmanager_state import IFCFG_PLUGIN, KEYFILE_PLUGIN, Manager

if TYPE_CHECKING:
    from guestagent_commands_net.model import Nic
    from guestagent_core import Context

    from .ifcfg_readers import IfcfgProfile
    from .sections import SectionsFile

__all__ = ("cards_of_others",)

_IFCFG_FOLDER = "/etc/sysconfig/network-scripts"
_NETPLAN = "netplan-"  # how netplan names the profiles that it writes


def cards_of_others(context: Context, nics: Sequence[Nic], manager: Manager, profiles: Profiles) -> set[str]:
    """Returns the cards that NetworkManager leaves to other tools, or knows by the files of another backend."""
    ifcfg = _read_from_ifcfg(context, nics, manager)
    left = _left_to_ifupdown(context, manager)

    def is_of_others(name: str) -> bool:
        device = manager.devices.get(name)
        of_ifcfg = name in ifcfg and _is_preferred(ifcfg[name], profiles.best(name), manager)
        if device is not None and device.is_held:
            path = manager.file_of(name)
            # An old one does not tell by which file.
            by_ifcfg = of_ifcfg if path is None else path.startswith(f"{_IFCFG_FOLDER}/")
            # Profiles that NetworkManager has handed over to netplan keep their names.
            by_netplan = path is not None and path.rpartition("/")[2].startswith(_NETPLAN)
            return by_ifcfg or by_netplan or device.profile.startswith(_NETPLAN)
        of_netplan = [_is_netplans(each) for each in profiles.of(name)]
        return of_ifcfg or (bool(of_netplan) and all(of_netplan)) or (name in left and device is None)

    return {nic.name for nic in nics if is_of_others(nic.name)}


def _read_from_ifcfg(context: Context, nics: Sequence[Nic], manager: Manager) -> Mapping[str, IfcfgProfile]:
    """Returns the cards whose profiles it reads from Red Hat's old files, which are another backend's."""
    if not context.path(_IFCFG_FOLDER).is_dir() or IFCFG_PLUGIN not in manager.plugins:
        return {}
    from .ifcfg import Ifcfg

    return Ifcfg().profiles(context, nics)


def _is_preferred(file: IfcfgProfile, profile: SectionsFile | None, manager: Manager) -> bool:
    """Whether it goes by one of Red Hat's files, and not by a profile of its own: the one that is to connect by itself,
    of two the one with the higher priority, of equal ones that of the part which is named first.
    """
    if file.is_left or profile is None:
        return True
    autoconnect = profile.get("connection", "autoconnect") != "false"
    first = manager.plugins.index(IFCFG_PLUGIN) < manager.plugins.index(KEYFILE_PLUGIN)
    return (file.autoconnect, file.priority, first) > (autoconnect, priority_of(profile), not first)


def _left_to_ifupdown(context: Context, manager: Manager) -> set[str]:
    """Returns the cards that it keeps its hands off because Debian's file names them; where it runs it says so."""
    if manager.devices or not manager.leaves_to_ifupdown:
        return set()
    from .ifupdown import Ifupdown

    backend = Ifupdown()
    try:
        files = backend.parse(backend.gather(context, ()).files)
    except CommandError:
        return set()  # whoever is to configure a card by it says so
    return {name for file in files.values() for name in file.names()}


def _is_netplans(profile: SectionsFile) -> bool:
    return profile.path.rpartition("/")[2].startswith(_NETPLAN)
