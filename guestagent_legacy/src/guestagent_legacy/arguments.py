"""The old command line: options, texts, and what is wrong with them."""

from __future__ import annotations

import getopt
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ("HELP", "USAGE", "Arguments", "UsageError", "parse_arguments")

USAGE = "Usage: guestagent-legacy [options] [--] config.py [arguments for config.py]"
HELP = f"""{USAGE}

  -h, --help          show this and exit
  -n, --nofork        stay in the foreground
  -p, --pidfile FILE  keep the process number in FILE
  -o, --logfile FILE  log to FILE (default: /var/log/nova-agent.log); - logs to standard error
  -l, --level LEVEL   log LEVEL and what is more important (default: info)
  -t, --testmode      be a plain Python interpreter: run the file, or a prompt without one
  -q, --quiet         say nothing about starting and stopping
  -S, --syspython     accepted and without effect
      --config FILE   today's configuration, for options of packs (default: /etc/guestagent/config.toml if it exists)
      --root DIR      use DIR as the guest's /"""

_SHORT = "hnp:o:l:tqS"
_LONG = ("help", "nofork", "pidfile=", "logfile=", "level=", "testmode", "quiet", "syspython", "config=", "root=")


class UsageError(Exception):
    """The command line is wrong; the text says how."""


@dataclass(frozen=True)
class Arguments:
    """What the command line asks for."""

    file: str | None = None
    rest: tuple[str, ...] = ()
    help: bool = False
    fork: bool = True
    pid_file: Path | None = None
    log_file: Path | None = Path("/var/log/nova-agent.log")
    level: int = logging.INFO
    interpreter: bool = False
    quiet: bool = False
    config: Path | None = None
    root: Path | None = None


def parse_arguments(words: Sequence[str]) -> Arguments:
    """Returns what ``words`` ask for; options may also come after the file name, up to ``--``.

    :raises UsageError: an option is unknown, lacks its argument or has a wrong one, or there is no file.
    """
    try:
        options, rest = getopt.gnu_getopt(list(words), _SHORT, _LONG)
    except getopt.GetoptError as error:
        lacks = "requires argument" in error.msg
        raise UsageError(
            f"{'Missing argument to' if lacks else 'Unknown'} option{'' if lacks else ':'} '{error.opt}'"
        ) from error
    given: dict[str, object] = {}
    for option, value in options:
        match option:
            case "-h" | "--help":
                given["help"] = True
            case "-n" | "--nofork":
                given["fork"] = False
            case "-p" | "--pidfile":
                given["pid_file"] = Path(value)
            case "-o" | "--logfile":
                given["log_file"] = None if value == "-" else Path(value)
            case "-l" | "--level":
                given["level"] = _level(value)
            case "-t" | "--testmode":
                given["interpreter"] = True
            case "-q" | "--quiet":
                given["quiet"] = True
            case "--config":
                given["config"] = Path(value)
            case "--root":
                given["root"] = Path(value)
    arguments = Arguments(rest[0] if rest else None, tuple(rest[1:]), **given)  # type: ignore[arg-type]  # of its field
    if arguments.file is None and not (arguments.help or arguments.interpreter):
        raise UsageError("No python configuration file specified")
    return arguments


def _level(name: str) -> int:
    level = getattr(logging, name.upper(), None)
    if not isinstance(level, int) or isinstance(level, bool):
        raise UsageError(f"Unknown level: '{name}'")
    return level
