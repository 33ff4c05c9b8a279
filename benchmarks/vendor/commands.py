"""The commands of guestagent_acme."""

from __future__ import annotations

from guestagent_core import CommandBase, CommandResult, command

__all__ = ("AcmeCommands",)


def mount_point(value: object) -> str:
    """Returns the path of a mount point; whatever is raised here refuses the request before the command runs."""
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise ValueError("A mount point is an absolute path")
    return value


class AcmeCommands(CommandBase):
    """What a host can ask for."""

    @command("acme.mounts", parallel=True)
    def mounts(self, value: object) -> CommandResult:
        """Answers the mount points."""
        lines = self.context.path("/proc/mounts").read_text().splitlines()
        return CommandResult(0, [line.split()[1] for line in lines])

    @command("acme.trim", args=mount_point, timeout=600)
    def trim(self, path: str) -> CommandResult:
        """Gives unused blocks back to the host; answers what fstrim says."""
        done = self.context.run(["fstrim", "--verbose", "--", path])
        return CommandResult(0, done.stdout.decode())
