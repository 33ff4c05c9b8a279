"""The command ``xapi.vif``: what the host sets of one address family of one network device is made true."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from guestagent_core import CommandBase, CommandResult, InvalidArgumentError, command

from .static_settings import FAMILIES, StaticSetting
from .vif_memory import VifMemory

__all__ = ("VifCommands",)

_MODES = {"0": "none", "1": "static", "2": "dhcp"}
_TIMEOUT = 55.0  # seconds; as for resetnetwork, which does the same


def _read(value: Any) -> StaticSetting:
    """Returns the order that ``value`` holds.

    :raises InvalidArgumentError: it is none, or wants what there is not.
    """
    if not isinstance(value, Mapping):
        raise InvalidArgumentError("The order has to be an object")
    try:
        setting = StaticSetting(**{**value, "dns": tuple(value.get("dns", ()))})
    except TypeError as error:
        raise InvalidArgumentError(f"This is no order for a network device: {error}") from error
    if setting.family not in FAMILIES:
        raise InvalidArgumentError(f"{setting.device}: the family is {setting.family!r}, not ipv4 or ipv6")
    name = f"enabled{FAMILIES[setting.family]}"
    if setting.enabled not in _MODES:
        raise InvalidArgumentError(f"{setting.device}: {name} is {setting.enabled!r}, not 0, 1 or 2")
    if setting.enabled == "1" and setting.address is None:
        raise InvalidArgumentError(f"{setting.device}: {name} is 1, and there is no address")
    return setting


class VifCommands(CommandBase):
    """Applies what a XAPI host sets."""

    @command(
        "xapi.vif",
        args=_read,
        idempotent=True,
        timeout=_TIMEOUT,
        examples=({"device": "vif/0", "family": "ipv4", "mac": "0a:00:00:00:00:01", "enabled": "0"},),
    )
    def configure(self, setting: StaticSetting) -> CommandResult:
        """Configures one address family of one device; everything else stays as it is.

        What was before the first order is remembered, over restarts, and comes back when the host takes its setting
        back. An order that changes nothing runs nothing: the host repeats each at every start of the guest.
        """
        from guestagent_commands_net import families

        memory = VifMemory(self.context.state_dir / "xapi-vif.json")
        before = memory.recall(setting.mac, setting.family)
        if setting.enabled == "0":
            if before is not None:
                families.apply_family(self.context, setting.mac, setting.family, before, timeout=self._remaining())
                memory.forget(setting.mac, setting.family)
            return CommandResult()
        if before is None:
            described = families.describe_family(self.context, setting.mac, setting.family)
            memory.remember(setting.mac, setting.family, described)
        try:
            wanted = _wanted(setting)
            families.apply_family(self.context, setting.mac, setting.family, wanted, timeout=self._remaining())
        except Exception:
            if before is None:  # nothing has come of the host's order, so there is nothing to take back
                memory.forget(setting.mac, setting.family)
            raise
        return CommandResult()

    def _remaining(self) -> float:
        return max(1.0, self.context.deadline - time.monotonic())


def _wanted(setting: StaticSetting) -> dict[str, Any]:
    wanted: dict[str, Any] = {"mode": _MODES[setting.enabled]}
    if setting.enabled == "1":
        wanted["address"] = setting.address
        if setting.gateway is not None:
            wanted["gateway"] = setting.gateway
    if setting.dns:
        wanted["dns"] = list(setting.dns)
    return wanted
