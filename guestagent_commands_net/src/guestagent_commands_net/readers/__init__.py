"""From what a host says to one :class:`~guestagent_commands_net.model.Change`: one reader for each form.

- :mod:`.sources`: which form it is, from the channel's store or the request's own value
- :mod:`.xenserver`, :mod:`.ansible`, :mod:`.openstack`, :mod:`.cloud_init`, :mod:`.family`: the forms
"""

__all__ = ()
