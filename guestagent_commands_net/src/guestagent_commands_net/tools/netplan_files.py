"""netplan's files as a set: merged as netplan merges them, and edited so that what is not changed stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from guestagent_core.errors import CommandError

if TYPE_CHECKING:
    from guestagent_commands_net.backends import FileState

__all__ = ("dump", "in_order", "merged", "parse", "without_entries")

_FOLDERS = ("/etc/netplan/", "/run/netplan/", "/usr/lib/netplan/", "/lib/netplan/")  # the strongest first


@lru_cache(maxsize=1)
def _loader() -> Any:
    """A loader that takes for numbers what netplan takes for them: ``52:54:00:12:34:56`` is text."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # ten times as fast
        yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # as in its base

    for tag, pattern, first in (
        ("null", r"(?:~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
        (
            "bool",
            r"(?:true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)\Z",
            list("tTfFyYnNoO"),
        ),
        ("int", r"-?(?:0|[1-9][0-9]*)\Z", list("-0123456789")),
        ("merge", r"<<\Z", ["<"]),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)
    return Loader


@lru_cache(maxsize=8)  # each step of a change asks for the same files
def parse(path: str, text: str) -> Mapping[str, Any]:
    """Returns what stands below ``network`` in a file; the same object each time.

    :raises CommandError: it is not YAML, or not of netplan's form; the text names the file and the line.
    """
    import yaml

    try:
        found = yaml.load(text, _loader())  # noqa: S506  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise CommandError(f"{path}{line}: {getattr(error, 'problem', None) or error}") from None
    network = (found or {}).get("network") if isinstance(found, dict) or found is None else found
    if network is None:
        return {}
    if not isinstance(network, dict):
        raise CommandError(f"{path}: expected a mapping with the key 'network'")
    for kind, devices in network.items():
        if kind not in ("version", "renderer") and devices is not None and not isinstance(devices, dict):
            raise CommandError(f"{path}: {kind}: expected a mapping")
    return network


def in_order(files: Mapping[str, FileState]) -> list[str]:
    """Returns the paths of the files that count, in the order in which netplan reads them.

    Of files with the same name in several folders, only the one in the strongest folder counts.
    """
    chosen: dict[str, str] = {}
    for folder in reversed(_FOLDERS):
        for path in files:
            if path.startswith(folder) and "/" not in path[len(folder) :] and path.endswith(".yaml"):
                chosen[path[len(folder) :]] = path
    return [chosen[name] for name in sorted(chosen)]


def merged(configurations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns several configurations as one: mappings are joined, lists are added up, other values override."""
    result: dict[str, Any] = {}
    for configuration in configurations:
        _merge_into(result, configuration)
    return result


def _merge_into(result: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        there = result.get(key)
        if isinstance(value, Mapping):
            own = dict(there) if isinstance(there, dict) else {}
            _merge_into(own, value)
            result[key] = own
        elif isinstance(value, list) and isinstance(there, list):
            result[key] = [*there, *(item for item in value if item not in there)]
        elif value is not None or key not in result:
            result[key] = value


def dump(network: Mapping[str, Any], header: str = "") -> str:
    """Returns a file that says ``network``."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(
        {"network": network}, Dumper=dumper, default_flow_style=False, sort_keys=True, allow_unicode=True
    )
    return header + text


def without_entries(path: str, text: str, entries: set[tuple[str, str]]) -> str:
    """Returns a file without the devices ``entries``, by kind and id; comments and all other lines stay.

    :raises CommandError: it cannot be understood.
    """
    wanted: dict[str, Any] = {}
    for kind, devices in parse(path, text).items():
        left = devices
        if isinstance(devices, dict):
            left = {each: value for each, value in devices.items() if (kind, each) not in entries}
        if left != {}:
            wanted[kind] = left
    lines = text.splitlines(keepends=True)
    for first, last in sorted(_ranges(text, lines, entries), reverse=True):
        del lines[first:last]
    cut = "".join(lines)
    try:
        if {key: value for key, value in parse(path, cut).items() if value not in ({}, None)} == {
            key: value for key, value in wanted.items() if value is not None
        }:
            return cut
    except CommandError:
        pass
    # Written in braces, or with references: there is no line to cut out. What stands above it stays at least.
    comments = re.match(r"(?:[ \t]*#.*\n|[ \t]*\n)*", text)
    return dump(wanted, comments[0] if comments else "")


def _ranges(text: str, lines: Sequence[str], entries: set[tuple[str, str]]) -> Iterator[tuple[int, int]]:
    """Gives the lines of each entry, from its key to the last one that says something; of a kind that is left with
    none, those of the kind.
    """
    import yaml

    root = yaml.compose(text, _loader())
    network = next((value for key, value in getattr(root, "value", ()) if key.value == "network"), None)
    for kind_key, kind in getattr(network, "value", ()):
        if not isinstance(kind, yaml.MappingNode) or kind.flow_style:
            continue
        gone = [(key, value) for key, value in kind.value if (kind_key.value, key.value) in entries]
        if len(gone) == len(kind.value) and gone:
            gone = [(kind_key, kind)]
        for key, value in gone:
            last = (
                value.end_mark.line if value.end_mark.column == 0 or not value.flow_style else value.end_mark.line + 1
            )
            if not isinstance(value, yaml.CollectionNode) or value.flow_style:
                last = value.end_mark.line + 1
            while last > key.start_mark.line + 1 and (
                not lines[last - 1].strip() or lines[last - 1].lstrip()[0] == "#"
            ):
                last -= 1
            yield key.start_mark.line, last
