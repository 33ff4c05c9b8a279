"""What a guest is: the keys by which a XAPI host shows its system, its name and its memory.

Keys and values are those that XAPI reads into VM_guest_metrics. What cannot be told is left out.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from guestagent_core import __version__

__all__ = ("memory_facts", "system_facts")

GuestPath = Callable[[str], Path]
"""Where a path of the guest lies on this machine, see :meth:`guestagent_core.Context.path`."""

_UNKNOWN = "unknown"  # what hosts are used to where a part of a version is missing
_BALLOON = "/sys/devices/system/xen_memory/xen_memory0"
_LONGEST = 255  # characters of a value


def system_facts(path: GuestPath) -> dict[str, str]:
    """Returns what changes seldom: the agent's version, the operating system, the host name, the balloon driver.

    XAPI takes the agent for present only if all four parts of its version are integers.
    """
    facts = {}
    release = _os_release(path)
    if release:
        major, _, minor = release.get("VERSION_ID", "").partition(".")
        if release.get("ID") == "debian" and not minor:  # which keeps the point release to itself
            minor = _debian_point_release(path)
        facts["data/os_distro"] = release.get("ID", "linux")
        facts["data/os_name"] = release.get("PRETTY_NAME") or release.get("NAME", "Linux")
        facts["data/os_majorver"] = major or _UNKNOWN
        facts["data/os_minorver"] = minor or _UNKNOWN
    facts["data/os_uname"] = platform.release()
    name, _, domain = _host_name(path).partition(".")
    if name:
        facts["data/host_name_dns"] = name
    if domain:
        facts["data/domain"] = domain
    parts = [*(__version__.split(".")), "0", "0"]
    for key, part in zip(("MajorVersion", "MinorVersion", "MicroVersion", "BuildVersion"), parts, strict=False):
        facts[f"attr/PVAddons/{key}"] = part
    facts["attr/PVAddons/Installed"] = "1"
    if path(_BALLOON).exists():  # its key says yes by being there, whatever it holds
        facts["control/feature-balloon"] = "1"
    return {key: _printable(value) for key, value in facts.items()}


def memory_facts(path: GuestPath) -> dict[str, str]:
    """Returns the memory in KiB: all of it, and what programs could still get."""
    sizes = {}
    with suppress(OSError):
        for line in path("/proc/meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            number = rest.split()[:1]
            if number and number[0].isdigit():
                sizes[name] = int(number[0])
    if "MemTotal" not in sizes:
        return {}
    free = sizes.get("MemAvailable", sizes.get("MemFree", 0) + sizes.get("Buffers", 0) + sizes.get("Cached", 0))
    return {"data/meminfo_total": str(sizes["MemTotal"]), "data/meminfo_free": str(free)}


def _os_release(path: GuestPath) -> dict[str, str]:
    """Returns os-release(5) of the guest."""
    for place in ("/etc/os-release", "/usr/lib/os-release"):
        with suppress(OSError):
            return _assignments(path(place).read_text(errors="replace"))
    return {}


def _assignments(text: str) -> dict[str, str]:
    """Returns what a file of shell assignments sets, as far as os-release(5) allows them."""
    found = {}
    for line in text.splitlines():
        matched = re.fullmatch(r"""\s*([A-Z][A-Z0-9_]*)=(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S*))\s*""", line)
        if matched:
            value = next((part for part in matched.groups()[1:] if part is not None), "")
            found[matched[1]] = re.sub(r'\\([\\"$`])', r"\1", value)
    return found


def _debian_point_release(path: GuestPath) -> str:
    with suppress(OSError):
        _, _, minor = path("/etc/debian_version").read_text(errors="replace").strip().partition(".")
        return minor if minor.isdigit() else ""
    return ""


def _host_name(path: GuestPath) -> str:
    """Returns the guest's name: the kernel's where the guest is this machine, else that of its file."""
    if path("/") == Path("/"):
        return os.uname().nodename
    with suppress(OSError):
        return path("/etc/hostname").read_text(errors="replace").strip()
    return ""


def _printable(value: str) -> str:
    return "".join(each for each in value if each.isprintable())[:_LONGEST]
