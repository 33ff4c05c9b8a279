"""What the benchmarks share: two ways of doing the same thing, measured in turn, and the ratio between them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

__all__ = ("NotMeasuredError", "Row", "compare", "percentile", "timed")


class NotMeasuredError(Exception):
    """What the benchmark needs is not to be had here."""


class Row(NamedTuple):
    """One line of the table."""

    title: str
    unit: str
    ours: float
    other: float
    goal: float
    """The largest ratio ours / other, or the smallest one if ``more_is_better``."""
    more_is_better: bool = False

    @property
    def ratio(self) -> float:
        """How much of the other's ours is."""
        return self.ours / self.other

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.ratio >= self.goal if self.more_is_better else self.ratio <= self.goal

    def __str__(self) -> str:
        sign = ">=" if self.more_is_better else "<="
        verdict = "met" if self.met else "MISSED"
        figures = f"{self.ours:>11.2f} {self.other:>11.2f} {self.unit:<11} {self.ratio:>6.2f}"
        return f"{self.title:<48} {figures}  {sign} {self.goal:<5} {verdict}"


def timed(function: Callable[[], object], times: int) -> float:
    """Returns the seconds that one call takes, on average over ``times`` calls."""
    started = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - started) / times


def compare(ours: Callable[[], float], other: Callable[[], float], rounds: int) -> tuple[float, float]:
    """Returns the medians of two measurements taken in turn, so that a drift of the machine hits both."""
    ours(), other()
    figures = [(ours(), other()) for _ in range(rounds)]
    return statistics.median(first for first, _ in figures), statistics.median(second for _, second in figures)


def percentile(figures: list[float], share: float) -> float:
    """Returns the figure below which ``share`` of all lie."""
    return sorted(figures)[min(int(len(figures) * share), len(figures) - 1)]
