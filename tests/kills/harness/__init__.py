"""An agent that can be killed at any step of a request's way, and hosts that ask it and keep account."""

from .agents import STEPS, CountingAgent
from .hosts import Account, LocalHost, XenHost

__all__ = ("STEPS", "Account", "CountingAgent", "LocalHost", "XenHost")
