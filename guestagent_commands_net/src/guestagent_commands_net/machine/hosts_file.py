"""``/etc/hosts``: this machine's own lines, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guestagent_commands_net.model import Interface

__all__ = ("own_addresses", "with_host")

_REMOVED = "# Removed by "
_MARK = f"{_REMOVED}nova-agent"  # the words of the agents before this one: the lines of all are known by them
_DEBIANS_OWN = "127.0.1.1"  # the address of a Debian machine's own name


def own_addresses(interfaces: Iterable[Interface]) -> list[str]:
    """Returns the addresses that stand for this machine: of each interface the first of either IP version."""
    found: list[str] = []
    for interface in interfaces:
        for version in (4, 6):
            found += [str(address.ip) for address in interface.addresses_of(version)[:1]]
    return list(dict.fromkeys(found))


def with_host(
    text: str, addresses: Sequence[str], hostname: str, *, gone: Iterable[str] = (), old_name: str | None = None
) -> str:
    """Returns ``/etc/hosts`` with ``hostname`` for ``addresses``; doing it again changes nothing.

    The first line of an address is its own if it has one name, or a name with dots and one without. The name is
    replaced, and what the line was stays above it as a comment. An address without a line gets one at the end.

    :param gone: addresses that this machine has no longer; the lines that were put here for them are taken away.
    :param old_name: the host name until now; where it stands for ``127.0.1.1`` it is replaced too.
    """
    pending = [_plain(address) for address in addresses]
    wanted = dict(zip(pending, addresses, strict=True))
    stale = {_plain(address) for address in gone} - set(pending)
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        content, hash_sign, comment = line.strip().partition("#")
        words = content.split()
        address = _plain(words[0]) if words else ""
        if words and address in stale and words[1:] in ([hostname], [old_name]) and not hash_sign:
            continue
        if words and words[0] == _DEBIANS_OWN and old_name is not None and old_name != hostname:
            line = _renamed(line, words[1:], old_name, hostname)
        elif address in pending:
            pending.remove(address)
            names = _names(words[1:], hostname)
            if names is not None and names != words[1:]:
                if lines and lines[-1].startswith(f"# {words[0]}") and _REMOVED in lines[-1]:
                    lines.pop()  # one that was is enough
                tail = f"\t#{comment}" if hash_sign else ""
                lines.append(f"# {line.strip()}\t{_MARK}\n")
                line = f"{words[0]}\t{' '.join(names)}{tail}\n"
        lines.append(line)
    if lines and pending and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    lines += [f"{wanted[address]}\t{hostname}\n" for address in pending]
    return "".join(lines)


def _names(names: Sequence[str], hostname: str) -> list[str] | None:
    """The names of a line that is this machine's own, with ``hostname`` among them; None if the line is not."""
    if len(names) == 1:
        return [hostname]
    short = [name for name in names if "." not in name]
    if len(names) != 2 or len(short) != 1:
        return None
    if hostname in names:
        return list(names)
    return [hostname if name in short else name for name in names]


def _renamed(line: str, names: Sequence[str], old: str, new: str) -> str:
    short = old.partition(".")[0]
    if old not in names and short not in names:
        return line
    domain = next((name.partition(".")[2] for name in names if "." in name), "")
    own = new.partition(".")[0]
    first = new if "." in new else f"{own}.{domain}" if domain else ""
    kept = [name for name in names if name != old and name.partition(".")[0] != short]
    end = line[len(line.rstrip()) :]
    return f"{_DEBIANS_OWN}\t{' '.join(dict.fromkeys([*([first] if first else []), own, *kept]))}{end or chr(10)}"


def _plain(address: str) -> str:
    """One way to write an address, however it is written in the file."""
    try:
        return str(ip_address(address))
    except ValueError:
        return address
