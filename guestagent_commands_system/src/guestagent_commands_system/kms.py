"""Registration of a Red Hat system with a proxy of Red Hat Network, as hosts of old ask for it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guestagent_core import CommandError, InvalidArgumentError

from .files import read_file, write_file
from .folders import open_place
from .running import run_program
from .staging import Backups

if TYPE_CHECKING:
    from guestagent_core import Context

__all__ = ("PROGRAM", "SYSTEM_ID_FILE", "UP2DATE_FILE", "Activation", "activate", "is_red_hat", "up2date")

UP2DATE_FILE = "/etc/sysconfig/rhn/up2date"
SYSTEM_ID_FILE = "/etc/sysconfig/rhn/systemid"
PROGRAM = "/usr/sbin/rhnreg_ks"

_BACKUPS = Backups(lambda name, now: f"{name}.{int(now)}.bak~", re.compile(r"\.(\d{1,12})\.bak~"))
_LONGEST = 4096  # characters; an argument of a program may have 128 KiB
_SETTINGS = (
    ("versionOverride", "Override the automatically determined system version", ""),
    ("enableProxyAuth", "To use an authenticated proxy or not", "0"),
    ("networkRetries", "Number of attempts to make at network connections before giving up", "5"),
    ("hostedWhitelist", "None", ""),
    ("enableProxy", "Use a HTTP Proxy", "0"),
    ("serverURL", "Remote server URL", "{https}"),
    ("proxyPassword", "The password to use for an authenticated proxy", ""),
    ("noSSLServerURL", "None", "{http}"),
    ("proxyUser", "The username for an authenticated proxy", ""),
    (
        "disallowConfChanges",
        "Config options that can not be overwritten by a config update action",
        "noReboot;sslCACert;useNoSSLForPackages;noSSLServerURL;serverURL;disallowConfChanges;",
    ),
    ("sslCACert", "The CA cert used to verify the ssl server", "/usr/share/rhn/RHN-ORG-TRUSTED-SSL-CERT"),
    ("debug", "Whether or not debugging is enabled", "0"),
    ("httpProxy", "HTTP proxy in host:port format, e.g. squid.redhat.com:3128", ""),
    ("systemIdPath", "Location of system id", SYSTEM_ID_FILE),
    ("noReboot", "Disable the reboot action", "0"),
)


@dataclass(frozen=True)
class Activation:
    """What ``kmsactivate`` takes."""

    key: str = field(repr=False)
    profile: str
    domains: tuple[str, ...]
    """The proxies' names."""

    @classmethod
    def from_value(cls, value: object) -> Activation:
        """Returns the argument that an object holds.

        :raises InvalidArgumentError: a key is missing, or a value is of no use; the text does not show it.
        """
        if isinstance(value, str):
            raise InvalidArgumentError("string indices must be integers")
        if not isinstance(value, dict):
            raise InvalidArgumentError("Invalid arguments")
        for name in ("activation_key", "profile", "domains"):
            if name not in value:
                raise InvalidArgumentError(f"'{name}'")
        key, profile, domains = value["activation_key"], value["profile"], value["domains"]
        domains = [domains] if isinstance(domains, str) else domains
        for name, text in (("activation_key", key), ("profile", profile)):
            # What no program can be given as an argument is refused before the settings are changed.
            if not isinstance(text, str) or not text or re.search(r"[\0-\x1f\x7f\ud800-\udfff]", text):
                raise InvalidArgumentError(f"{name} has to be a text of one line")
            if len(text) > _LONGEST:
                raise InvalidArgumentError(f"{name} is longer than {_LONGEST} characters")
        # They become part of a settings file.
        if not isinstance(domains, list) or not all(
            isinstance(domain, str) and re.fullmatch(r"[A-Za-z0-9._:\[\]-]{1,260}", domain) for domain in domains
        ):
            raise InvalidArgumentError("domains has to be a host name, or a list of host names")
        return cls(key, profile, tuple(domains))


def is_red_hat(context: Context) -> bool:
    """Returns whether the guest is Red Hat's own distribution, and none of those made of it."""
    release = read_file(context, "/etc/redhat-release").decode(errors="replace")
    if release:
        return release.lower().startswith("red hat")
    system = read_file(context, "/etc/os-release").decode(errors="replace")
    return re.search(r"""(?m)^ID=["']?rhel["']?\s*$""", system) is not None


def up2date(domains: tuple[str, ...]) -> str:
    """Returns the settings file of the program ``up2date`` for these proxies."""
    urls = {scheme: ";".join(f"{scheme}://{domain}/XMLRPC" for domain in domains) + ";" for scheme in ("http", "https")}
    settings = "\n".join(
        f"{name}[comment]={comment}\n{name}={value.format(**urls)}\n" for name, comment, value in _SETTINGS
    )
    return f"# Automatically generated Red Hat Update Agent config file, do not edit.\n# Format: 1.0\n{settings}"


def activate(context: Context, activation: Activation) -> None:
    """Points the system to the proxies, and registers it there.

    The settings stay changed if the registration fails, as hosts know it. The key is an argument of ``rhnreg_ks``,
    which takes it in no other way, and goes nowhere else.

    :raises CommandError: the registration failed.
    :raises OSError: the settings cannot be written; then nothing is changed.
    """
    write_file(context, UP2DATE_FILE, up2date(activation.domains).encode(), _BACKUPS)
    with open_place(context.root, SYSTEM_ID_FILE) as place, suppress(FileNotFoundError):
        os.unlink(place.name, dir_fd=place.folder)
    argv = [str(context.path(PROGRAM)), "--activationkey", activation.key, "--profile", activation.profile, "--force"]
    done = run_program(context, argv)
    if done.returncode != 0:
        raise CommandError(f"Couldn't activate with RHN: {done.returncode}")
