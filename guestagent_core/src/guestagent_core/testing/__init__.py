"""What the tests of a vendor's plugins inherit; needs ``guestagent_core[testing]``.

- :class:`CommandPackContract`, :class:`ExchangeContract`, :class:`ParserContract`, :class:`StoreContract`,
  :class:`HooksContract`: the clauses that every plugin of the kind has to keep, as tests. Inherit one in a class whose
  name begins with ``Test`` and give it the fixtures that its docstring names.
- :class:`RecordedPrograms`: what the fixture ``programs`` returns; :class:`Programs` runs them for real.
- :class:`MemoryExchange`: an exchange to test parsers, packs and whole agents with.
- :func:`run_agent`: what the fixture ``agent`` runs.
"""

from guestagent_core.programs import Programs

from .agents import Answer, RunningAgent, run_agent
from .contract import Contract
from .exchange_contract import ExchangeContract, Question, take_request, wait_until
from .hooks_contract import HooksContract, sample_call
from .memory import MemoryExchange, MemoryQuestion
from .pack_contract import CommandPackContract
from .parser_contract import ParserContract
from .programs import ProgramRun, RecordedPrograms
from .store_contract import StoreContract

__all__ = (
    "Answer",
    "CommandPackContract",
    "Contract",
    "ExchangeContract",
    "HooksContract",
    "MemoryExchange",
    "MemoryQuestion",
    "ParserContract",
    "ProgramRun",
    "Programs",
    "Question",
    "RecordedPrograms",
    "RunningAgent",
    "StoreContract",
    "run_agent",
    "sample_call",
    "take_request",
    "wait_until",
)
