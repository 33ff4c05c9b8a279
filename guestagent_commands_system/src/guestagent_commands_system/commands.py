"""The command pack ``system``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from guestagent_core import CommandBase, CommandError, CommandResult, Context, command

from . import options
from .values import Injection, encrypted_password

if TYPE_CHECKING:
    from .downloads import Source
    from .key_exchange import KeyExchange

__all__ = ("SystemCommands",)

_USER = "root"
_LONGEST_SHOWN = 200  # characters
_LONGEST_TEXT = 500  # characters; the store of a host has some 2 kB for an answer


def _public_number(value: object) -> int:
    from .key_exchange import public_number

    return public_number(value)


def _source(value: object) -> Source:
    from .downloads import Source

    return Source.from_value(value)


class SystemCommands(CommandBase):
    """What XenServer and OpenStack hosts ask of every guest: a password, files, a new agent, an activation."""

    Options = options.Options

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._exchanges: dict[str, KeyExchange] = {}  # by channel: no host spoils what another one has begun

    def enabled(self, name: str) -> bool:
        """Returns whether the command is offered; ``agentupdate`` is if the configuration turns it on."""
        return name != "agentupdate" or self._update_options().enabled

    @command("keyinit", args=_public_number, idempotent=True, examples=("98013499412720068566681986315768", 78125))
    def keyinit(self, value: int) -> CommandResult:
        """Takes the host's public number and answers, with the code D0, the agent's; a password may follow."""
        import cryptography.hazmat.primitives.ciphers  # noqa: F401 - a host is to be told now if it is missing

        from .key_exchange import KeyExchange

        exchange = KeyExchange(value)
        self._exchanges[self.context.call.channel] = exchange
        return CommandResult("D0", str(exchange.public))

    @command("password", args=encrypted_password, secret=True, examples=("Z+3ILEVMWWkdISrYwvWkYQ==",))
    def password(self, value: bytes) -> CommandResult:
        """Sets the password of root to the one that is encrypted with the key of the last ``keyinit``."""
        channel = self.context.call.channel
        exchange = self._exchanges.get(channel)
        if exchange is None:
            raise CommandError("Password without key exchange")
        from .passwords import checked_password, set_password

        password = checked_password(exchange.decrypt(value))
        chosen: options.Options | None = self.context.options
        if chosen is None or not chosen.testmode:
            with _told():
                set_password(self.context, _USER, password)
        del self._exchanges[channel]
        return CommandResult()

    @password.resume
    def password_interrupted(self, value: bytes) -> CommandResult:
        """Answers that the key went with the agent that was to set the password: it may be set, or not."""
        raise CommandError("The agent ended while it set the password; begin again with keyinit")

    @command(
        "injectfile",
        args=Injection.from_text,
        secret=True,
        idempotent=True,
        examples=("L2V0Yy9tb3RkLGhlbGxv",),
    )
    def injectfile(self, value: Injection) -> CommandResult:
        """Puts a file into the guest; the value is base64 of its path, a comma and its content."""
        from .files import write_file

        with _told(value.path):
            write_file(self.context, value.path, value.content)
        return CommandResult()

    @command(
        "file_inject",
        args=Injection.from_object,
        secret=True,
        idempotent=True,
        examples=({"b64_path": "L2V0Yy9tb3Rk", "b64_file": "aGVsbG8="},),
    )
    def file_inject(self, value: Injection) -> CommandResult:
        """Puts a file into the guest, as ``injectfile`` does; the value is an object of path and content in base64."""
        return CommandResult(*self.injectfile(value))

    @command(
        "agentupdate",
        args=_source,
        secret=True,  # a URL may hold a password
        timeout=600,
        examples=("https://host.example/agent.tar,0123456789abcdef0123456789abcdef",),
    )
    def agentupdate(self, value: Source) -> CommandResult:
        """Replaces the agent by what an archive holds; the value is its URL, a comma and its MD5 or SHA-256 digest."""
        from .update import update

        try:
            with _told():
                update(self.context, value, self._update_options())
        except CommandError as error:  # one of the codes is 404, which a parser would not keep
            return CommandResult(error.code, str(error))
        return CommandResult()

    @command(
        "kmsactivate",
        secret=True,
        timeout=120,
        examples=({"activation_key": "K", "profile": "P", "domains": ["proxy.example"]},),
    )
    def kmsactivate(self, value: object) -> CommandResult:
        """Registers a Red Hat system; the value is an object of ``activation_key``, ``profile`` and ``domains``."""
        from .kms import Activation, activate, is_red_hat

        with _told():
            if not is_red_hat(self.context):
                raise CommandError("KMS not supported on this OS")
            activate(self.context, Activation.from_value(value))
        return CommandResult()

    def _update_options(self) -> options.UpdateOptions:
        chosen: options.Options | None = self.context.options
        return (chosen and chosen.agentupdate) or options.UpdateOptions()


@contextmanager
def _told(path: str = "") -> Iterator[None]:
    """Turns an error of the system into one that the host is told, as the original agent did.

    :param path: what the command is about, where that is one path.
    """
    try:
        yield
    except CommandError:
        raise
    except OSError as error:
        if path:
            raise CommandError(f"[Errno {error.errno}] {error.strerror}: {path[:_LONGEST_SHOWN]!r}") from error
        raise CommandError(str(error)[:_LONGEST_TEXT]) from error
