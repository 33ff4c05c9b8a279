"""guestagent: the agent inside a virtual machine, extended with pip.

- what a command pack is made of: :class:`CommandBase`, :func:`command`, :class:`CommandResult`, :class:`Context`
- what answers requests in any program: :class:`CommandRegistry`, :class:`ChannelRunner`, :class:`Dispatcher`
- what plugins have to offer: :class:`Exchange`, :class:`Waitable`, :class:`Discarding`, :class:`Parser`, :class:`Store`
- what ends the wait of an exchange: :class:`Waker`
- what they raise: :mod:`guestagent_core.errors`

Front ends find the rest in :mod:`guestagent_core.agent`, :mod:`guestagent_core.discovery` and
:mod:`guestagent_core.client`; hooks plugins begin with :mod:`guestagent_core.hookspecs`.
"""

from .calls import Call
from .channels import ChannelRunner
from .commands import CommandBase, CommandResult, CommandSpec, command
from .context import Context
from .dispatcher import Dispatcher
from .errors import (
    CommandDeniedError,
    CommandError,
    CommandNotFoundError,
    CommandTimeoutError,
    ConfigError,
    ExchangeError,
    GuestAgentError,
    InvalidArgumentError,
    PluginConflictError,
    PluginError,
    PluginLoadError,
    PluginNotFoundError,
    ResponseTooLargeError,
)
from .protocols import (
    CommandRunner,
    Discarding,
    Exchange,
    Parser,
    Request,
    Response,
    Store,
    Waitable,
    WritableStore,
)
from .registry import CommandRegistry
from .version import VERSION as __version__
from .waking import Waker

__all__ = (
    "Call",
    "ChannelRunner",
    "CommandBase",
    "CommandDeniedError",
    "CommandError",
    "CommandNotFoundError",
    "CommandRegistry",
    "CommandResult",
    "CommandRunner",
    "CommandSpec",
    "CommandTimeoutError",
    "ConfigError",
    "Context",
    "Discarding",
    "Dispatcher",
    "Exchange",
    "ExchangeError",
    "GuestAgentError",
    "InvalidArgumentError",
    "Parser",
    "PluginConflictError",
    "PluginError",
    "PluginLoadError",
    "PluginNotFoundError",
    "Request",
    "Response",
    "ResponseTooLargeError",
    "Store",
    "Waitable",
    "Waker",
    "WritableStore",
    "__version__",
    "command",
)
