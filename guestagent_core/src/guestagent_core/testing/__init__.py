"""What the tests of a vendor's plugins inherit; needs ``guestagent_core[testing]``.

- :class:`ExchangeContract`, :class:`ParserContract`, :class:`CommandPackContract`: the clauses that every plugin of the
  kind has to keep, as tests. Inherit one in a class whose name begins with ``Test`` and give it the fixtures that its
  docstring names.
- :class:`MemoryExchange`: an exchange to test parsers, packs and whole agents with.
"""

from .exchange_contract import ExchangeContract, Question, take_request
from .memory import MemoryExchange, MemoryQuestion
from .pack_contract import CommandPackContract
from .parser_contract import ParserContract

__all__ = (
    "CommandPackContract",
    "ExchangeContract",
    "MemoryExchange",
    "MemoryQuestion",
    "ParserContract",
    "Question",
    "take_request",
)
