"""Routes that the model has not, such as those of other tables: they are somebody's own, and stay where they can."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guestagent_commands_net.model import Interface, IPAddress

__all__ = ("still_leads",)


def still_leads(
    gateway: str | None, source: str | None, interface: Interface, version: int, *, on_link: bool = False
) -> bool:
    """Returns whether a route leads somewhere once ``interface`` is what is configured: it reaches the gateway, and has
    the address that packets are said to come from. A text that is no address speaks against nothing.

    :param on_link: whether the gateway is said to be reached whatever the addresses are.
    """
    if interface.dhcp(version):
        return True  # nobody knows yet
    via, own = _address(gateway), _address(source)
    addresses = interface.addresses_of(version)
    near = on_link or via is None or via.is_link_local or any(via in address.network for address in addresses)
    return near and (own is None or any(own == address.ip for address in addresses))


def _address(text: str | None) -> IPAddress | None:
    try:
        return None if text is None else ip_address(text)
    except ValueError:
        return None
