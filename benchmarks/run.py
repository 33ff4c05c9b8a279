"""Runs the benchmarks and prints a table of ratios: ``python benchmarks/run.py [NAME ...] [--rounds N]``.

Both sides of a ratio are measured in turn in one run, so that it holds on any machine; absolute figures do not.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys

import guestagent_core

BENCHMARKS = ("parsing", "local_channel", "starting", "idling")


def main() -> int:
    """Returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description="Runs the benchmarks and prints a table of ratios.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(BENCHMARKS)}")
    parser.add_argument("--rounds", type=int, default=15, help="interleaved measurements of each (default: 15)")
    options = parser.parse_args()
    names = options.names or BENCHMARKS
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    print(f"guestagent {guestagent_core.__version__}, Python {platform.python_version()}, {platform.platform()},")
    print(f"{os.cpu_count()} processors, medians of {options.rounds} rounds")
    print(f"{'':<48} {'ours':>11} {'other':>11} {'':<11} {'ratio':>6}  goal")
    missed = 0
    for name in names:
        for row in importlib.import_module(name).measure(options.rounds):
            print(row, flush=True)
            missed += not row.met
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
