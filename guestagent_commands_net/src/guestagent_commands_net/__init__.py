"""The network of a virtual machine for guestagent: the command ``resetnetwork`` and the backends that it works with.

- :mod:`guestagent_commands_net.model`: what a network is to be like
- :mod:`guestagent_commands_net.backends`: what a network backend has to offer
"""

__all__ = ()
