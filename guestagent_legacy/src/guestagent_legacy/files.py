"""Old configuration files: Python programs that are run with the old modules at hand."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = (
    "FileFailedError",
    "folder_of",
    "is_test_mode",
    "main_module",
    "run_configuration",
    "run_program",
    "run_text",
)

_log = logging.getLogger(__name__)


class FileFailedError(Exception):
    """The configuration file failed; the log says how."""


def folder_of(file: str) -> Path:
    """Returns the folder where ``file`` really lies: installations had a link to that of the version in use."""
    return Path(os.path.realpath(file)).parent


def main_module(file: str | None = None) -> ModuleType:
    """Returns a new main module, which is that of the process from now on.

    :param file: the program that is to run in it.
    """
    module = ModuleType("__main__")
    if file is not None:
        module.__file__ = file
    sys.modules["__main__"] = module
    return module


def run_program(file: str, arguments: tuple[str, ...], module: ModuleType) -> None:
    """Runs a Python program in ``module``; what it raises is passed on."""
    sys.argv = [file, *arguments]
    sys.path.insert(0, str(folder_of(file)))
    run_text(Path(file).read_bytes(), file, module)


def run_text(text: str | bytes, name: str, module: ModuleType) -> None:
    """Runs the text of a Python program in ``module``.

    :param name: what tracebacks call it.
    """
    # What this file takes from the future would be taken for that program too.
    exec(compile(text, name, "exec", dont_inherit=True), vars(module))  # noqa: S102 - the file is the configuration


def run_configuration(file: str, arguments: tuple[str, ...]) -> dict[str, Any]:
    """Runs a configuration file and returns its globals; SystemExit is success.

    :raises FileFailedError: it raised anything else.
    """
    module = main_module(file)
    try:
        try:
            run_program(file, arguments, module)
        finally:
            _enable_loggers()
    except SystemExit:
        pass
    except Exception as error:
        for line in "".join(traceback.format_exception(error)).splitlines():
            _log.error("[EXC] %s", line)
        _log.error("failed to parse config file '%s'", file)
        raise FileFailedError(f"failed to parse config file '{file}'") from error
    return vars(module)


def _enable_loggers() -> None:
    """Has our loggers log again: a file that uses logging.config for its own disables all that are there, if it does
    not say otherwise, and the old agent logged by the root, which cannot be disabled.
    """
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("guestagent_") and isinstance(logger, logging.Logger):
            logger.disabled = False


def is_test_mode(namespace: dict[str, Any]) -> bool:
    """Returns what the global ``test_mode`` of a configuration says.

    :raises FileFailedError: it is neither a bool nor an int.
    """
    value = namespace.get("test_mode", False)
    if not isinstance(value, int):
        _log.error("'test_mode' must be a bool or an int, not %s", type(value).__name__)
        raise FileFailedError(f"'test_mode' must be a bool or an int, not {type(value).__name__}")
    return bool(value)
