"""Routes that the model has not, such as those of other tables: they are somebody's own, and stay where they can."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guestagent_commands_net.model import Interface

__all__ = ("still_leads",)


def still_leads(gateway: str | None, source: str | None, interface: Interface, version: int) -> bool:
    """Returns whether ``interface`` reaches a gateway, and has the address that packets are said to come from."""
    if interface.dhcp(version):
        return True  # nobody knows yet
    try:
        via, own = (None if text is None else ip_address(text) for text in (gateway, source))
    except ValueError:
        return True
    addresses = interface.addresses_of(version)
    near = via is None or via.is_link_local or any(via in address.network for address in addresses)
    return near and (own is None or any(own == address.ip for address in addresses))
