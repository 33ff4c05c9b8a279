"""Runs the command line: ``python -m guestagent_core``."""

import sys

from .cli import main

__all__ = ()

if __name__ == "__main__":
    sys.exit(main())
