"""A distribution of which nothing works."""

__all__ = ()
