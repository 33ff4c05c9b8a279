"""The words of ``guestagent-xen-host DOMID xapi ...``: what a XAPI host does, from a command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from guestagent_core import ExchangeError

from .xapi import XapiHost

__all__ = ("run",)


def run(host: XapiHost, words: Sequence[str]) -> str:
    """Does what ``words`` ask for and returns what there is to print.

    :raises SystemExit: they are wrong, or ask for help; argparse has printed why.
    :raises ExchangeError: it cannot be done.
    :raises ValueError: a value is no good.
    """
    options = _parser().parse_args(words)
    text: str = options.run(host, options)
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="guestagent-xen-host DOMID xapi",
        description="Does to the guest's XenStore what a XAPI host does, for tests and laboratories.",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def add(name: str, run: object, help: str) -> argparse.ArgumentParser:
        verb = verbs.add_parser(name, description=help, help=help)
        verb.set_defaults(run=run)
        return verb

    def add_device(name: str, run: object, help: str, *, family: bool = True) -> argparse.ArgumentParser:
        verb = add(name, run, help)
        verb.add_argument("number", type=int, metavar="N", help="the number of the network device")
        verb.add_argument("--sriov", action="store_const", const="net-sriov-vf", default="vif", dest="kind")
        if family:
            verb.add_argument("-6", action="store_const", const=6, default=4, dest="family", help="IPv6")
        return verb

    make = add("make", _make, "make the tree of a new domain")
    make.add_argument("--libxl", action="store_true", help="with control and vm-data for the host alone")
    plug = add_device("plug", _plug, "plug a network device", family=False)
    plug.add_argument("mac", metavar="MAC")
    static = add_device("static", _static, "set an address")
    static.add_argument("address", metavar="ADDRESS", help="with its prefix length")
    static.add_argument("gateway", metavar="GATEWAY", nargs="?", default="")
    add_device("dhcp", _dhcp, "have the guest use DHCP, or autoconfiguration for IPv6")
    add_device("none", _none, "take back what was set")
    add_device("show-setting", _show_setting, "show what stands beside a setting", family=False)
    resume = add("resume", _resume, "make the tree anew, as a resume does")
    resume.add_argument("devices", metavar="N=MAC", nargs="*", help="the network devices that are plugged again")
    data = add("set-data", _set_data, "make vm-data what is given")
    data.add_argument("values", metavar="KEY=VALUE", nargs="*")
    script = add("script", _script, "run a script: the name of a command and its value in JSON")
    script.add_argument("script", metavar="SCRIPT")
    script.add_argument("--script-timeout", type=float, default=60.0, metavar="SECONDS", help="default: 60")
    add("show", _show, "show what XAPI would")
    return parser


def _make(host: XapiHost, options: argparse.Namespace) -> str:
    return host.make(libxl=options.libxl)


def _plug(host: XapiHost, options: argparse.Namespace) -> str:
    host.plug(options.number, options.mac, kind=options.kind)
    return ""


def _static(host: XapiHost, options: argparse.Namespace) -> str:
    host.static(options.number, options.address, options.gateway, family=options.family, kind=options.kind)
    return ""


def _dhcp(host: XapiHost, options: argparse.Namespace) -> str:
    host.dhcp(options.number, family=options.family, kind=options.kind)
    return ""


def _none(host: XapiHost, options: argparse.Namespace) -> str:
    host.none(options.number, family=options.family, kind=options.kind)
    return ""


def _show_setting(host: XapiHost, options: argparse.Namespace) -> str:
    return json.dumps(host.setting(options.number, options.kind), indent=2)


def _resume(host: XapiHost, options: argparse.Namespace) -> str:
    devices = dict(_pair(each) for each in options.devices)
    return host.resume({int(number): mac for number, mac in devices.items()})


def _set_data(host: XapiHost, options: argparse.Namespace) -> str:
    host.set_data(dict(_pair(each) for each in options.values))
    return ""


def _script(host: XapiHost, options: argparse.Namespace) -> str:
    try:
        outcome = host.script(options.script, options.script_timeout)
    except TimeoutError as error:
        raise ExchangeError(str(error)) from error
    return json.dumps(outcome._asdict(), indent=2)


def _show(host: XapiHost, options: argparse.Namespace) -> str:
    return json.dumps(host.view()._asdict(), indent=2)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise ValueError(f"{text!r} has to be NAME=VALUE")
    return name, value
