"""The errors of guestagent, all of them below one base.

::

    GuestAgentError
    ├── PluginError(group, name, reason)
    │   ├── PluginNotFoundError
    │   ├── PluginLoadError
    │   └── PluginConflictError
    ├── ConfigError                         (also ValueError)
    ├── ExchangeError
    │   └── ResponseTooLargeError(limit)
    └── CommandError(message, code=500)
        ├── CommandNotFoundError(name)      404
        ├── InvalidArgumentError(message)   400 (also ValueError)
        ├── CommandDeniedError(message)     403 (also PermissionError)
        └── CommandTimeoutError(message)    504 (also TimeoutError)

The codes are the framework's own. What a host sees is the parser's choice: only the parser knows the wire.
"""

__all__ = (
    "CommandDeniedError",
    "CommandError",
    "CommandNotFoundError",
    "CommandTimeoutError",
    "ConfigError",
    "ExchangeError",
    "GuestAgentError",
    "InvalidArgumentError",
    "PluginConflictError",
    "PluginError",
    "PluginLoadError",
    "PluginNotFoundError",
    "ResponseTooLargeError",
)


class GuestAgentError(Exception):
    """The base of every error that guestagent raises on purpose."""


class PluginError(GuestAgentError):
    """A plugin cannot be used.

    :param group: the entry-point group, for example ``guestagent.commands``.
    :param name: the entry point's name.
    :param reason: what is wrong, in words, naming the package where there is one.
    """

    def __init__(self, group: str, name: str, reason: str) -> None:
        super().__init__(group, name, reason)
        self.group = group
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.group} {self.name!r}: {self.reason}"


class PluginNotFoundError(PluginError):
    """No installed package offers the plugin; the reason lists what is installed."""


class PluginLoadError(PluginError):
    """A plugin is installed but cannot be imported, built or started."""


class PluginConflictError(PluginError):
    """Two packages offer the same name; the reason names both."""


class ConfigError(GuestAgentError, ValueError):
    """A configuration is not valid; the text names the file, the key and what was expected."""


class ExchangeError(GuestAgentError):
    """An exchange cannot move a request or an answer."""


class ResponseTooLargeError(ExchangeError):
    """An answer does not fit through an exchange.

    :param limit: the largest ``data``, in bytes, that would have fitted.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"The answer is larger than the {self.limit} bytes that fit"


class CommandError(GuestAgentError):
    """A command cannot be run, or failed.

    :param message: the text that the host gets to see.
    :param code: the framework's code; each subclass has its own.
    """

    def __init__(self, message: str, code: int = 500) -> None:
        super().__init__(message)
        self.code = code


class CommandNotFoundError(CommandError):
    """There is no such command; ``cmd`` is the name that was asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No such agent command '{name}'", 404)
        self.cmd = name

    def __reduce__(self) -> "tuple[type[CommandNotFoundError], tuple[str]]":
        return type(self), (self.cmd,)


class InvalidArgumentError(CommandError, ValueError):
    """The value of a request is not what the command takes."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 400)


class CommandDeniedError(CommandError, PermissionError):
    """The command exists, but this channel or this call may not run it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 403)


class CommandTimeoutError(CommandError, TimeoutError):
    """The command did not end within its time."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 504)
