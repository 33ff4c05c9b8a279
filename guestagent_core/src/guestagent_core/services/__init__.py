"""The agent as a service of the init system: ``guestagent service``.

The files in ``files`` are used as they stand by packages that put the program at ``/usr/bin/guestagent``.
"""

__all__ = ()
