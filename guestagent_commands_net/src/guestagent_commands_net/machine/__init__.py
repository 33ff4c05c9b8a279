"""What a change of the network means for the machine as a whole.

- :mod:`.host`: all of it
- :mod:`.hosts_file`, :mod:`.resolver`, :mod:`.hostname`, :mod:`.cloud_init_file`: the parts
"""

__all__ = ()
