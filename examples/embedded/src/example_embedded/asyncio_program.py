"""An asyncio program that answers requests: it reads and writes sockets, and leaves commands to a thread.

Commands may block; asyncio's loop may not. So the exchange is a queue between the two, and ``run_once`` runs in a
thread, one request after the other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path

from guestagent_core import ChannelRunner, CommandRegistry, Dispatcher, Request, Response
from guestagent_json import JsonParser

from .pack import Counter

__all__ = ("QueueExchange", "serve")


class QueueExchange:
    """An exchange whose requests are put by coroutines, which await their answers."""

    def __init__(self) -> None:
        self._requests: deque[Request] = deque()  # its methods are safe between threads
        self._loop = asyncio.get_running_loop()
        #: Set whenever there is a request.
        self.asked = asyncio.Event()

    async def ask(self, data: bytes) -> bytes:
        """Returns the answer to a request."""
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._requests.append({"data": data, "answer": answer})
        self.asked.set()
        return await answer

    def get_request(self) -> Request | None:
        """Returns the next request; called in a thread."""
        return self._requests.popleft() if self._requests else None

    def put_response(self, request: Request, response: Response) -> None:
        """Gives the answer to the coroutine that waits for it; called in a thread."""
        data = response["data"]
        answer = data.encode() if isinstance(data, str) else data
        self._loop.call_soon_threadsafe(_settle, request["answer"], answer)


def _settle(future: asyncio.Future[bytes], answer: bytes) -> None:
    if not future.done():  # whoever asked may have gone away
        future.set_result(answer)


async def serve(path: Path, stop: asyncio.Event) -> None:
    """Answers requests, one a line, on a Unix socket until ``stop`` is set."""
    exchange = QueueExchange()
    dispatcher = Dispatcher(exchange, JsonParser(ChannelRunner(CommandRegistry([Counter]), "asyncio")))

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async for line in reader:
                writer.write(await exchange.ask(line) + b"\n")
                await writer.drain()
        finally:
            writer.close()

    async def answer() -> None:
        while True:
            await exchange.asked.wait()
            exchange.asked.clear()
            while await asyncio.to_thread(dispatcher.run_once):
                pass

    async with await asyncio.start_unix_server(converse, path):
        answering = asyncio.create_task(answer())
        await stop.wait()
        answering.cancel()
