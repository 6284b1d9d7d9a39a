"""A very small HTTP server for what Label Studio calls: one request, one reply, then good-bye."""

import asyncio
import hmac
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from types import TracebackType

logger = logging.getLogger(__name__)

HEAD_BYTES = 8 * 1024
MOST_AT_ONCE = 64

NOTHING_HERE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Visitor:
    """Somebody who asks for something.

    Attributes:
        headers: by their names in small letters.
        length: bytes of what they bring, which are not read yet.
    """

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    length: int
    reader: asyncio.StreamReader = field(repr=False)

    async def read(self) -> bytes:
        """What they bring."""
        return await self.reader.readexactly(self.length)


Reply = Callable[[Visitor], Awaitable[bytes]]
"""Gives the whole answer, its status line included; a ValueError cuts the visitor off."""


class Listener(AbstractContextManager["Listener"]):
    """Listens for as long as it is open.

    Args:
        reply: answers one visitor, in the listener's thread.
        host: the address of this machine to listen on.
        name: of its thread.
        seconds_each: who is not done by then is cut off.

    Raises (on opening):
        OSError: nothing can listen there.
    """

    def __init__(self, reply: Reply, *, host: str, name: str, seconds_each: float) -> None:
        self._reply = reply
        self._host = host
        self._name = name
        self._seconds_each = seconds_each
        self._visitors: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> "Listener":
        """Begin to listen."""
        self._socket = socket.create_server((self._host, 0))
        self.port = int(self._socket.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening; what is half said is cut off."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._listen())

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._welcome, sock=self._socket, limit=HEAD_BYTES)
        await self._stop.wait()
        # Who has just come in is among the visitors a moment later; a server that is closed by then
        # would forget their sockets.
        self._loop.remove_reader(self._socket)
        await asyncio.sleep(0.01)
        server.close()
        while self._visitors:
            for visitor in self._visitors:
                visitor.transport.abort()
            await asyncio.sleep(0.01)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._visitors.add(writer)
        try:
            if len(self._visitors) <= MOST_AT_ONCE:
                async with asyncio.timeout(self._seconds_each):
                    writer.write(await self._reply(await _visitor(reader)))
                    await writer.drain()
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            # Too slow (a TimeoutError is an OSError), too long, gone, or no HTTP: no business here.
            logger.debug("Somebody was cut off.")
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self._visitors.discard(writer)


async def _visitor(reader: asyncio.StreamReader) -> Visitor:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    asked, *lines = head.split("\r\n")
    method, path, _ = asked.split(" ", 2)
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Visitor(method, path, headers, int(headers.get("content-length", "0")), reader)


def same(given: str, ours: str) -> bool:
    """Whether two secrets are the same; how long it takes tells nothing."""
    return hmac.compare_digest(given.encode(), ours.encode())
