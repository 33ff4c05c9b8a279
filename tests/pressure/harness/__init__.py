"""An agent under pressure, as a process with limits of its own."""

from .agents import PressedAgent, request

__all__ = ("PressedAgent", "request")
