"""A XenStore for machines without Xen, for demonstrations and for tests; it is never used by the agent itself."""

from .server import DevelopmentStore

__all__ = ("DevelopmentStore",)
