"""XenStore for guestagent: the side channel between the domains of a Xen host.

- :mod:`guestagent_xen.exchange`: requests and answers as nodes, the ``xenstore`` exchange
- :mod:`guestagent_xen.store`: what the host published for the guest, the ``xenstore`` store
- :mod:`guestagent_xen.host`: the host's side of the conversation
"""

__all__ = ()
