"""The JSON parser of guestagent: the wire format of XenServer and OpenStack hosts."""

from .parser import JsonParser

__all__ = ("JsonParser",)
