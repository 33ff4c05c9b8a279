"""The version of all guestagent distributions; ``tools/bump.py`` writes it."""

__all__ = ("VERSION",)

VERSION = "3.0.0"
