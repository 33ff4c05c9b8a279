"""XAPI hosts (XenServer, XCP-ng) for guestagent: what they show of a guest, and what they set in it.

- :mod:`guestagent_xapi.hooks`: the publisher, which tells the host what the guest is and which addresses it has
- :mod:`guestagent_xapi.vif_exchange`, :mod:`.vif_parser`, :mod:`.vif_commands`: addresses that the host sets
- :mod:`guestagent_xapi.script_exchange`, :mod:`.script_parser`: registered commands, called by the host
"""

__all__ = ()
