"""Where a change comes from, the channel's store or the request's own value, and which form it has there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from guestagent_commands_net.checks import NetworkValueError, check_hostname
from guestagent_commands_net.model import Change
from guestagent_core.errors import CommandError

from . import xenserver

if TYPE_CHECKING:
    from guestagent_commands_net.model import Nic
    from guestagent_core.protocols import Store

__all__ = ("NoRecordError", "read_store", "read_value", "says_something")

_RECORDS = "vm-data/networking"
_FOLDERS = "vm-data/networks"
_HOSTNAME = "vm-data/hostname"


class NoRecordError(CommandError):
    """The host has published nothing about the network; that is not taken for an order to delete it."""


def read_store(store: Store, nics: Sequence[Nic], *, allow_none: bool = False) -> Change:
    """Returns the change that the host has published in ``store``.

    :param allow_none: whether no record means that no interface is to be configured.
    :raises NoRecordError: there is no record.
    :raises NetworkValueError: a record is wrong.
    """
    hostname = _hostname(store.read(_HOSTNAME))
    names = [name for name in store.list(_RECORDS) if name]
    if names:
        found = ((name, store.read(f"{_RECORDS}/{name}")) for name in names)
        records = [xenserver.decode_record(data) for _, data in found if data is not None]
        return xenserver.read_records(records, nics, hostname=hostname)
    folders = {
        number: {
            key: (store.read(f"{_FOLDERS}/{number}/{key}") or b"").decode("utf-8", "replace").strip()
            for key in store.list(f"{_FOLDERS}/{number}")
        }
        for number in store.list(_FOLDERS)
    }
    if any(folders.values()):
        from . import ansible

        return ansible.read_folders(folders, nics, hostname=hostname)
    if allow_none:
        return Change(hostname=hostname)
    raise NoRecordError(
        f"No record of a network interface below {_RECORDS} or {_FOLDERS}; the network is left as it is"
    )


def says_something(value: Any) -> bool:
    """Returns whether the value of a request is an order of its own. Hosts that keep theirs in the store send ``""``,
    and what is neither an object nor a list never meant anything.
    """
    return isinstance(_decoded(value), (Mapping, list))


def read_value(value: Any, nics: Sequence[Nic], *, hostname: str | None = None) -> Change:
    """Returns the change that the value of a request asks for: an object, a list, or JSON text of one.

    :param hostname: the host name, if the value has none.
    :raises NoRecordError: it has no record of an interface.
    :raises NetworkValueError: it is none of the known forms, or a record is wrong.
    """
    from . import cloud_init, family, openstack  # an agent of hosts that publish in the store never needs them

    value = _decoded(value)
    if isinstance(value, Mapping):
        hostname = _hostname(value.get("hostname")) or hostname
        network = value.get("network")
        if isinstance(network, Mapping) and "version" in network:
            return cloud_init.read_config(network, nics, hostname=hostname)
        if "version" in value and ("config" in value or value["version"] in (2, "2")):
            return cloud_init.read_config(value, nics, hostname=hostname)
        if "links" in value or "networks" in value:
            return openstack.read_network_data(value, nics, hostname=hostname)
        if "family" in value and "mode" in value:
            return family.read_setting(value, nics)
        if "mac" in value:
            return xenserver.read_records([value], nics, whole=False, hostname=hostname)
        if "networking" in value:
            return _records(value["networking"], nics, bool(value.get("whole", True)), hostname)
    elif isinstance(value, list):
        return _records(value, nics, True, hostname)
    raise NetworkValueError(
        "The value is neither a record of an interface, nor a list of them, nor a network_data.json, nor a cloud-init"
        " network-config"
    )


def _records(found: Any, nics: Sequence[Nic], whole: bool, hostname: str | None) -> Change:
    records = list(found.values()) if isinstance(found, Mapping) else found
    if not isinstance(records, list):
        raise NetworkValueError("'networking': expected a list, or an object of records")
    if not records:
        raise NoRecordError("The value has no record of a network interface; the network is left as it is")
    decoded = [xenserver.decode_record(each) if isinstance(each, str) else each for each in records]
    return xenserver.read_records(decoded, nics, whole=whole, hostname=hostname)


def _decoded(value: Any) -> Any:
    if isinstance(value, (str, bytes)):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value


def _hostname(value: Any) -> str | None:
    """Returns the host name, None if there is none: one that is empty is none."""
    if value is None:
        return None
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    name = text.strip().strip("\0").strip()
    return check_hostname(name) if name else None
