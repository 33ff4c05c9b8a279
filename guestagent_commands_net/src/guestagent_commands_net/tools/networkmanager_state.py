"""What NetworkManager has in its hands, and which files it reads: for all backends that share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_commands_net.reading import find_files, program, read_text
from guestagent_core.errors import CommandError

from .sections import SectionsFile
from .services import started_by
from .shell_variables import ShellVariables

if TYPE_CHECKING:
    from guestagent_core import Context

__all__ = ("IFCFG_PLUGIN", "KEYFILE_PLUGIN", "Device", "Manager", "settings_plugins")

IFCFG_PLUGIN, KEYFILE_PLUGIN = "ifcfg-rh", "keyfile"
"""The parts that read profiles from Red Hat's old files, and from its own."""
_IFUPDOWN_PLUGIN = "ifupdown"
_PLUGINS = ("main", "plugins")

_MAIN = "/etc/NetworkManager/NetworkManager.conf"
_CONFIG_FOLDERS = ("/usr/lib/NetworkManager/conf.d", "/run/NetworkManager/conf.d", "/etc/NetworkManager/conf.d")
_SERVICES = ("NetworkManager", "networkmanager", "network-manager")  # Alpine's, and that of Devuan's scripts
_PLUGIN_FOLDERS = ("/usr/lib*/NetworkManager", "/usr/lib*/NetworkManager/*", "/usr/lib/*/NetworkManager/*")
_FALSE = ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Device:
    """What NetworkManager says of an interface."""

    state: str
    """Such as ``connected``, ``disconnected`` or ``unmanaged``."""
    uuid: str = ""
    """Of the profile that is active on it."""
    profile: str = ""
    """The name of that profile."""

    @property
    def is_held(self) -> bool:
        """Whether it was NetworkManager that configured it: ``connected (externally)`` means that it only looks on."""
        return self.state == "connected" or self.state.startswith("connecting")

    @property
    def is_unmanaged(self) -> bool:
        """Whether NetworkManager is told to keep its hands off it."""
        return self.state == "unmanaged"


class Manager:
    """NetworkManager as it is at this moment; what is asked of it is asked once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.is_installed = all(program(context, name) is not None for name in ("NetworkManager", "nmcli"))

    @cached_property
    def devices(self) -> Mapping[str, Device]:
        """What it says of all interfaces, by name; nothing if it does not run."""
        here = self._context.root == Path("/") and self.is_installed
        if not here or not self._context.path("/run/NetworkManager").is_dir():
            return {}
        # Nothing is escaped, so what may hold a colon comes last.
        lines = self._ask("DEVICE,STATE,CON-UUID,CONNECTION", "device")
        fields = ((*line.split(":", 3), "", "", "")[:4] for line in lines)
        return {name: Device(state, uuid, profile) for name, state, uuid, profile in fields}

    @cached_property
    def at_work(self) -> bool:
        """Whether it runs; below another root, whether it is started with the guest."""
        if self._context.root == Path("/"):
            return bool(self.devices)
        return self.is_installed and started_by(self._context, *_SERVICES) is not None

    @cached_property
    def plugins(self) -> tuple[str, ...]:
        """What reads its profiles, as :func:`settings_plugins` says; nothing if it is not at work."""
        return settings_plugins(self._context) if self.at_work else ()

    @cached_property
    def leaves_to_ifupdown(self) -> bool:
        """Whether it keeps its hands off what Debian's ``/etc/network/interfaces`` names."""
        managed = _settings(self._context).get(("ifupdown", "managed"), "false")
        return _IFUPDOWN_PLUGIN in self.plugins and managed.lower() in _FALSE

    def file_of(self, name: str) -> str | None:
        """Returns the file by which it has configured an interface; None if it has not, or does not tell.

        An old one has no way to tell.
        """
        device = self.devices.get(name)
        return self._files.get(device.uuid) if device is not None and device.is_held else None

    @cached_property
    def _files(self) -> dict[str, str]:
        lines = self._ask("UUID,FILENAME", "connection", "show", "--active")
        return {uuid: path for uuid, _, path in (line.partition(":") for line in lines)}

    def _ask(self, fields: str, *words: str) -> list[str]:
        argv = ("nmcli", "--terse", "--escape", "no", "--fields", fields, *words)
        return self._context.run(argv, timeout=10, check=False).stdout.decode(errors="replace").splitlines()


def settings_plugins(context: Context) -> tuple[str, ...]:
    """Returns the parts of NetworkManager that read profiles, by name, in the order in which they are preferred.

    As it does itself: by ``plugins`` in the section ``main`` of its files, with ``keyfile`` after all that are named,
    and without what is not installed.
    """
    chosen = _settings(context).get(_PLUGINS)
    names = _default_plugins(context) if chosen is None else _list(chosen)
    return tuple(
        name
        for name in dict.fromkeys((*names, KEYFILE_PLUGIN))
        if name == KEYFILE_PLUGIN or _is_installed(context, name)
    )


def _settings(context: Context) -> dict[tuple[str, str], str]:
    """What all files together say, by section and key."""
    found: dict[tuple[str, str], str] = {}
    for path in _config_files(context):
        try:
            file = SectionsFile(path, read_text(context, path))
        except CommandError:
            continue
        if (file.get(".config", "enable") or "").lower() in _FALSE:
            continue
        for section in file.sections:
            for key, value in section.items():
                before = _list(found.get((section.name, key[:-1]), ""))
                if key.endswith("+"):
                    found[section.name, key[:-1]] = ",".join(dict.fromkeys((*before, *_list(value))))
                elif key.endswith("-"):
                    found[section.name, key[:-1]] = ",".join(each for each in before if each not in _list(value))
                else:
                    found[section.name, key] = value
    return found


def _config_files(context: Context) -> list[str]:
    """The files in the order in which they are read; one of a name hides that of a weaker folder."""
    found: dict[str, list[str]] = {}
    hidden: set[str] = set()
    for folder in reversed(_CONFIG_FOLDERS):
        paths = [path for path in find_files(context, f"{folder}/*.conf") if path.rpartition("/")[2] not in hidden]
        hidden |= {path.rpartition("/")[2] for path in paths}
        found[folder] = paths
    lib, run, etc = (found[folder] for folder in _CONFIG_FOLDERS)
    return [*lib, *run, _MAIN, *etc]


def _list(value: str) -> list[str]:
    return [each.strip() for each in value.split(",") if each.strip()]


def _is_installed(context: Context, name: str) -> bool:
    return any(find_files(context, f"{folder}/libnm-settings-plugin-{name}.so") for folder in _PLUGIN_FOLDERS)


def _default_plugins(context: Context) -> tuple[str, ...]:
    """What it was built to read where no file says so. Red Hat turned the order round with Fedora 33 and RHEL 9."""
    release = ShellVariables(read_text(context, "/etc/os-release")).values()
    version = release.get("VERSION_ID", "").partition(".")[0]
    new = 33 if release.get("ID") == "fedora" else 9
    if version.isdecimal() and int(version) < new:
        return (IFCFG_PLUGIN, KEYFILE_PLUGIN)
    return (KEYFILE_PLUGIN, IFCFG_PLUGIN)
