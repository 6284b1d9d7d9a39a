"""Label Studio's webhooks as a doorbell: they say that somebody answered, and nothing more.

Nothing that a webhook brings is believed. It makes a worker ask Label Studio now instead of in ten
seconds, so one that is forged or sent again can cause no more than a pull, and one that is lost
costs no more than the wait for the next.

Label Studio waits for the reply inside the annotator's request, at most a second, and never tries
again. So every ring is answered at once, before anything is done about it.
"""

import asyncio
import hmac
import logging
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

from curation.workspace import Project
from labeling.connection import Connection
from labeling.remote import RemoteWebhook

logger = logging.getLogger(__name__)

# Whatever changes what was said. Deleted tasks are not among them: what was said in them stays.
ACTIONS = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
)
SECRET_HEADER = "X-Hook-Secret"
# Label Studio sends {"action": ...} and about ten headers.
HEAD_BYTES = 8 * 1024
BODY_BYTES = 8 * 1024
# One ring takes milliseconds, all of it together; who is slower is cut off.
SECONDS_EACH = 2.0
MOST_AT_ONCE = 64

RUNG = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
NOTHING_HERE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Door:
    """Where one project's bell is rung.

    Attributes:
        url: the address, with a part that nobody can guess.
        headers: what must be sent along.
        prefix: what the paths of all bells of this project begin with, also of earlier workers.
    """

    url: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    prefix: str


class Doorbell(AbstractContextManager["Doorbell"]):
    """Listens for as long as it is open, on an address that only this machine reaches.

    Its secrets are new each time, and are nowhere but in this object and where `hang` puts them.

    Args:
        ring: called with the id of the project that was rung for, in the doorbell's thread; it must
            only make a note of that.
        host: the address of this machine to listen on.

    Raises (on opening):
        OSError: nothing can listen there.
    """

    def __init__(self, ring: Callable[[int], None], *, host: str) -> None:
        self._ring = ring
        self._host = host
        self._secret = secrets.token_urlsafe(32)
        self._paths: dict[int, str] = {}
        self._visitors: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> "Doorbell":
        """Begin to listen."""
        self._socket = socket.create_server((self._host, 0))
        self.port = int(self._socket.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
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

    def door(self, project: Project) -> Door:
        """The door of a project, the same at every call."""
        prefix = _prefix(project)
        path = self._paths.setdefault(project.id, prefix + secrets.token_urlsafe(32))
        url = f"http://{self._host}:{self.port}{path}"
        return Door(url, {SECRET_HEADER: self._secret}, prefix)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._listen())

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._reply, sock=self._socket, limit=HEAD_BYTES)
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

    async def _reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._visitors.add(writer)
        try:
            if len(self._visitors) <= MOST_AT_ONCE:
                async with asyncio.timeout(SECONDS_EACH):
                    project_id = await self._rung(reader)
                    if project_id is not None:
                        self._ring(project_id)
                    writer.write(NOTHING_HERE if project_id is None else RUNG)
                    await writer.drain()
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            # Too slow (a TimeoutError is an OSError), too long, gone, or no HTTP: no business here.
            logger.debug("Somebody at the doorbell was cut off.")
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self._visitors.discard(writer)

    async def _rung(self, reader: asyncio.StreamReader) -> int | None:
        """The project whose bell was rung; none for whatever else was asked."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        asked, *lines = head.split("\r\n")
        method, path, _ = asked.split(" ", 2)
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", "0"))
        if method != "POST" or length > BODY_BYTES:
            return None
        await reader.readexactly(length)
        knows = _same(headers.get(SECRET_HEADER.lower(), ""), self._secret)
        # All of them, so that the time taken tells nothing.
        rung = [key for key, ours in tuple(self._paths.items()) if _same(path, ours)]
        return rung[0] if knows and rung else None


def hang(connection: Connection, remote_project_id: int, door: Door) -> bool:
    """Has a Label Studio project ring at this door and at no earlier one of the same project.

    Webhooks of other people stay as they are.

    Returns:
        Whether it did not do so before.

    Raises:
        LabelStudioRefused: the server may not call this address.
    """
    ours = _ours(connection, remote_project_id, door.prefix)
    kept = [
        there.id
        for there in ours
        if there.url == door.url and there.is_active and set(there.actions) == set(ACTIONS)
    ][:1]
    if not kept:
        connection.create_webhook(
            remote_project_id, door.url, headers=door.headers, actions=ACTIONS
        )
    # The former ones last: at no time is there none.
    for there in ours:
        if there.id not in kept:
            connection.delete_webhook(there.id)
    return not kept


def take_down(connection: Connection, remote_project_id: int, project: Project) -> None:
    """Has a Label Studio project ring at none of this project's doors any more."""
    for there in _ours(connection, remote_project_id, _prefix(project)):
        connection.delete_webhook(there.id)


def _ours(connection: Connection, remote_project_id: int, prefix: str) -> list[RemoteWebhook]:
    found = [(there, urlsplit(there.url)) for there in connection.webhooks(remote_project_id)]
    return [
        there
        for there, parts in found
        if (parts.hostname or "").startswith("127.") and parts.path.startswith(prefix)
    ]


def _prefix(project: Project) -> str:
    """Of the bells of a project, by its seed: other workspaces have other seeds."""
    return f"/labelloop/{project.record.seed:x}/"


def _same(given: str, ours: str) -> bool:
    return hmac.compare_digest(given.encode(), ours.encode())
