"""What the programs that read ``/etc/network/interfaces`` do not have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ("BUSYBOX", "DEBIAN", "NEXT_GENERATION", "Dialect")


@dataclass(frozen=True)
class Dialect:
    """How one program wants it."""

    further: Literal["stanza", "line", "command"] = "stanza"
    """How an address after the first one of its family is said: a stanza, a line, or a command."""
    netmask: bool = False
    """Whether the netmask has a line of its own."""
    gateway_on_link: bool = True
    """Whether every ``gateway`` is taken for one on the link."""
    gateway_metric: bool = True
    """Whether ``metric`` is that of the gateway of the stanza alone."""
    mtu: frozenset[str] = frozenset({"inet static", "inet manual"})
    """The families and methods that take an ``mtu``."""
    dns_in_each: bool = True
    """Whether each stanza hands its own name servers on, and undoes what the one before it has said."""
    router: Literal["option", "executor", "none"] = "option"
    """How router advertisements are asked for; what cannot be said so is a command: ``none`` has nothing else."""
    dhcp6: bool = True
    """Whether there is DHCPv6."""
    bare: bool = False
    """Whether a stanza needs neither a family nor a method: its addresses, and what it uses, say all."""
    members: str = "bond-slaves"
    """The option with the members of a bond."""


DEBIAN = Dialect()
"""ifupdown, as Debian has it."""

NEXT_GENERATION = Dialect(
    further="line",
    gateway_on_link=False,
    gateway_metric=False,
    mtu=frozenset({"inet static", "inet manual", "inet dhcp", "inet6 static", "inet6 manual", "inet6 auto"}),
    dns_in_each=False,
    router="executor",
    dhcp6=False,
    bare=True,
    members="bond-members",
)
"""ifupdown-ng, which makes one of all stanzas of an interface."""

BUSYBOX = Dialect(
    further="command",
    netmask=True,
    gateway_on_link=False,
    mtu=frozenset({"inet static", "inet6 static"}),
    router="none",
    dhcp6=False,
)
"""The ``ifup`` of busybox, which takes one stanza of an interface for each family."""
