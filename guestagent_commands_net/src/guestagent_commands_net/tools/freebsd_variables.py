"""The variables of one interface, put into FreeBSD's ``rc.conf`` and taken out of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from guestagent_commands_net.model import VERSIONS, Bond, Interface, Vlan

from .freebsd_form import DEFAULTS, ROUTE_LISTS, is_of, route_names, write_routes
from .freebsd_links import CLONED, bonds_of, create_args, variable, vlan_word
from .shell_variables import double_quoted

if TYPE_CHECKING:
    from .shell_variables import ShellVariables

__all__ = ("put_interface", "put_routes", "take_interface", "take_link", "take_routes")

_USED = "ipv6_network_interfaces"


def put_interface(file: ShellVariables, interface: Interface, written: Mapping[str, str]) -> None:
    """Puts variables where those of the interface stood, and lists it among those that are made."""
    name = interface.name
    label = f"# Label {interface.label}\n" if interface.label else ""
    if any(is_of(key, name) for key in file.values()):
        file.replace(lambda key: is_of(key, name), written)
    else:
        file.append(label + "".join(f"{key}={value}\n" for key, value in written.items()))
    link = interface.link
    if isinstance(link, Vlan):
        word = vlan_word(name, link)
        _set_words(file, f"vlans_{variable(link.parent)}", add=[word])
        if word == name:
            file.set(create_args(name), double_quoted(f"vlan {link.id}"))
    elif isinstance(link, Bond) and name not in bonds_of(file.values()):
        _set_words(file, CLONED, add=[name])
    used = file.values().get(_USED)
    if used is not None and used.lower() not in ("auto", "none") and (interface.addresses_of(6) or interface.accept_ra):
        _set_words(file, _USED, add=[name])


def take_interface(file: ShellVariables, interface: Interface) -> None:
    """Takes all variables of an interface out."""
    take_routes(file, interface.name, interface)
    file.remove_label(lambda key: is_of(key, interface.name))
    file.remove(lambda key: is_of(key, interface.name))
    take_link(file, interface)


def take_link(file: ShellVariables, interface: Interface) -> None:
    """Takes out what makes an interface a VLAN or a bond."""
    link = interface.link
    if isinstance(link, Vlan):
        _set_words(file, f"vlans_{variable(link.parent)}", remove=[vlan_word(interface.name, link)])
    elif isinstance(link, Bond):
        words = file.values().get(CLONED, "").split()
        _set_words(file, CLONED, remove=[word for word in words if word.partition(":")[0] == interface.name])
    if link is not None:
        file.remove(lambda key: key == create_args(interface.name))


def take_routes(file: ShellVariables, name: str, old: Interface | None) -> None:
    """Takes the routes out that lead through an interface."""
    values = file.values()
    for version in VERSIONS:
        listed, prefix = ROUTE_LISTS[version]
        networks = [address.network for address in old.addresses_of(version)] if old is not None else []
        names = route_names(name, version, values, networks)
        _set_words(file, listed, remove=names)
        file.remove({prefix + each.partition(":")[0] for each in names}.__contains__)
        if old is not None and any(route.is_default and not route.on_link for route in old.routes_of(version)):
            file.remove(lambda key, version=version: key == DEFAULTS[version])  # type: ignore[misc]


def put_routes(file: ShellVariables, interface: Interface) -> None:
    """Puts the routes in that lead through an interface."""
    for version in VERSIONS:
        default, routes = write_routes(interface, version)
        listed, prefix = ROUTE_LISTS[version]
        if default is not None:
            file.set(DEFAULTS[version], double_quoted(default))
        for name, text in routes.items():
            file.set(prefix + name, double_quoted(text))
        _set_words(file, listed, add=list(routes))


def _set_words(file: ShellVariables, name: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
    """Changes a variable that is a list of words; an empty one goes."""
    old = file.values().get(name, "").split()
    gone = set(remove)
    new = list(dict.fromkeys([*(word for word in old if word not in gone), *add]))
    if new == old:
        return
    if new:
        file.set(name, double_quoted(" ".join(new)))
    else:
        file.remove(lambda key: key == name, evaluated=False)
