"""What is no file is neither changed nor replaced where a log or a pid file is asked for: /dev/null has to stay."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest

from guestagent_core import ConfigError
from guestagent_core.logs import LogFile
from guestagent_core.service import pid_file


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    """Stands for a device, which only root could make."""
    path = tmp_path / "queue"
    os.mkfifo(path)
    path.chmod(0o666)
    return path


def test_a_log_leaves_the_mode_of_a_device(queue: Path) -> None:
    reader = os.open(queue, os.O_RDONLY | os.O_NONBLOCK)
    log = LogFile(queue)
    log.emit(logging.makeLogRecord({"msg": "seen"}))
    log.close()
    assert os.read(reader, 100) == b"seen\n"
    os.close(reader)
    assert stat.S_IMODE(queue.stat().st_mode) == 0o666


def test_a_pid_file_does_not_take_the_place_of_a_device(queue: Path) -> None:
    with pytest.raises(ConfigError, match="it is there, and no file"), pid_file(queue):
        pass
    assert stat.S_ISFIFO(queue.stat().st_mode)
    assert [path.name for path in queue.parent.iterdir()] == ["queue"]
