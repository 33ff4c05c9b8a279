"""Both programs, run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from example_embedded.asyncio_program import serve


def test_the_plain_loop_answers_until_its_input_ends() -> None:
    asked = '{"name": "counter.add", "value": 2}\n{"name": "counter.add", "value": "3"}\nnonsense\n'
    program = "from example_embedded.plain_loop import main; raise SystemExit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program], input=asked, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == [
        '{"message": "2", "returncode": "0"}',
        '{"message": "5", "returncode": "0"}',
        '{"message": "Request is malformed", "returncode": "500"}',
    ]


def test_the_asyncio_program_answers_several_at_once() -> None:
    async def ask(path: Path, times: int) -> bytes:
        reader, writer = await asyncio.open_unix_connection(path)
        for _ in range(times):
            writer.write(b'{"name": "counter.add", "value": 1}\n')
            answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer

    async def run(path: Path) -> list[bytes]:
        stop = asyncio.Event()
        serving = asyncio.create_task(serve(path, stop))
        while not path.exists():
            await asyncio.sleep(0.01)
        answers = await asyncio.gather(*(ask(path, 5) for _ in range(4)))
        stop.set()
        await serving
        return answers

    with tempfile.TemporaryDirectory() as folder:
        answers = asyncio.run(asyncio.wait_for(run(Path(folder, "s")), 60))
    assert b'{"message": "20", "returncode": "0"}\n' in answers
