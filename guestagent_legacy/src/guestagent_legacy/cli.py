"""The old command line: ``guestagent-legacy [options] config.py [arguments]``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from guestagent_core import ConfigError
from guestagent_core.config import load_config

from .arguments import HELP, USAGE, Arguments, UsageError, parse_arguments
from .daemon import Fork, open_log, open_standard_streams, run_agent
from .files import FileFailedError, folder_of, is_test_mode, main_module, run_configuration, run_program, run_text
from .modules import old_modules
from .session import Session

__all__ = ("main",)


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0 success, 1 failure or wrong use."""
    try:
        open_standard_streams()
        arguments = parse_arguments(sys.argv[1:] if words is None else words)
        if arguments.help:
            print(HELP)
            return 0
        return _interpret(arguments) if arguments.interpreter else _run(arguments)
    except UsageError as error:
        print(f"Error: {error}", USAGE, sep="\n", file=sys.stderr)
        return 1
    except (ConfigError, FileFailedError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _session(arguments: Arguments) -> Session:
    config = load_config(arguments.config)
    if arguments.root is not None:
        config = replace(config, agent=replace(config.agent, root=arguments.root))
    return Session(config)


def _folder(arguments: Arguments) -> Path | None:
    return folder_of(arguments.file) if arguments.file is not None else None


def _interpret(arguments: Arguments) -> int:
    with old_modules(_session(arguments), _folder(arguments)):
        if arguments.file is not None:
            run_program(arguments.file, arguments.rest, main_module(arguments.file))
        elif sys.stdin.isatty():
            import code

            sys.argv = [""]
            code.interact(banner="", local=vars(main_module()), exitmsg="")
        else:
            sys.argv = ["-"]
            run_text(sys.stdin.read(), "<stdin>", main_module())
    return 0


def _run(arguments: Arguments) -> int:
    assert arguments.file is not None

    def say(text: str) -> None:
        if not arguments.quiet:
            print(text, flush=True)

    session = _session(arguments)
    if not arguments.fork:
        say("Agent starting.")
    try:
        log = open_log(arguments.log_file, arguments.level)
    except OSError as error:
        raise ConfigError(f"{arguments.log_file}: the log cannot be written: {error.strerror}") from error
    with old_modules(session, _folder(arguments)):
        if is_test_mode(run_configuration(arguments.file, arguments.rest)):
            say("Agent stopping due to test mode.")
            return 0
        if not session.pairs:
            logging.getLogger(__name__).debug("No exchange and parser were registered, so the agent ends")
            return 1
        session.add_channels()
        fork = Fork() if arguments.fork else None
        status = run_agent(session.agent, arguments.pid_file, fork, log)
    if not arguments.fork:
        say("Agent stopping.")
    return status
