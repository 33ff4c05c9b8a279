"""Checks of the strings that reach files and commands, and the error that says what is wrong with one."""

from __future__ import annotations

import re

from guestagent_core.errors import InvalidArgumentError

__all__ = (
    "NetworkValueError",
    "check_domain",
    "check_hostname",
    "check_mac",
    "check_mtu",
    "check_name",
    "check_option",
    "is_name",
    "safe_label",
)

_NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9][A-Za-z0-9_.:@-]{0,14}\Z")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
_LABEL = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)\Z")
_OPTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+:-]*\Z")


class NetworkValueError(InvalidArgumentError):
    """A value cannot be part of a network's configuration; the text names it."""


def is_name(name: str) -> bool:
    """Returns whether an interface can have the name ``name``."""
    return _NAME.match(name) is not None


def check_name(name: str) -> str:
    """Returns ``name`` if an interface can have it.

    :raises NetworkValueError: it cannot.
    """
    if not is_name(name):
        raise NetworkValueError(f"{name!r} cannot be the name of an interface")
    return name


def check_mac(mac: str) -> str:
    """Returns ``mac`` in lower case.

    :raises NetworkValueError: it is not one.
    """
    lowered = mac.lower()
    if not _MAC.match(lowered):
        raise NetworkValueError(f"{mac!r} is not a MAC address")
    return lowered


def check_hostname(name: str) -> str:
    """Returns ``name`` if it is a host name, of one label or more, as RFC 1123 allows them.

    :raises NetworkValueError: it is not.
    """
    if len(name) > 64 or not all(_LABEL.match(label) and "_" not in label for label in name.split(".")):
        raise NetworkValueError(f"{name!r} is not a host name: letters, digits, hyphens and dots, at most 64")
    return name


def check_domain(domain: str) -> str:
    """Returns ``domain`` if names can be searched in it.

    :raises NetworkValueError: they cannot.
    """
    if len(domain) > 253 or not all(_LABEL.match(label) for label in domain.removesuffix(".").split(".")):
        raise NetworkValueError(f"{domain!r} is not a domain")
    return domain


def safe_label(label: str) -> str | None:
    """Returns ``label`` as it can stand in a comment: one line of printable characters; None if nothing is left.

    A label configures nothing, so one that is odd is no reason to leave a machine without a network.
    """
    kept = "".join(character if character.isalnum() or character in " _.:+@/-" else "_" for character in label.strip())
    return kept.strip()[:64] or None


def check_mtu(mtu: int | None, whose: str, least: int = 68) -> None:
    """Checks that packets can be of ``mtu`` bytes.

    :param whose: what the MTU is of, for the error.
    :raises NetworkValueError: they cannot.
    """
    if mtu is not None and not least <= mtu <= 65535:
        raise NetworkValueError(f"{whose}: MTU {mtu} is not in {least}-65535")


def check_option(key: str, value: str) -> None:
    """Checks that a setting of a bond can be handed on as it is.

    :raises NetworkValueError: it cannot.
    """
    if not (_OPTION.match(key) and all(_OPTION.match(part) for part in value.split(","))):
        raise NetworkValueError(f"{key!r}={value!r} cannot be a setting of a bond")
