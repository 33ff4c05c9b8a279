"""What was written for the agents before guestagent 3, run unchanged on today's core, exchange and packs.

- the old command line: :mod:`guestagent_legacy.cli`
- single old classes in a configuration of today: :mod:`guestagent_legacy.modern`
"""

__all__ = ()
