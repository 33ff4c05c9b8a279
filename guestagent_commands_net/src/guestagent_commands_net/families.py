"""One IP version of one card, for other distributions: changed, told, and who would change it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from guestagent_core.errors import CommandError

from .checks import NetworkValueError
from .conversions import nic_of
from .model import Change, Interface
from .nics import local_nics
from .owners import assign, installed_backends
from .readers.family import FAMILIES, describe, read_setting

if TYPE_CHECKING:
    from guestagent_core import Context

    from .planning import Planned

__all__ = ("apply_family", "describe_family", "owner")

_log = logging.getLogger(__name__)


def apply_family(
    context: Context,
    mac: str,
    family: str,
    setting: Mapping[str, Any],
    *,
    timeout: float = 55.0,
    backend: str | None = None,
) -> Planned:
    """Configures one IP version of one card, or leaves everything as it was; the other version and all other cards stay
    as they are. Returns what was done: its ``record`` is None if everything was as wanted, and nothing was run.

    :param family: ``ipv4`` or ``ipv6``.
    :param setting: what :func:`describe_family` returns, or an object with ``mode`` (``static``, ``dhcp``, ``none``),
        ``address``, ``gateway`` and ``dns``; see :func:`~guestagent_commands_net.readers.family.read_setting`.
    :param timeout: in seconds, going back included.
    :param backend: the name of the network backend to use; None: that of the card's owner.
    :raises guestagent_core.errors.InvalidArgumentError: there is no such card, or the setting is wrong; the text names
        the interface.
    :raises guestagent_core.errors.CommandError: it could not be done; the text says what was put back.
    """
    from .applying import apply_change

    change = read_setting({**setting, "mac": mac, "family": family}, local_nics(context))
    return apply_change(change, context, until=time.monotonic() + timeout, backend=backend)


def describe_family(context: Context, mac: str, family: str, *, backend: str | None = None) -> dict[str, Any]:
    """Returns how one IP version of one card is configured in its owner's files at present: an object that can be kept
    as JSON, and that :func:`apply_family` takes.

    :raises guestagent_core.errors.InvalidArgumentError: there is no such card, or no such family.
    :raises guestagent_core.errors.CommandError: nobody configures it, or two do; or a file cannot be understood.
    """
    if family not in FAMILIES:
        raise NetworkValueError(f"{family[:100]!r} is not ipv4 or ipv6")
    nics = local_nics(context)
    nic = nic_of(mac, nics)
    change = Change((Interface(nic.name, nic.mac, versions=(FAMILIES[family],)),), whole=False)
    ((_, tool, _),) = assign(change, installed_backends(), context, nics, backend)
    found = tool.read(tool.gather(context, nics).files, nics)
    return describe(next((interface for interface in found if interface.name == nic.name), None), nic.mac, family)


def owner(context: Context) -> str | None:
    """Returns the name of the network backend that configures this machine's cards; that of the first one, if there are
    several. None if there is none, and the log says why.
    """
    nics = local_nics(context)
    cards = [nic for nic in nics if nic.physical]
    try:
        wanted = Change(tuple(Interface(nic.name, nic.mac) for nic in cards[:1]), whole=False)
        shares = assign(wanted, installed_backends(), context, nics)
    except CommandError as error:
        _log.info("Nobody configures the network here: %s", error)
        return None
    if not shares:
        _log.info("Nobody configures the network here: there is no network card")
        return None
    return shares[0][0]
