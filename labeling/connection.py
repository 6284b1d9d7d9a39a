"""The only way to Label Studio: every call, and what each failure means.

The SDK writes; plain HTTP reads, where its typed models cost time and hide fields. Both go through
one HTTP client, which never asks the environment for a proxy, so a proxy set for the internet
cannot catch what is meant for this machine. Writes are sent once: the SDK would repeat a request
whose reply was lost, and leave an image there three times. Reads are repeated a few times. Nothing
here is remembered, so a `Connection` may be closed and made again at any time.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from curation.errors import (
    InputError,
    LabelStudioError,
    LabelStudioProjectGone,
)
from labeling.remote import (
    SAMPLING,
    Changes,
    RemoteAnnotation,
    RemoteBackend,
    RemoteProject,
    RemoteTask,
    RemoteUser,
    RemoteWebhook,
    Sampling,
    annotation_from,
    project_from,
    task_from,
    user_from,
    webhook_from,
)
from labeling.transport import Session, Wire, as_json, check, raise_status, raise_transport

logger = logging.getLogger(__name__)

MINIMUM_VERSION = (1, 23, 1)
IMPORT_LIMIT = 2500
PAGE = 500
# Changes carry the time at which they began, and become visible a little later: look back this far.
OVERLAP = timedelta(seconds=10)
# A write is sent once: a repeated one whose first reply was lost makes everything double.
SEND_ONCE: Any = {"max_retries": 0}
AT_ONCE = 4
"""Small writes that are under way together."""
NOBODYS_EMAIL = "Deleted"
"""What stands in place of the address of somebody who was taken out of the organisation."""
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

# What only the administrator of an existing server can set, and why labelloop wants it.
ADMINISTRATOR_SETTINGS = {
    "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=1": "images are shown without being copied",
    "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=<folder>": "the folder that holds the images, not /",
    "LABEL_STUDIO_TASK_LOCK_TTL=900": "an image that somebody left open returns within a round",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK=1": "only invited people can make an account",
}


def connect(url: str, token: str, *, timeout_seconds: float = 120.0) -> "Connection":
    """A connection to the server at `url`; nothing is sent yet.

    Args:
        url: the server's address, for example ``http://127.0.0.1:8080``.
        token: a legacy token (40 hexadecimal digits) or a personal access token.
        timeout_seconds: for one answer; SQLite with many annotators needed up to 9 s.

    Raises:
        InputError: the address is not one.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url!r} is not a web address. Give for example http://127.0.0.1:8080")
    if not token.strip():
        raise InputError(f"A token is needed for {url}. Copy it from the account page there.")
    return Connection(url.rstrip("/"), token.strip(), timeout_seconds=timeout_seconds)


def validation_errors(
    label_config: str, predictions: Iterable[Mapping[str, Any]]
) -> list[tuple[int, str]]:
    """What is wrong with each prediction under this interface, as (index, reason).

    Label Studio drops or stores broken predictions silently, so ask this first.
    """
    from label_studio_sdk.label_interface.interface import LabelInterface

    interface: Any = LabelInterface(label_config)
    found: list[tuple[int, str]] = []
    for index, prediction in enumerate(predictions):
        reasons = interface.validate_prediction(dict(prediction), return_errors=True)
        found.extend((index, str(reason)) for reason in reasons or ())
    return found


class Connection(AbstractContextManager["Connection"]):
    """An open connection to one Label Studio, as one person. Use `connect`.

    Raises (every method):
        LabelStudioUnreachable: nothing answers, or not in time.
        LabelStudioRefused: the token is wrong or not allowed to do this.
        LabelStudioProjectGone: the project does not exist there any more.
        LabelStudioError: any other answer that is not what is needed.
    """

    def __init__(self, url: str, token: str, *, timeout_seconds: float) -> None:
        self.url = url
        self._wire = Wire(url, token, timeout_seconds=timeout_seconds)
        self._sdk: Any = None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Give the sockets back."""
        self._wire.http.close()

    # The server

    def version(self) -> str:
        """The release, for example ``1.23.2``."""
        said = self._wire.read("/api/version", "its version").json()
        return str(said.get("release") or "")

    def require_supported(self) -> str:
        """The release, once it is new enough and the token works.

        Raises:
            LabelStudioError: it is older than `MINIMUM_VERSION`.
        """
        release = self.version()
        numbers = tuple(int(part) for part in re.findall(r"\d+", release)[:3])
        if numbers < MINIMUM_VERSION:
            needed = ".".join(map(str, MINIMUM_VERSION))
            raise LabelStudioError(
                f"The Label Studio at {self.url} is version {release or 'unknown'}; labelloop "
                f"needs {needed} or newer, because older ones have known security faults. Ask its "
                "administrator to update it."
            )
        self.whoami()
        return release

    def whoami(self) -> RemoteUser:
        """The person whose token this is."""
        return user_from(self._wire.read("/api/current-user/whoami", "who we are").json())

    def server_time(self) -> datetime:
        """The server's clock, in whole seconds, rounded down."""
        said = self._wire.read("/health", "its time").headers.get("Date")
        return parsedate_to_datetime(said).astimezone(UTC) if said else datetime.now(UTC)

    # Projects

    def create_project(
        self,
        title: str,
        label_config: str,
        *,
        instructions: str = "",
        description: str = "",
        sampling: Sampling = "uncertainty",
        maximum_annotations: int = 1,
        overlap_cohort_percentage: int = 100,
        show_predictions: bool = True,
        allows_empty: bool = False,
    ) -> RemoteProject:
        """Make a project.

        Args:
            title: 3 to 50 characters; longer ones are cut.
            label_config: the interface, from `labeling.interfaces.labeling_xml`.
            instructions: shown to annotators before they start; HTML is allowed.
            description: shown where projects are listed.
            sampling: ``uncertainty`` serves predictions of the project's model version, lowest
                score first; ``sequential`` serves tasks by their number.
            maximum_annotations: answers per image in the cohort.
            overlap_cohort_percentage: share of the tasks that get `maximum_annotations` answers,
                the others get one. Which ones is drawn anew at every import; see `set_overlap`.
            show_predictions: show pre-labels to annotators.
            allows_empty: an answer without anything can be given; where it means nothing, skipping
                is a button.
        """
        with self._written("create a project") as sdk:
            made = sdk.projects.create(
                title=title[:50].ljust(3, "."),
                label_config=label_config,
                expert_instruction=instructions,
                description=description,
                show_instruction=bool(instructions),
                sampling=SAMPLING[sampling],
                maximum_annotations=maximum_annotations,
                overlap_cohort_percentage=overlap_cohort_percentage,
                show_collab_predictions=show_predictions,
                enable_empty_annotation=allows_empty,
                request_options=SEND_ONCE,
            )
        return self.project(int(made.id))

    def project(self, project_id: int) -> RemoteProject:
        """The project as it is now."""
        answer = self._wire.read(f"/api/projects/{project_id}/", "a project", project=project_id)
        return project_from(answer.json())

    def projects(self) -> list[RemoteProject]:
        """All projects that this person can see."""
        pages = self._pages("/api/projects/", "the projects", {"page_size": 100})
        return [project_from(one) for page in pages for one in page.get("results") or ()]

    def update_project(
        self,
        project_id: int,
        *,
        title: str | None = None,
        label_config: str | None = None,
        instructions: str | None = None,
        sampling: Sampling | None = None,
        model_version: str | None = None,
        maximum_annotations: int | None = None,
        overlap_cohort_percentage: int | None = None,
        show_predictions: bool | None = None,
        allows_empty: bool | None = None,
    ) -> RemoteProject:
        """Change what is given; a model version must have predictions there, or be empty."""
        wanted: dict[str, Any] = {
            "title": title,
            "label_config": label_config,
            "expert_instruction": instructions,
            "show_instruction": None if instructions is None else bool(instructions),
            "sampling": None if sampling is None else SAMPLING[sampling],
            "model_version": model_version,
            "maximum_annotations": maximum_annotations,
            "overlap_cohort_percentage": overlap_cohort_percentage,
            "show_collab_predictions": show_predictions,
            "enable_empty_annotation": allows_empty,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        with self._written("change the project", project=project_id) as sdk:
            sdk.projects.update(id=project_id, request_options=SEND_ONCE, **given)
        return self.project(project_id)

    def describe_project(self, project_id: int, description: str) -> RemoteProject:
        """Change what is said of a project where projects are listed."""
        # Not by the SDK, whose import would cost the worker seconds and memory for this alone.
        path = f"/api/projects/{project_id}/"
        self._wire.send("PATCH", path, "describe a project", content={"description": description})
        return self.project(project_id)

    def delete_project(self, project_id: int) -> None:
        """Delete a project with all its tasks and annotations."""
        with self._written("delete the project", project=project_id) as sdk:
            sdk.projects.delete(id=project_id, request_options=SEND_ONCE)

    def add_local_storage(self, project_id: int, path: Path) -> int:
        """Let a project show the images below `path`, a folder below the server's document root.

        Never synchronised: tasks are made by `import_tasks`. Asking twice gives the same storage.

        Returns:
            The storage's number.
        """
        known = self._wire.read(
            "/api/storages/localfiles/",
            "the storages",
            project=project_id,
            params={"project": project_id},
        ).json()
        for storage in known:
            if storage.get("path") == str(path):
                return int(storage["id"])
        try:
            with self._written("serve a folder", project=project_id) as sdk:
                made = sdk.import_storage.local.create(
                    project=project_id,
                    path=str(path),
                    title=path.name,
                    use_blob_urls=True,
                    request_options=SEND_ONCE,
                )
        except LabelStudioProjectGone:
            raise
        except LabelStudioError as error:
            raise LabelStudioError(
                f"{error} The server's administrator must set "
                + " and ".join(list(ADMINISTRATOR_SETTINGS)[:2])
                + f" so that {path} is below that folder."
            ) from error
        return int(made.id)

    # Tasks and predictions

    def import_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Add tasks, with their inline predictions, in one request that is all or nothing.

        Args:
            project_id: where to.
            tasks: from `labeling.tasks.task`, at most `IMPORT_LIMIT`; 1,000 to 2,500 is fastest.

        Returns:
            The task numbers, in the order of `tasks`. SQLite gives the numbers of deleted tasks out
            again, so a number means something only together with `RemoteTask.image_id`. Where the
            reply is lost (`LabelStudioUnreachable`) the tasks may exist all the same: look with
            `task_ids` before sending them again.
        """
        if len(tasks) > IMPORT_LIMIT:
            raise InputError(f"{len(tasks)} tasks in one request; send at most {IMPORT_LIMIT}.")
        if not tasks:
            return []
        # Not by the SDK, which builds and reads such a long request twice.
        answer = self._wire.send(
            "POST",
            f"/api/projects/{project_id}/import?return_task_ids=true",
            f"import {len(tasks)} tasks",
            content=tasks,
            project=project_id,
        )
        numbers = as_json(answer).get("task_ids")
        if not isinstance(numbers, list) or len(numbers) != len(tasks):
            raise LabelStudioError(
                f"The Label Studio at {self.url} took {len(tasks)} tasks without saying their "
                "numbers. Only the open-source edition is supported."
            )
        return [int(number) for number in numbers]

    def import_predictions(self, project_id: int, predictions: Sequence[Mapping[str, Any]]) -> int:
        """Add predictions to known tasks, each one with ``task``, in one request.

        The server stores 500 at a time and does not check what they say: a failure may leave the
        earlier ones there, so send at most 500 where that matters, and use `validation_errors`.

        Returns:
            How many were stored.
        """
        if not predictions:
            return 0
        answer = self._wire.send(
            "POST",
            f"/api/projects/{project_id}/import/predictions",
            f"import {len(predictions)} predictions",
            content=predictions,
            project=project_id,
        )
        stored = int(as_json(answer).get("created") or 0)
        if stored != len(predictions):
            raise LabelStudioError(
                f"Label Studio stored {stored} of {len(predictions)} predictions in project "
                f"{project_id}. Check that their tasks still exist."
            )
        return stored

    def task_ids(self, project_id: int, *, after: int = 0) -> Iterator[tuple[int, str | None]]:
        """All (task number, our image id) with a number above `after`, by number.

        Read page by page, so it may be stopped early; after a lost import reply ask for what is
        above the highest number known before.
        """
        for said in self._by_number(project_id, after=after, include="id,data,updated_at"):
            task = task_from(said)
            yield task.id, task.image_id

    def predicted_tasks(
        self, project_id: int, model_version: str, *, first: int, last: int
    ) -> Iterator[RemoteTask]:
        """Those of the tasks numbered `first` to `last` that have a prediction of this version.

        With annotations and predictions, by number, read page by page.
        """
        conditions: list[dict[str, Any]] = [
            {
                "filter": "filter:tasks:predictions_model_versions",
                "operator": "contains",  # also of a longer name that begins like it
                "type": "List",
                "value": [model_version],
            },
            {
                "filter": "filter:tasks:id",
                "operator": "less",
                "type": "Number",
                "value": last + 1,
            },
        ]
        last_seen = 0
        for said in self._by_number(
            project_id, after=first - 1, conditions=conditions, fields="all"
        ):
            task = task_from(said)
            # A task comes once for each of its predictions that the condition finds.
            if task.id != last_seen and any(
                one.get("model_version") == model_version for one in task.predictions
            ):
                yield task
            last_seen = task.id

    def tasks(self, project_id: int, *, after: int = 0) -> Iterator[RemoteTask]:
        """All tasks with annotations and predictions, by number, read page by page."""
        for said in self._by_number(project_id, after=after, fields="all"):
            yield task_from(said)

    def task(self, task_id: int) -> RemoteTask:
        """One task with its annotations and predictions."""
        return task_from(self._wire.read(f"/api/tasks/{task_id}/", f"task {task_id}").json())

    def changed_tasks(self, project_id: int, *, since: datetime | None = None) -> Changes:
        """Tasks in which anything was answered, changed, skipped or deleted since then.

        A deleted annotation shows as its task without it. A deleted *task* does not show: compare
        with `task_ids` now and then.

        Args:
            project_id: which one.
            since: the `cursor` of the last look; None for everything.
        """
        cursor = self.server_time() - OVERLAP
        condition = {
            "filter": "filter:tasks:updated_at",
            "operator": "greater",
            "type": "Datetime",
            "value": (since or LONG_AGO).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        said = self._answered(project_id, condition)
        return Changes(tasks=map(task_from, said), cursor=cursor)

    def _answered(
        self, project_id: int, condition: Mapping[str, Any]
    ) -> Iterator[Mapping[str, Any]]:
        """Tasks under a condition, with answers and pre-labels where there is an answer.

        What was just sent has none, and to write down its pre-labels would take the server long.
        """
        names = "id,data,updated_at,total_annotations,cancelled_annotations"
        for page in self._pages_by_number(project_id, conditions=[condition], include=names):
            if all(task.get(name) == 0 for task in page for name in names.split(",")[-2:]):
                yield from page
                continue
            last = {"filter": "filter:tasks:id", "operator": "less", "type": "Number"}
            these = [condition, {**last, "value": int(page[-1]["id"]) + 1}]
            after = int(page[0]["id"]) - 1
            yield from self._by_number(project_id, after=after, conditions=these, fields="all")

    def set_overlap(self, task_ids: Iterable[int], *, answers: int) -> None:
        """Say how many answers these tasks are to get, more than they have; one request each.

        The way to have chosen images answered twice: with ``maximum_annotations=1`` the project
        never rearranges it, whatever is imported later, and tasks keep their order. What a project
        says of all its tasks at once changes those that are finished, too.
        """

        def change(task_id: int) -> None:
            # It would count as finished still, if it had as many answers as it was to get before.
            wanted = {"overlap": answers, "is_labeled": False}
            self._wire.send(
                "PATCH", f"/api/tasks/{task_id}/", f"change task {task_id}", content=wanted
            )

        with ThreadPoolExecutor(AT_ONCE) as threads:
            for _ in threads.map(change, task_ids):
                pass

    def put_prediction(self, prediction_id: int, *, score: float) -> None:
        """Have a prediction show nothing, and give its task this place in the order."""
        path = f"/api/predictions/{prediction_id}/"
        content = {"result": [], "score": score}
        self._wire.send("PATCH", path, f"change prediction {prediction_id}", content=content)

    def delete_tasks(self, task_ids: Iterable[int]) -> None:
        """Delete tasks with their annotations, one request each; passes over those gone."""
        for task_id in task_ids:
            self._wire.delete(f"/api/tasks/{task_id}/", f"delete task {task_id}")

    def next_task(self, project_id: int) -> RemoteTask | None:
        """The task that this person is to answer next, locked for them; None when none is left."""
        answer = self._wire.get(f"/api/projects/{project_id}/next/")
        if answer.status_code == httpx.codes.NOT_FOUND:
            self.project(project_id)
            return None
        check(answer, "read the next task", url=self.url, project=project_id)
        said = as_json(answer)
        return task_from(said) if said.get("id") else None

    # Annotations

    def create_annotation(
        self,
        task_id: int,
        result: Sequence[Mapping[str, Any]],
        *,
        lead_time: float | None = None,
        was_cancelled: bool = False,
        parent_prediction: int | None = None,
        ground_truth: bool = False,
    ) -> RemoteAnnotation:
        """Answer a task as this person; ``was_cancelled`` with an empty result is a skip."""
        given: dict[str, Any] = {
            "result": [dict(part) for part in result],
            "was_cancelled": was_cancelled,
            "ground_truth": ground_truth,
        }
        if lead_time is not None:
            given["lead_time"] = lead_time
        if parent_prediction is not None:
            given["parent_prediction"] = parent_prediction
        with self._written(f"answer task {task_id}") as sdk:
            made = sdk.annotations.create(id=task_id, request_options=SEND_ONCE, **given)
        return self.annotation(int(made.id))

    def answer_for(
        self,
        user_id: int,
        task_id: int,
        result: Sequence[Mapping[str, Any]],
        *,
        parent_prediction: int,
        lead_time: float | None = None,
    ) -> None:
        """Answer a task in the name of somebody else, who accepted its pre-label."""
        content: dict[str, Any] = {
            "result": [dict(part) for part in result],
            "completed_by": user_id,
            "parent_prediction": parent_prediction,
            "ground_truth": False,
        }
        if lead_time is not None:
            content["lead_time"] = lead_time
        # Not by the SDK, whose import would cost the app seconds and memory for this alone.
        path = f"/api/tasks/{task_id}/annotations/"
        self._wire.send("POST", path, f"answer task {task_id}", content=content)

    def annotation(self, annotation_id: int) -> RemoteAnnotation:
        """One annotation as it is now."""
        said = self._wire.read(f"/api/annotations/{annotation_id}/", f"annotation {annotation_id}")
        return annotation_from(said.json())

    def find_annotation(self, annotation_id: int) -> RemoteAnnotation | None:
        """One annotation as it is now, or None where it was deleted."""
        answer = self._wire.get(f"/api/annotations/{annotation_id}/")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        check(answer, f"read annotation {annotation_id}", url=self.url)
        return annotation_from(as_json(answer))

    def update_annotation(
        self,
        annotation_id: int,
        *,
        result: Sequence[Mapping[str, Any]] | None = None,
        was_cancelled: bool | None = None,
        lead_time: float | None = None,
    ) -> RemoteAnnotation:
        """Change what is given."""
        given: dict[str, Any] = {"was_cancelled": was_cancelled, "lead_time": lead_time}
        given["result"] = None if result is None else [dict(part) for part in result]
        with self._written(f"change annotation {annotation_id}") as sdk:
            sdk.annotations.update(
                id=annotation_id,
                request_options=SEND_ONCE,
                **{name: value for name, value in given.items() if value is not None},
            )
        return self.annotation(annotation_id)

    def delete_annotation(self, annotation_id: int) -> None:
        """Delete an annotation; passes over one that is gone already."""
        self._wire.delete(
            f"/api/annotations/{annotation_id}/", f"delete annotation {annotation_id}"
        )

    # People

    def users(self) -> list[RemoteUser]:
        """Everybody with a log-in."""
        said = as_json(self._wire.read("/api/users/", "the people"))
        return [user_from(one) for one in said]

    def invitation_url(self, *, base: str | None = None) -> str:
        """The link with which anybody can make an account, until it is renewed.

        Args:
            base: the address under which people reach the server; this connection's by default.
        """
        path = str(self._wire.read("/api/invite", "an invitation").json()["invite_url"])
        return f"{(base or self.url).rstrip('/')}/{path.lstrip('/')}"

    def renew_invitation(self, *, base: str | None = None) -> str:
        """Make the old invitation link useless and give the new one."""
        answer = self._wire.send("POST", "/api/invite/reset-token", "renew the invitation")
        return f"{(base or self.url).rstrip('/')}/{answer.json()['invite_url'].lstrip('/')}"

    def create_annotator(self, email: str, password: str) -> str:
        """Make an account through the invitation link, as a person would.

        Returns:
            The account's token, for `connect`.

        Raises:
            InputError: the e-mail address or the password is not accepted there.
        """
        path = str(self._wire.read("/api/invite", "an invitation").json()["invite_url"])
        with Session(self.url) as session:
            session.submit(path, {"email": email, "password": password})
            return str(session.get_json("/api/current-user/token")["token"])

    def may_work(self, user_id: int) -> bool:
        """Whether a person belongs to the organisation, so that their log-in is of use."""
        return any(user.id == user_id and user.email != NOBODYS_EMAIL for user in self.users())

    def disable_annotator(self, user_id: int) -> None:
        """Take a person out of the organisation; their annotations stay."""
        organization = self._wire.read("/api/organizations/", "the organisation").json()[0]["id"]
        path = f"/api/organizations/{organization}/memberships/{user_id}/"
        self._wire.delete(path, f"remove person {user_id}")

    # Webhooks

    def webhooks(self, project_id: int) -> list[RemoteWebhook]:
        """The addresses that the server calls when something happens in a project."""
        said = self._wire.read(
            "/api/webhooks/", "the webhooks", project=project_id, params={"project": project_id}
        )
        return [webhook_from(one) for one in as_json(said)]

    def create_webhook(
        self, project_id: int, url: str, *, headers: Mapping[str, str], actions: Sequence[str]
    ) -> None:
        """Have the server call an address, telling it nothing but which event it was.

        Raises:
            LabelStudioRefused: the server may not call that address.
        """
        content = {
            "project": project_id,
            "url": url,
            "headers": dict(headers),
            "actions": list(actions),
            "send_for_all_actions": False,
            "send_payload": False,
        }
        # Not by the SDK, whose import would cost the worker seconds and memory for this alone.
        self._wire.send("POST", "/api/webhooks/", "add a webhook", content=content)

    def delete_webhook(self, webhook_id: int) -> None:
        """Have the server call an address no more; passes over a webhook that is gone already."""
        self._wire.delete(f"/api/webhooks/{webhook_id}/", f"delete webhook {webhook_id}")

    # Machine-learning backends

    def backends(self, project_id: int) -> list[RemoteBackend]:
        """The addresses that a project asks for predictions; the server calls each of them now."""
        said = self._wire.read(
            "/api/ml/", "the backends", project=project_id, params={"project": project_id}
        )
        return [
            RemoteBackend(int(one["id"]), str(one.get("url") or ""), str(one.get("title") or ""))
            for one in as_json(said)
        ]

    def create_backend(
        self, project_id: int, url: str, *, title: str, user: str, password: str
    ) -> None:
        """Have a project ask an address for predictions; the server calls it at once.

        Raises:
            LabelStudioRefused: the server may not call that address, or nobody answers there.
        """
        content = _backend(project_id, url, title=title, user=user, password=password)
        self._wire.send("POST", "/api/ml/", "add a backend", content=content)

    def update_backend(
        self, backend_id: int, project_id: int, url: str, *, title: str, user: str, password: str
    ) -> None:
        """Move a backend to another address or title; the project's model version follows it."""
        content = _backend(project_id, url, title=title, user=user, password=password)
        path = f"/api/ml/{backend_id}"
        self._wire.send("PATCH", path, f"change backend {backend_id}", content=content)

    def delete_backend(self, backend_id: int) -> None:
        """Have a project ask a backend no more; a model version of its title is cleared."""
        self._wire.delete(f"/api/ml/{backend_id}", f"delete backend {backend_id}")

    def has_version(self, project_id: int, model_version: str) -> bool:
        """Whether a project has predictions of this version, or a backend of this title."""
        said = self._wire.read(
            f"/api/projects/{project_id}/model-versions/", "the versions", project=project_id
        )
        there = {one.title for one in self.backends(project_id)}
        return model_version in as_json(said) or model_version in there

    # Images

    def download(self, path: str, *, limit_bytes: int = 256 * 2**20) -> bytes:
        """A file that a task shows, such as ``/data/local-files/?d=...``.

        Raises:
            InputError: it is not on this server; our token goes nowhere else.
            LabelStudioError: it is larger than `limit_bytes`, or not there.
        """
        place = urljoin(f"{self.url}/", path)
        if urlsplit(place)[:2] != urlsplit(self.url)[:2]:
            raise InputError(
                f"{path} is not on {self.url}. Import such images from where they are."
            )
        content = bytearray()
        for chunk in self._wire.stream(place):
            content += chunk
            if len(content) > limit_bytes:
                raise LabelStudioError(
                    f"{path} is larger than {limit_bytes / 2**20:.0f} MB and was left out."
                )
        return bytes(content)

    # How requests are made

    @contextmanager
    def _written(self, doing: str, *, project: int | None = None) -> Iterator[Any]:
        """The SDK, with its errors turned into ours."""
        from label_studio_sdk.client import LabelStudio
        from label_studio_sdk.core.api_error import ApiError

        if self._sdk is None:
            # The HTTP client puts the real token into every request, the SDK's own is not used.
            client: Any = LabelStudio
            self._sdk = client(
                base_url=self.url, api_key="set-by-the-client", httpx_client=self._wire.http
            )
        try:
            yield self._sdk
        except ApiError as error:
            raise_status(error.status_code or 0, error.body, doing, url=self.url, project=project)
        except httpx.HTTPError as error:
            raise_transport(error, self.url)

    def _pages(
        self, path: str, what: str, params: Mapping[str, Any]
    ) -> Iterator[Mapping[str, Any]]:
        page = 1
        while True:
            answer = as_json(self._wire.read(path, what, params={**params, "page": page}))
            yield answer
            if not answer.get("next"):
                return
            page += 1

    def _by_number(
        self,
        project_id: int,
        *,
        after: int = 0,
        conditions: Sequence[Mapping[str, Any]] = (),
        **fields: str,
    ) -> Iterator[Mapping[str, Any]]:
        """Tasks above the number `after`, in the order of their numbers."""
        for page in self._pages_by_number(project_id, after=after, conditions=conditions, **fields):
            yield from page

    def _pages_by_number(
        self,
        project_id: int,
        *,
        after: int = 0,
        conditions: Sequence[Mapping[str, Any]] = (),
        **fields: str,
    ) -> Iterator[list[Mapping[str, Any]]]:
        """As `_by_number`, many at once; never by page number: pages shift while people work."""
        while True:
            above = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number"}
            query = {
                "filters": {
                    "conjunction": "and",
                    "items": [*conditions, {**above, "value": after}],
                },
                "ordering": ["tasks:id"],
            }
            answer = self._wire.read(
                "/api/tasks/",
                "the tasks",
                project=project_id,
                params={
                    "project": project_id,
                    "page_size": PAGE,
                    "query": json.dumps(query),
                    **fields,
                },
            )
            page: list[Mapping[str, Any]] = as_json(answer)["tasks"]
            if page:
                yield page
            if len(page) < PAGE:
                return
            after = int(page[-1]["id"])


def _backend(project_id: int, url: str, *, title: str, user: str, password: str) -> dict[str, Any]:
    return {
        "project": project_id,
        "url": url,
        "title": title,
        "is_interactive": False,
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": user,
        "basic_auth_pass": password,
    }
