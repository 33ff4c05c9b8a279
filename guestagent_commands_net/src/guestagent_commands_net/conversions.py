"""Values as hosts write them, turned into those of :mod:`ipaddress` and of the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Any

from .checks import NetworkValueError
from .model import Route

if TYPE_CHECKING:
    from .model import IPAddress, IPInterface, IPNetwork, Nic

__all__ = (
    "address",
    "boolean",
    "default_route",
    "interface_address",
    "items",
    "network",
    "nic_of",
    "number",
    "prefix_length",
)


def nic_of(mac: Any, nics: Iterable[Nic]) -> Nic:
    """Returns the network card with the address ``mac``, in whatever case it is written.

    :raises NetworkValueError: there is none; the text is the one that hosts know.
    """
    wanted = str(mac).strip().lower().replace("-", ":")
    found = [nic for nic in nics if nic.mac == wanted and nic.physical]
    if not found:
        raise NetworkValueError(f"Unknown interface MAC {wanted}")
    if len(found) > 1:
        raise NetworkValueError(f"MAC {wanted} is that of several interfaces: {', '.join(nic.name for nic in found)}")
    return found[0]


def address(value: Any, version: int | None, what: str) -> IPAddress:
    """Returns an address.

    :param version: the version of IP that it has to be of; None: any.
    :param what: what it is, for the error.
    :raises NetworkValueError: it is not an address.
    """
    text = str(value).strip()
    found: IPAddress | None
    try:
        found = ip_address(text)
    except ValueError:
        found = None
    if found is None or "%" in text or (version is not None and found.version != version):
        raise NetworkValueError(f"{what}: {text[:100]!r} is not an {_ip(version)} address")
    return found


def interface_address(value: Any, prefix: Any, version: int | None, what: str) -> IPInterface:
    """Returns an address and the length of its network's prefix, which may also stand behind the address.

    :param prefix: a length or a mask; None: as it stands behind the address, else a whole address' length.
    :raises NetworkValueError: it is not an address.
    """
    text, slash, length = str(value).strip().partition("/")
    found = address(text, version, what)
    if prefix is None or prefix == "":
        prefix = length if slash else found.max_prefixlen
    return ip_interface(f"{found}/{prefix_length(prefix, found.version, what)}")


def network(value: Any, prefix: Any, what: str) -> IPNetwork:
    """Returns a network; bits of the address behind the prefix are dropped. The parameters are those of
    :func:`interface_address`.

    :raises NetworkValueError: it is not a network.
    """
    found = interface_address(value, prefix, None, what)
    return ip_network(found, strict=False)


def prefix_length(value: Any, version: int, what: str) -> int:
    """Returns the length of a prefix, which may be a number or a mask of either version.

    :raises NetworkValueError: it is neither.
    """
    text = str(value).strip()
    longest = 32 if version == 4 else 128
    if text.isascii() and text.isdigit() and len(text) < 4 and int(text) <= longest and not isinstance(value, bool):
        return int(text)
    mask: IPAddress | None
    try:
        mask = ip_address(text)
    except ValueError:
        mask = None
    if mask is not None and mask.version == version:
        zeros: int = (1 << longest) - 1 - int(mask)
        if zeros & (zeros + 1) == 0:
            return longest - zeros.bit_length()
    raise NetworkValueError(f"{what}: {text[:100]!r} is neither the length of a prefix nor a mask of IPv{version}")


def number(value: Any, what: str) -> int:
    """Returns a whole number.

    :raises NetworkValueError: it is none.
    """
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 20):
        raise NetworkValueError(f"{what}: {text[:100]!r} is not a number")
    return int(text)


def boolean(value: Any, what: str) -> bool:
    """Returns whether ``value`` means yes.

    :raises NetworkValueError: it means neither yes nor no.
    """
    text = str(value).strip().lower()
    if text in ("true", "yes", "on", "y", "1"):
        return True
    if text in ("false", "no", "off", "n", "0", "none", ""):
        return False
    raise NetworkValueError(f"{what}: {text[:100]!r} is neither true nor false")


def items(value: Any, what: str) -> Sequence[Any]:
    """Returns a list as it is, none for null or nothing.

    :raises NetworkValueError: it is something else.
    """
    if value is None or value == "":
        return ()
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise NetworkValueError(f"{what}: expected a list")
    return value


def default_route(gateway: IPAddress, metric: int | None = None) -> Route:
    """Returns the default route by ``gateway``."""
    return Route(ip_network("0.0.0.0/0" if gateway.version == 4 else "::/0"), gateway, metric)


def _ip(version: int | None) -> str:
    return "IP" if version is None else f"IPv{version}"
