"""A distribution that can be loaded, and then tries to take the agent down in every way that a plugin has."""

__all__ = ()
