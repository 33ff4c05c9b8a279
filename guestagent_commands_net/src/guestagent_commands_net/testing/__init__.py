"""What the tests of a vendor's network backends inherit; needs ``guestagent_commands_net[testing]``.

- :class:`NetworkBackendContract`: the clauses that every backend has to keep, as tests. Inherit it in a class whose
  name begins with ``Test``.
- :func:`examples`: interfaces that show each thing that the model has.
- :func:`apply_changes`: files once changes are made.
"""

from guestagent_commands_net.backends import apply_changes

from .backend_contract import NetworkBackendContract
from .examples import Example, examples

__all__ = ("Example", "NetworkBackendContract", "apply_changes", "examples")
