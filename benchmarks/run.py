"""Runs the benchmarks and prints a table of ratios: ``python benchmarks/run.py [NAME ...] [--rounds N]``.

Both sides of a ratio are measured in turn in one run, so that it holds on any machine; absolute figures do not.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys

from measuring import NotMeasuredError, Row

import guestagent_core

BENCHMARKS = (
    "parsing",
    "local_channel",
    "busy",
    "journalling",
    "network",
    "xenstore",
    "xapi",
    "qemu_agent",
    "starting",
    "idling",
    "vendor_hour",
)


def main() -> int:
    """Returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description="Runs the benchmarks and prints a table of ratios.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(BENCHMARKS)}")
    parser.add_argument("--rounds", type=int, default=15, help="interleaved measurements of each (default: 15)")
    parser.add_argument("--plot", metavar="FILE", help="draw the ratios too, as .svg or .png (needs matplotlib)")
    options = parser.parse_args()
    names = options.names or BENCHMARKS
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    print(f"guestagent {guestagent_core.__version__}, Python {platform.python_version()}, {platform.platform()},")
    print(f"{os.cpu_count()} processors, medians of {options.rounds} rounds")
    print(f"{'':<48} {'ours':>11} {'other':>11} {'':<11} {'ratio':>6}  goal")
    rows = []
    for name in names:
        try:
            measured = importlib.import_module(name).measure(options.rounds)
        except NotMeasuredError as missing:
            print(f"{name}: NOT MEASURED: {missing}", flush=True)
            continue
        for row in measured:
            print(row, flush=True)
            rows.append(row)
    if options.plot is not None:
        plot(rows, options.plot)
    return 0 if all(row.met for row in rows) else 1


def plot(rows: list[Row], file: str) -> None:
    """Draws each ratio beside its goal; needs matplotlib."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 0.6 * len(rows) + 1))
    titles = [row.title for row in rows]
    axes.barh(titles, [row.ratio for row in rows], color=["tab:green" if row.met else "tab:red" for row in rows])
    axes.scatter([row.goal for row in rows], titles, marker="|", s=400, color="black", label="goal")
    axes.set_xlabel(f"ratio of ours to the other; Python {platform.python_version()}, {platform.platform()}")
    axes.invert_yaxis()
    axes.legend()
    figure.tight_layout()
    figure.savefig(file)


if __name__ == "__main__":
    sys.exit(main())
