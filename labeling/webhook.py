"""Label Studio's webhooks as a doorbell: they say that somebody answered, and nothing more.

Nothing that a webhook brings is believed. It makes a worker ask Label Studio now instead of in ten
seconds, so one that is forged or sent again can cause no more than a pull, and one that is lost
costs no more than the wait for the next.

Label Studio waits for the reply inside the annotator's request, at most a second, and never tries
again. So every ring is answered at once, before anything is done about it.
"""

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

from curation.workspace import Project
from labeling.connection import Connection
from labeling.listener import NOTHING_HERE, Listener, Visitor, same
from labeling.remote import RemoteWebhook

# Whatever changes what was said. Deleted tasks are not among them: what was said in them stays.
ACTIONS = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
)
SECRET_HEADER = "X-Hook-Secret"
BODY_BYTES = 8 * 1024  # Label Studio sends {"action": ...}
# One ring takes milliseconds, all of it together; who is slower is cut off.
SECONDS_EACH = 2.0

RUNG = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


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
        self._listener = Listener(
            self._reply, host=host, name="doorbell", seconds_each=SECONDS_EACH
        )

    def __enter__(self) -> "Doorbell":
        """Begin to listen."""
        self._listener.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening; what is half said is cut off."""
        self._listener.__exit__(exc_type, exc_value, traceback)

    @property
    def port(self) -> int:
        """At which it listens."""
        return self._listener.port

    def door(self, project: Project) -> Door:
        """The door of a project, the same at every call."""
        prefix = path_prefix(project)
        path = self._paths.setdefault(project.id, prefix + secrets.token_urlsafe(32))
        url = f"http://{self._host}:{self.port}{path}"
        return Door(url, {SECRET_HEADER: self._secret}, prefix)

    async def _reply(self, visitor: Visitor) -> bytes:
        project_id = await self._rung(visitor)
        if project_id is None:
            return NOTHING_HERE
        self._ring(project_id)
        return RUNG

    async def _rung(self, visitor: Visitor) -> int | None:
        """The project whose bell was rung; none for whatever else was asked."""
        if visitor.method != "POST" or visitor.length > BODY_BYTES:
            return None
        await visitor.read()
        knows = same(visitor.headers.get(SECRET_HEADER.lower(), ""), self._secret)
        # All of them, so that the time taken tells nothing.
        rung = [key for key, ours in tuple(self._paths.items()) if same(visitor.path, ours)]
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
    for there in _ours(connection, remote_project_id, path_prefix(project)):
        connection.delete_webhook(there.id)


def _ours(connection: Connection, remote_project_id: int, prefix: str) -> list[RemoteWebhook]:
    found = [(there, urlsplit(there.url)) for there in connection.webhooks(remote_project_id)]
    return [
        there
        for there, parts in found
        if (parts.hostname or "").startswith("127.") and parts.path.startswith(prefix)
    ]


def path_prefix(project: Project) -> str:
    """Of whatever Label Studio calls for a project, by its seed: other workspaces have others."""
    return f"/labelloop/{project.record.seed:x}/"
