"""Can be imported, but not built."""

from guestagent_core import CommandBase, Context

__all__ = ("Pack",)


class Pack(CommandBase):
    """Fails when it is built."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        raise OSError("no such device")
