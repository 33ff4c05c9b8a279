"""The subcommand ``guestagent net``: what the network is to be, what would be done for it, and doing it."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from guestagent_core.errors import GuestAgentError

if TYPE_CHECKING:
    from guestagent_core import Context

    from .model import Change
    from .netlink import KernelLink
    from .planning import Planned

__all__ = ("add",)


def add(parser: argparse.ArgumentParser) -> None:
    """Says what ``guestagent net`` takes."""
    parser.description = "Configures the network, or shows what would be done."
    parser.set_defaults(run=_help(parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, function, what in (
        ("plan", _plan, "show what would change, in the files and by which programs"),
        ("show", _show, "show what is wanted and what the kernel has, side by side"),
        ("apply", _apply, "configure the network, and put everything back if that fails"),
    ):
        command = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        if name == "apply":
            command.add_argument("source", type=Path, metavar="FILE|DIR", help="what is wanted")
            command.add_argument("--timeout", type=float, metavar="SECONDS", default=55.0, help="default: 55")
        else:
            command.add_argument(
                "source", type=Path, metavar="FILE|DIR", nargs="?", help="default: what the host wants"
            )
        command.add_argument("--backend", metavar="NAME", help="default: whoever configures the interface now")
        command.add_argument("--root", type=Path, metavar="DIR", default=Path("/"), help="use DIR as the guest's /")
        command.add_argument(
            "--state-dir", type=Path, metavar="DIR", help="default: /var/lib/guestagent below the root"
        )
        command.set_defaults(run=function)


def _help(parser: argparse.ArgumentParser) -> object:
    def run(options: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    return run


def _context(options: argparse.Namespace) -> Context:
    from guestagent_core import Context

    root = Path(options.root).absolute()
    return Context(root=root, state_dir=options.state_dir or root / "var/lib/guestagent")


def _wanted(source: Path, context: Context) -> Change:
    """Returns what a file, or a folder in the form of a store, says.

    :raises GuestAgentError: it cannot be read or says something wrong; the text names it.
    """
    from guestagent_core.files import FilesStore

    from .nics import local_nics
    from .readers.sources import read_store, read_value

    nics = local_nics(context)
    try:
        if source.is_dir():
            return read_store(FilesStore(FilesStore.Options(path=source)), nics)
        return read_value(_value(source.read_text()), nics)
    except OSError as error:
        raise GuestAgentError(f"{source}: {error.strerror}") from error
    except (GuestAgentError, ValueError) as error:
        raise GuestAgentError(f"{source}: {error}") from error


def _published(context: Context) -> Change:
    """Returns what the host has published: in XenStore where there is one, else in the folder of the files store."""
    from guestagent_core.discovery import EXCHANGES, STORES, Catalogue, load
    from guestagent_core.errors import PluginNotFoundError
    from guestagent_core.files import FilesStore

    from .nics import local_nics
    from .readers.sources import read_store

    catalogue = Catalogue.installed()
    store = FilesStore(FilesStore.Options(path=context.state_dir / "store"))
    try:
        if context.root == Path("/") and load(catalogue.find(EXCHANGES, "xenstore")).available():
            found = load(catalogue.find(STORES, "xenstore"))
            store = found(found.Options())
    except PluginNotFoundError:
        pass
    return read_store(store, local_nics(context))


def _value(text: str) -> object:
    """JSON is what hosts send; YAML is what cloud-init's files are in."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        import yaml

        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"neither JSON nor YAML: {' '.join(str(error).split())}") from None


def _planned(options: argparse.Namespace) -> Planned:
    from .applying import TIMEOUT, deadline_in
    from .planning import plan
    from .transaction.record import Folder

    context = _context(options)
    until = deadline_in(TIMEOUT)
    change = _published(context) if options.source is None else _wanted(options.source, context)
    return plan(change, context, Folder(context.state_dir), until=until, backend=options.backend)


def _plan(options: argparse.Namespace) -> int:
    planned = _planned(options)
    if planned.record is None:
        print(f"unchanged: {', '.join(planned.unchanged) or 'no interface'}")
        return 0
    for name in planned.change.names:
        state = "changes" if name in planned.different else "unchanged"
        print(f"{name}: {state} ({planned.owners.get(name, 'nobody')})")
    for difference in planned.found:
        print(f"  {difference}")
    for entry in planned.record.files:
        print("".join(_diff(entry.path, entry.before, entry.after)), end="")
    plan = planned.record.plan.apply
    for title, steps in (
        ("would check", planned.record.validate),
        ("would run before the files change", plan.before),
        ("would run after the files have changed", plan.after),
        ("would run if that does not do", plan.harder),
    ):
        if steps:
            print(f"{title}:")
        for step in steps:
            print(f"  {' '.join(step.argv)}")
    return 0


def _diff(path: str, before: bytes | None, after: bytes | None) -> Iterable[str]:
    from difflib import unified_diff

    def lines(content: bytes | None) -> list[str]:
        return [] if content is None else _without_secrets(content.decode(errors="replace")).splitlines(keepends=True)

    old, new = ("/dev/null" if content is None else path for content in (before, after))
    for line in unified_diff(lines(before), lines(after), old, new):
        yield line if line.endswith("\n") else f"{line}\n"


def _without_secrets(text: str) -> str:
    """Returns the text with the values of passwords and keys left out: keyfiles and netplan's files may have some."""
    import re

    return re.sub(
        r"(?im)^(\s*[\w-]*(?:psk|password|passwd|secret|private-key|wep-key\d?)[\w-]*\s*[:=]\s*).*$", r"\1***", text
    )


def _show(options: argparse.Namespace) -> int:
    from .expectations import as_it_is, expected_of
    from .netlink import read_state
    from .nics import local_nics

    context = _context(options)
    change = _published(context) if options.source is None else _wanted(options.source, context)
    wanted = {interface.name: interface for interface in change.interfaces}
    kernel = read_state() if context.root == Path("/") else {}
    for name in dict.fromkeys((*wanted, *(nic.name for nic in local_nics(context)))):
        left = _lines(expected_of(wanted[name], (4, 6))) if name in wanted else ["nothing is wanted"]
        right = _lines(as_it_is(kernel[name])) if name in kernel else ["not there"]
        width = max(len(line) for line in left)
        print(f"{name} {_mac(kernel.get(name))}".rstrip())
        for row in range(max(len(left), len(right))):
            cells = [side[row] if row < len(side) else "" for side in (left, right)]
            print(f"  {cells[0].ljust(width)}  |  {cells[1]}".rstrip())
    return 0


def _mac(link: KernelLink | None) -> str:
    return "" if link is None else link.mac


def _lines(expectation: object) -> list[str]:
    from .expectations import Expectation

    assert isinstance(expectation, Expectation)
    lines = [*expectation.addresses, *(str(route) for route in expectation.routes)]
    lines += [f"IPv{version} by DHCP" for version in expectation.dhcp]
    if expectation.mtu is not None:
        lines.append(f"MTU {expectation.mtu}")
    if expectation.up is not None:
        lines.append("up" if expectation.up else "down")
    return lines


def _apply(options: argparse.Namespace) -> int:
    from .applying import apply_change, deadline_in

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    context = _context(options)
    change = _wanted(options.source, context)
    planned = apply_change(change, context, until=deadline_in(options.timeout), backend=options.backend)
    if planned.record is None:
        print(f"unchanged: {', '.join(planned.unchanged) or 'no interface'}")
    else:
        print(f"changed: {', '.join(planned.different) or 'files only'}")
        if planned.unchanged:
            print(f"unchanged: {', '.join(planned.unchanged)}")
    return 0
