"""Commands of ``/etc/network/interfaces`` that set addresses, routes, MTUs and the like: recognised, and written."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, NamedTuple

from guestagent_commands_net.model import Route

if TYPE_CHECKING:
    from guestagent_commands_net.model import IPInterface

__all__ = ("Said", "read_command", "route_commands", "route_words", "router_command")

_END = re.compile(r"\s*(?:[12]?>\s*/dev/null|2>&1|\|\|\s*(?:true|:))\s*\Z")
_ACCEPT_RA = "/proc/sys/net/ipv6/conf/{}/accept_ra"
_DIGITS = re.compile(r"\d+\Z")
_IFACE = re.compile(r"\"?(?:\$IFACE\b|\$\{IFACE\})\"?")  # as the shell has it when ifup runs the command


class Said(NamedTuple):
    """What a command is about; of each at most one is there."""

    route: Route | None = None
    address: IPInterface | None = None
    mtu: int | None = None
    accept_ra: bool | None = None


def route_words(route: Route) -> list[str]:
    """Returns ``route`` as ``ip route add`` takes it, without the interface."""
    words = ["default" if route.is_default else str(route.destination)]
    if route.gateway is not None:
        words += ["via", str(route.gateway)]
    if route.metric is not None:
        words += ["metric", str(route.metric)]
    if route.mtu is not None:
        words += ["mtu", str(route.mtu)]
    return [*words, "onlink"] if route.on_link else words


def route_commands(route: Route, interface: str) -> tuple[str, str]:
    """Returns the commands that make ``route`` and take it away."""
    words = route_words(route)
    place = words.index("metric") if "metric" in words else words.index("mtu") if "mtu" in words else len(words)
    place = min(place, words.index("onlink")) if "onlink" in words else place
    words[place:place] = ["dev", interface]
    # What a router advertises may be there already, and has to give way.
    verb = "replace" if route.version == 6 else "add"
    made, gone = (f"ip -{route.version} route {each} {' '.join(words)} || true" for each in (verb, "del"))
    return made, gone


def router_command(interface: str, *, accept: bool) -> str:
    """Returns the command by which ``interface`` listens to router advertisements, or does not."""
    return f"echo {int(accept)} > {_ACCEPT_RA.format(interface)}"


def read_command(command: str, interface: str) -> Said | None:
    """Returns what ``command`` says about ``interface``; None if it is about something else, or does more."""
    while _END.search(command):
        command = _END.sub("", command)
    words = _IFACE.sub(interface, command).split()
    if not words:
        return None
    program = words.pop(0).rpartition("/")[2]
    try:
        if program == "route":
            return _net_tools(words, interface)
        if program == "ifconfig":
            return _ifconfig(words, interface)
        if program == "ip":
            return _iproute(words, interface)
        if program == "echo" and words[1:] == [">", _ACCEPT_RA.format(interface)]:
            return Said(accept_ra=int(words[0]) != 0)
    except (ValueError, IndexError, KeyError):
        pass
    return None


def _net_tools(words: list[str], interface: str) -> Said | None:
    version = _net_tools_version(words) or 4
    if words.pop(0) not in ("add", "del"):
        return None
    version = _net_tools_version(words) or version  # where cloud-init writes it
    target = words.pop(0)
    host = target == "-host"
    if target in ("-net", "-host"):
        target = words.pop(0)
    found: dict[str, str] = {}
    while words:
        key = words.pop(0)
        if key not in ("netmask", "gw", "metric", "dev"):
            if words:
                return None
            key, words = "dev", [key]  # it may stand alone at the end
        found[key] = words.pop(0)
    if found.get("dev", interface).partition(":")[0] != interface:
        return None
    if target == "default":
        target = "0.0.0.0/0" if version == 4 else "::/0"
    elif "netmask" in found:
        target += "/" + found["netmask"]
    elif "/" not in target and not host:
        target = _guessed(target)
    gateway = found.get("gw")
    return Said(_made(target, gateway, found.get("metric"), None, False))


def _guessed(target: str) -> str:
    """The network that net-tools take an address for: that of its class, if it is the first one of it."""
    address = ip_address(target)
    if address.version == 6:
        return target
    if not int(address):
        return "0.0.0.0/0"
    length = 8 if int(address) < 128 << 24 else 16 if int(address) < 192 << 24 else 24
    network = ip_network(f"{address}/{length}", strict=False)
    return str(network) if network.network_address == address else target


def _ifconfig(words: list[str], interface: str) -> Said | None:
    name, alias, _ = words.pop(0).partition(":")
    if name != interface:
        return None
    if words[:1] == ["mtu"] and len(words) == 2:
        return Said(mtu=int(words[1]))
    if words == ["down"] and alias:
        return Said()
    while words[:1] in (["inet"], ["inet6"], ["add"], ["del"]):
        words.pop(0)
    target = words.pop(0)
    found: dict[str, str] = {}
    while words:
        key = words.pop(0)
        if key in ("netmask", "broadcast"):
            found[key] = words.pop(0)
        elif key not in ("up", "promisc"):
            return None
    if not int(ip_address(target.partition("/")[0])):
        return Said()  # up without an address; after one it would take that away
    return Said(address=ip_interface(f"{target}/{found['netmask']}" if "netmask" in found else target))


def _net_tools_version(words: list[str]) -> int | None:
    """Takes options out from the beginning; returns the version of IP that they name."""
    version: int | None = None
    while words and words[0] in ("-n", "-4", "-6", "-A"):
        word = words.pop(0)
        family = words.pop(0) if word == "-A" else word
        version = {"-4": 4, "inet": 4, "-6": 6, "inet6": 6}.get(family, version)
    return version


def _iproute(words: list[str], interface: str) -> Said | None:
    version: int | None = None
    while words and words[0].startswith("-"):
        version = {"-4": 4, "-6": 6}[words.pop(0)]
    what = words.pop(0)
    if "route".startswith(what):
        if words.pop(0) not in ("add", "replace", "append", "change", "del", "delete"):
            return None
        target = words.pop(0)
        found: dict[str, str] = {}
        on_link = False
        while words:
            key = words.pop(0)
            if key == "onlink":
                on_link = True
            elif key in ("via", "dev", "metric", "mtu"):
                found[key] = words.pop(0)
            elif (key, words.pop(0)) not in (("proto", "static"), ("scope", "link")):
                return None
        if found.get("dev", interface) != interface:
            return None
        if target == "default":
            gateway = found.get("via", "")
            target = "::/0" if version == 6 or ":" in gateway else "0.0.0.0/0"
        return Said(_made(target, found.get("via"), found.get("metric"), found.get("mtu"), on_link))
    if "address".startswith(what) and words.pop(0) in ("add", "replace", "del", "delete"):
        target = words.pop(0)
        said = dict(zip(words[::2], words[1::2], strict=True))
        if said.pop("dev", None) == interface and set(said) <= {"brd", "broadcast", "label", "scope"}:
            return Said(address=ip_interface(target))
    elif "link".startswith(what) and words[:1] == ["set"]:
        rest = [word for word in words[1:] if word != "dev"]
        if len(rest) == 3 and rest[0] == interface and rest[1] == "mtu" and _DIGITS.match(rest[2]):
            return Said(mtu=int(rest[2]))
    return None


def _made(target: str, gateway: str | None, metric: str | None, mtu: str | None, on_link: bool) -> Route:
    return Route(
        ip_network(target, strict=False),
        None if gateway is None else ip_address(gateway),
        None if metric is None else int(metric),
        on_link,
        None if mtu is None else int(mtu),
    )
