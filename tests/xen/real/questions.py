"""What a host of the tests asks often: each question has a name of its own, and an answer that says it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence

from tests.xen.harness import Host, Watch

__all__ = ("Questions",)

_PATIENCE = 60.0  # seconds


class Questions:
    """The host of one domain, which collects answers and removes them.

    :param host: domain 0.
    :param home: the path of the asked domain's nodes.
    """

    def __init__(self, host: Host, home: str) -> None:
        self.open: set[str] = set()
        """Those whose answers have not been read."""
        self._host = host
        self._requests, self._answers = f"{home}/data/host", f"{home}/data/guest"

    def ask(self, names: Iterable[str]) -> None:
        """Writes requests, all at the same moment. An agent that does not know the command says its name."""
        names = list(names)
        self.open.update(names)
        content = {name: json.dumps({"name": name, "value": ""}).encode() for name in names}
        self._host.write({f"{self._requests}/{name}": content[name] for name in names})

    def ask_again(self) -> None:
        """Writes once more what has not been answered: the store has lost it."""
        self.ask(self.open)

    def watch(self) -> Watch:
        """Returns a watch to collect with."""
        return self._host.watch(self._answers)

    def collect(self, watch: Watch, *, most_open: int = 0, patience: float = 60.0) -> None:
        """Reads answers and removes them, until no more than ``most_open`` are missing.

        :param patience: seconds without any answer after which the rest counts as unanswered.
        """
        quiet_since = time.monotonic()
        while len(self.open) > most_open:
            told = sorted({path.rpartition("/")[2] for path in watch.changed(1.0)} & self.open)
            if not told:
                assert time.monotonic() < quiet_since + patience, f"{len(self.open)} requests stay without an answer"
                continue
            self.read(told)
            self._host.remove(*(f"{self._answers}/{name}" for name in told))
            self.open.difference_update(told)
            quiet_since = time.monotonic()

    def read(self, names: Sequence[str]) -> None:
        """Reads answers, all of which have to be there, and leaves them where they are."""
        answers = self._host.read_all(f"{self._answers}/{name}" for name in names)
        for name, answer in zip(names, answers, strict=True):
            assert json.loads(answer) == {"returncode": "404", "message": f"No such agent command '{name}'"}

    def withdraw(self, names: Iterable[str]) -> None:
        """Removes requests, as a host does that has waited long enough."""
        names = list(names)
        self._host.remove(*(f"{self._requests}/{name}" for name in names))
        self.open.difference_update(names)

    def answered(self) -> list[str]:
        """Returns the names of all answers that are there."""
        return self._host.list(self._answers)

    def all_taken(self) -> bool:
        """Returns whether no request is there any more, whatever became of the answers."""
        return not self._host.list(self._requests)

    def await_taken(self) -> None:
        """Waits until no request is there any more, whatever became of the answers."""
        with self._host.watch(self._requests) as watch:
            while not self.all_taken():
                assert watch.changed(_PATIENCE), "requests stay where they are"

    def assert_nothing_is_left(self) -> None:
        """Checks that all requests are gone, and all answers with them."""
        assert not self.open
        assert self._host.list(self._requests) == []
        assert self._host.list(self._answers) == []
