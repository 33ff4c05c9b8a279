"""The network backends that come with the distribution, and the files of the tools that they drive.

A backend has the name of its tool; what stands between the model and its files is beside it.
"""

__all__ = ()
