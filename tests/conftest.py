"""What all tests share: the guard that keeps them off the machine, and what makes a `real` test skip or fail."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_agent_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    """Points every default folder of an agent into the test's own."""
    for variable in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY"):
        monkeypatch.setenv(variable, os.path.join(tmp_path, variable.lower()))
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Turns the skip of a `real` test into a failure where everything is to be had (GUESTAGENT_REAL=1)."""
    skipped = call.excinfo is not None and isinstance(call.excinfo.value, pytest.skip.Exception)
    if skipped and os.environ.get("GUESTAGENT_REAL") and item.get_closest_marker("real"):
        assert call.excinfo is not None
        call.excinfo = pytest.ExceptionInfo.from_exception(AssertionError(f"skipped: {call.excinfo.value}"))
