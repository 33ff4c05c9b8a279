"""The settings of bonds: the kernel's names for them, and those that netplan has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .checks import NetworkValueError

__all__ = ("MODES", "kernel_option", "netplan_parameters", "options_of_netplan")

MODES = ("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb")
"""The kernel's names of the modes, in the order of its numbers."""

_NETPLAN = {
    "ad_select": "ad-select",
    "all_slaves_active": "all-members-active",
    "arp_all_targets": "arp-all-targets",
    "arp_interval": "arp-interval",
    "arp_ip_target": "arp-ip-targets",
    "arp_validate": "arp-validate",
    "downdelay": "down-delay",
    "fail_over_mac": "fail-over-mac-policy",
    "lacp_rate": "lacp-rate",
    "lp_interval": "learn-packet-interval",
    "miimon": "mii-monitor-interval",
    "min_links": "min-links",
    "num_grat_arp": "gratuitous-arp",
    "packets_per_slave": "packets-per-member",
    "primary": "primary",
    "primary_reselect": "primary-reselect-policy",
    "resend_igmp": "resend-igmp",
    "updelay": "up-delay",
    "xmit_hash_policy": "transmit-hash-policy",
}
_KERNEL = {theirs: ours for ours, theirs in _NETPLAN.items()} | {
    "all-slaves-active": "all_slaves_active",
    "gratuitious-arp": "num_grat_arp",  # the spelling of netplan's first versions
    "packets-per-slave": "packets_per_slave",
}
_SAME = {"num_unsol_na": "num_grat_arp", "slaves": "members"}


def kernel_option(key: str, value: Any) -> tuple[str, str]:
    """Returns a setting by the kernel's name, whatever the spelling: ``bond-miimon``, ``bond_miimon``, ``miimon``.

    The mode comes by its name too: ``mode=1`` is ``("mode", "active-backup")``.
    """
    name = key.strip().lower().replace("-", "_").removeprefix("bond_")
    name = _SAME.get(name, name)
    text = ",".join(str(item) for item in value) if isinstance(value, list) else str(value).strip()
    if name == "mode" and text.isdigit() and int(text) < len(MODES):
        text = MODES[int(text)]
    if name == "arp_ip_target":
        text = ",".join(text.replace(",", " ").split())
    if isinstance(value, bool):
        text = str(int(value))
    return name, text


def options_of_netplan(parameters: dict[str, Any]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Returns a bond's mode and settings as netplan and cloud-init's second version name them.

    :raises NetworkValueError: a setting is not known.
    """
    mode = MODES[0]
    options: dict[str, str] = {}
    for key, value in parameters.items():
        if key == "mode":
            _, mode = kernel_option("mode", value)
        elif key in _KERNEL:
            name, text = kernel_option(_KERNEL[key], value)
            options[name] = text
        else:
            raise NetworkValueError(f"{key!r} is not a parameter of bonds (known: mode, {', '.join(_KERNEL)})")
    return mode, tuple(sorted(options.items()))


def netplan_parameters(mode: str, options: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Returns a bond's mode and settings as netplan names them.

    :raises NetworkValueError: netplan knows no such setting.
    """
    parameters: dict[str, Any] = {"mode": mode}
    for name, text in options:
        if name not in _NETPLAN:
            raise NetworkValueError(f"netplan has no parameter of bonds for {name!r}")
        value: Any = text
        if name == "arp_ip_target":
            value = text.split(",")
        elif name == "all_slaves_active":
            value = text == "1"
        elif text.isdigit():
            value = int(text)
        parameters[_NETPLAN[name]] = value
    return parameters
