"""XenStore daemons of a distribution, run without a hypervisor, and guests that talk to them through a device.

It needs Linux, gcc, ``xenstore-utils`` and the daemons, and neither root nor pytest::

    with TemporaryDirectory() as folder, Daemon("xenstored", Path(folder), find_programs()) as daemon:
        daemon.host.write("/tool", b"x")  # through xenstore-write; daemon.socket is there for everybody else
        with Guest(daemon, 7) as guest:
            ...  # guest.device is what /dev/xen/xenbus is to domain 7
"""

from .agents import Agent
from .daemons import DAEMONS, Daemon
from .guests import Guest
from .hosts import Host, Watch
from .programs import Programs, ProgramsMissingError, find_programs

__all__ = ("DAEMONS", "Agent", "Daemon", "Guest", "Host", "Programs", "ProgramsMissingError", "Watch", "find_programs")
