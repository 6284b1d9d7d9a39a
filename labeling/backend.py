"""labelloop as Label Studio's machine-learning backend: pre-labels for tasks that have none.

What a round sends has its pre-labels already. Tasks that come into the project by other ways get
theirs when somebody opens them. Label Studio asks inside that person's request, so the answer is
there within `PREDICT_SECONDS`, or empty: nobody who labels is to wait, or to hear of a fault.

Only a backend whose title is the project's model version is asked in the label stream, and the same
version puts the batch into its order. So live pre-labels bear the version of the round that is
being labeled, with a score behind all of its own.
"""

import asyncio
import base64
import json
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from curation.workspace import Project
from labeling.connection import Connection
from labeling.listener import NOTHING_HERE, Listener, Visitor, same
from labeling.remote import RemoteBackend
from labeling.webhook import path_prefix

logger = logging.getLogger(__name__)

PREDICT_SECONDS = 3.0
BODY_BYTES = 8 * 2**20
LAST = 1.0  # those of a round are below it
USER = "labelloop"
STATUS = {200: "OK", 401: "Unauthorized", 413: "Content Too Large"}

Result = list[dict[str, Any]]
Task = Mapping[str, Any]
Predict = Callable[[int, Sequence[Task]], list[Result | None] | None]
"""From a project's id and tasks to the result part of each, none for one that gets none now."""

Train = Callable[[int], str]
"""Told the id of a project in which somebody asked for a training; says what comes of it."""


@dataclass(frozen=True)
class Post:
    """Where Label Studio reaches the backend of one project.

    Attributes:
        url: with a part that nobody can guess.
        password: that must come along.
        version: what its predictions are called.
        prefix: what the paths of all backends of this project begin with, also of earlier workers.
    """

    url: str = field(repr=False)
    password: str = field(repr=False)
    version: str
    prefix: str


class Backend(AbstractContextManager["Backend"]):
    """Listens for as long as it is open, on an address that only this machine reaches.

    Its secrets are new each time, and are nowhere but in this object and where `attach` puts them.

    Args:
        predict: called in a thread of its own.
        train: called in the listener's thread; it must not take long.
        host: the address of this machine to listen on.

    Raises (on opening):
        OSError: nothing can listen there.
    """

    def __init__(self, predict: Predict, train: Train, *, host: str) -> None:
        self._predict = predict
        self._train = train
        self._host = host
        self._password = secrets.token_urlsafe(32)
        self._paths: dict[int, str] = {}
        self._versions: dict[int, str] = {}
        self._listener = Listener(
            self._reply, host=host, name="backend", seconds_each=PREDICT_SECONDS + 2.0
        )

    def __enter__(self) -> "Backend":
        """Begin to listen."""
        self._listener.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening."""
        self._listener.__exit__(exc_type, exc_value, traceback)

    def post(self, project: Project, version: str) -> Post:
        """The post of a project, whose predictions are called by this version from now on."""
        prefix = f"{path_prefix(project)}live/"
        path = self._paths.setdefault(project.id, prefix + secrets.token_urlsafe(32))
        self._versions[project.id] = version
        url = f"http://{self._host}:{self._listener.port}{path}"
        return Post(url, self._password, version, prefix)

    def forget(self, project: Project) -> None:
        """Answers for this project no more."""
        self._paths.pop(project.id, None)

    async def _reply(self, visitor: Visitor) -> bytes:
        path, _, wanted = visitor.path.rpartition("/")
        # All of them, so that the time taken tells nothing.
        found = [key for key, ours in tuple(self._paths.items()) if same(path, ours)]
        route = ROUTES.get((visitor.method, wanted))
        if not found or route is None:
            return NOTHING_HERE
        if not self._may(visitor):
            return _said(401, {})
        if visitor.length > BODY_BYTES:
            logger.info("%d bytes of tasks in one request are too many to answer.", visitor.length)
            return _said(413, {})
        content = json.loads(await visitor.read() or b"{}")
        return _said(200, await route(self, found[0], content if isinstance(content, dict) else {}))

    def _may(self, visitor: Visitor) -> bool:
        given = visitor.headers.get("authorization", "")
        ours = base64.b64encode(f"{USER}:{self._password}".encode()).decode()
        return same(given, f"Basic {ours}")

    async def _health(self, project_id: int, content: dict[str, Any]) -> dict[str, Any]:
        return {"status": "UP", "model_class": "labelloop"}

    async def _set_up(self, project_id: int, content: dict[str, Any]) -> dict[str, Any]:
        # What comes along, the token of the project's creator, is not looked at.
        return {"model_version": self._versions[project_id]}

    async def _list_versions(self, project_id: int, content: dict[str, Any]) -> dict[str, Any]:
        return {"versions": [self._versions[project_id]]}

    async def _hear(self, project_id: int, content: dict[str, Any]) -> dict[str, Any]:
        if content.get("action") != "START_TRAINING":
            return {}
        return {"status": self._train(project_id)}

    async def _answer(self, project_id: int, content: dict[str, Any]) -> dict[str, Any]:
        asked = content.get("tasks")
        given = [one for one in asked if isinstance(one, dict)] if isinstance(asked, list) else []
        version = self._versions[project_id]
        found: list[Result | None] | None = None
        try:
            async with asyncio.timeout(PREDICT_SECONDS):
                found = await asyncio.to_thread(self._predict, project_id, given)
        except TimeoutError:
            logger.info("No pre-label within %.0f s; the task is shown without.", PREDICT_SECONDS)
        # An answer for each, or none at all: Label Studio asks again one by one otherwise.
        known = [[] if one is None else one for one in found or ()]
        if not found or all(one is None for one in found):
            known = []
        return {
            "model_version": version,
            "results": [
                {"result": result, "score": LAST, "model_version": version} for result in known
            ],
        }


Route = Callable[[Backend, int, dict[str, Any]], Any]

ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "health"): Backend._health,
    ("POST", "setup"): Backend._set_up,
    ("GET", "versions"): Backend._list_versions,
    ("POST", "predict"): Backend._answer,
    ("POST", "webhook"): Backend._hear,
}


def attach(connection: Connection, remote_project_id: int, post: Post) -> None:
    """Has a Label Studio project ask at this post and at no earlier one of the same project.

    Backends of other people stay as they are, and come first if they were there first.

    Raises:
        LabelStudioRefused: the server may not call this address.
    """
    ours = _ours(connection, remote_project_id, post.prefix)
    if not ours:
        connection.create_backend(
            remote_project_id, post.url, title=post.version, user=USER, password=post.password
        )
    elif (ours[0].url, ours[0].title) != (post.url, post.version):
        connection.update_backend(
            ours[0].id,
            remote_project_id,
            post.url,
            title=post.version,
            user=USER,
            password=post.password,
        )
    for other in ours[1:]:
        connection.delete_backend(other.id)
    _keep_version(connection, remote_project_id, post.version)


def detach(connection: Connection, remote_project_id: int, project: Project) -> bool:
    """Has a Label Studio project ask at none of this project's posts any more.

    Returns:
        Whether it did.
    """
    version = connection.project(remote_project_id).model_version
    ours = _ours(connection, remote_project_id, f"{path_prefix(project)}live/")
    for one in ours:
        connection.delete_backend(one.id)
    if ours:
        _keep_version(connection, remote_project_id, version)
    return bool(ours)


def _keep_version(connection: Connection, remote_project_id: int, version: str) -> None:
    """A backend that goes takes the version of its title along, and with it the batch's order."""
    now = connection.project(remote_project_id)
    if version and now.model_version != version and connection.has_version(now.id, version):
        connection.update_project(remote_project_id, model_version=version)


def _ours(connection: Connection, remote_project_id: int, prefix: str) -> list[RemoteBackend]:
    found = [(there, urlsplit(there.url)) for there in connection.backends(remote_project_id)]
    return [
        there
        for there, parts in found
        if (parts.hostname or "").startswith("127.") and parts.path.startswith(prefix)
    ]


def _said(status: int, content: dict[str, Any]) -> bytes:
    body = json.dumps(content).encode()
    head = (
        f"HTTP/1.1 {status} {STATUS[status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
