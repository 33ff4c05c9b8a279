"""A subcommand: ``guestagent acme``."""

from __future__ import annotations

import argparse

__all__ = ("add",)


def add(parser: argparse.ArgumentParser) -> None:
    """Says what it takes."""
    parser.add_argument("--name", default="world")
    parser.set_defaults(run=_greet)


def _greet(options: argparse.Namespace) -> int:
    print(f"hello, {options.name}")
    return 0
