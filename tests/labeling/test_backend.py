"""Live pre-labels: what Label Studio asks, and what it gets, also when nothing can be said."""

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from curation import workspace as workspaces
from curation.workspace import Project
from labeling import backend, process, tasks, webhook
from labeling.backend import Backend, Post, Result, Task
from tests import bench as benches
from tests.bench import Bench
from tests.fixtures_label_studio import LabelStudio

SCRATCH = tasks.chosen(["scratch"], confidence=0.8)


class Model:
    """Says scratch, after a while if it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[Any]]] = []
        self.trained: list[int] = []
        self.seconds = 0.0
        self.result: Result | None = SCRATCH

    def predict(self, project_id: int, given: Sequence[Task]) -> list[Result | None] | None:
        self.asked.append((project_id, [task.get("id") for task in given]))
        time.sleep(self.seconds)
        return [self.result for _ in given]

    def train(self, project_id: int) -> str:
        self.trained.append(project_id)
        return "queued"


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def listening(model: Model) -> Iterator[Backend]:
    with Backend(model.predict, model.train, host=process.DOORBELL_HOST) as opened:
        yield opened


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return workspaces.create_project(tmp_path / "w", name="default", class_names=["a", "b"])


Ask = Callable[..., httpx.Response]


def asker(post: Post) -> Ask:
    """What Label Studio sends."""
    word = base64.b64encode(f"{backend.USER}:{post.password}".encode()).decode()

    def ask(path: str, content: Any = None, **given: Any) -> httpx.Response:
        method = "GET" if content is None else "POST"
        headers = {"Authorization": f"Basic {word}"} | given.pop("headers", {})
        url = given.pop("url", post.url)
        return httpx.request(
            method, f"{url}/{path}", json=content, headers=headers, trust_env=False, timeout=20.0
        )

    return ask


def test_backend__answers_what_label_studio_asks(
    listening: Backend, model: Model, project: Project
) -> None:
    post = listening.post(project, "round-3")
    ask = asker(post)
    assert ask("health").json()["status"] == "UP"
    assert ask("setup", {"access_token": "x"}).json() == {"model_version": "round-3"}
    found = ask("predict", {"tasks": [{"id": 7}, {"id": 8}]}).json()
    said = {"result": SCRATCH, "score": 1.0, "model_version": "round-3"}
    assert found == {"model_version": "round-3", "results": [said, said]}
    assert model.asked == [(project.id, [7, 8])]
    assert ask("webhook", {"action": "START_TRAINING"}).json() == {"status": "queued"}
    assert ask("webhook", {"action": "ANNOTATION_CREATED"}).json() == {}
    assert model.trained == [project.id]
    assert listening.post(project, "round-4").url == post.url
    assert ask("setup", {}).json() == {"model_version": "round-4"}
    for hidden in (post.url, post.password):  # what may end up in a log
        assert hidden not in repr(post)


def test_backend__strangers_and_nonsense(
    listening: Backend, model: Model, project: Project
) -> None:
    post = listening.post(project, "round-0")
    ask = asker(post)
    assert ask("predict", {"tasks": []}, headers={"Authorization": "Basic x"}).status_code == 401
    assert ask("health", url=post.url[:-1]).status_code == 404
    assert ask("train", {}).status_code == 404
    assert ask("predict", {"tasks": ["x" * backend.BODY_BYTES]}).status_code == 413
    for odd in ({}, {"tasks": "all"}, {"tasks": [1, None]}, [1]):
        assert ask("predict", odd).json()["results"] == []
    assert all(ids == [] for _, ids in model.asked)
    listening.forget(project)
    assert ask("health").status_code == 404


def test_backend__nothing_to_say_is_an_empty_answer_in_time(
    listening: Backend, model: Model, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = asker(listening.post(project, "round-0"))
    model.result = None
    assert ask("predict", {"tasks": [{"id": 1}]}).json()["results"] == []
    monkeypatch.setattr(backend, "PREDICT_SECONDS", 0.3)
    model.result, model.seconds = SCRATCH, 1.0
    begun = time.monotonic()
    answer = ask("predict", {"tasks": [{"id": 1}]})
    assert time.monotonic() - begun < 0.9
    assert (answer.status_code, answer.json()["results"]) == (200, [])


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    with benches.bench(label_studio, tmp_path, count=6) as made:
        yield made


@pytest.mark.label_studio
def test_attach__a_task_without_prelabel_gets_one_when_it_is_opened(
    bench: Bench, listening: Backend, model: Model
) -> None:
    ids = bench.ids()
    bench.send(ids[:2], hint="dent")
    there = bench.queue().remote_id
    added = bench.admin.import_tasks(
        there, [tasks.task("x", name=f"by hand {n}", url=f"/{n}.png") for n in range(2)]
    )
    post = listening.post(bench.project, "round-0")
    backend.attach(bench.admin, there, post)
    backend.attach(bench.admin, there, post)
    assert [one.title for one in bench.admin.backends(there)] == ["round-0"]

    # Opened from the list of tasks.
    (found,) = bench.admin.task(added[0]).predictions
    assert (found["model_version"], found["result"]) == ("round-0", SCRATCH)
    assert [one["result"] for one in bench.admin.task(added[0]).predictions] == [SCRATCH]
    assert model.asked == [(bench.project.id, [added[0]])]

    # In the label stream: the batch in its order, with its own pre-labels, then what is left.
    with bench.studio.annotator() as ann:
        for key in ids[:2]:
            task = ann.next_task(there)
            assert task is not None
            assert task.id == bench.task_of(key)
            assert task.predictions[0]["result"][0]["value"] == {"choices": ["dent"]}
            ann.create_annotation(task.id, tasks.chosen(["ok"]))
        for number in added:
            task = ann.next_task(there)
            assert task is not None
            assert (task.id, task.predictions[0]["result"]) == (number, SCRATCH)
            ann.create_annotation(task.id, tasks.chosen(["ok"]))
    assert model.asked[1:] == [(bench.project.id, [added[1]])]

    # Another round, another worker.
    bench.send(ids[2:4], hint="ok")
    assert bench.admin.project(there).model_version == "round-1"
    with Backend(model.predict, model.train, host=process.DOORBELL_HOST) as other:
        backend.attach(bench.admin, there, other.post(bench.project, "round-1"))
        assert [one.title for one in bench.admin.backends(there)] == ["round-1"]
        assert bench.admin.project(there).model_version == "round-1"
        with webhook.Doorbell(lambda _: None, host=process.DOORBELL_HOST) as bell:
            webhook.hang(bench.admin, there, bell.door(bench.project))
        assert len(bench.admin.webhooks(there)) == 1, "Label Studio hangs one of its own"
        assert backend.detach(bench.admin, there, bench.project)
    assert bench.admin.backends(there) == []
    assert bench.admin.project(there).model_version == "round-1", "which the order rests on"
    with bench.studio.annotator() as ann:
        names = benches.served(ann, there, 2)
    assert names == ["002.png", "003.png"]
    webhook.take_down(bench.admin, there, bench.project)


@pytest.mark.label_studio
def test_attach__an_answer_that_does_not_come_keeps_nobody_waiting(
    bench: Bench, listening: Backend, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.send(bench.ids()[:1], hint="dent")
    there = bench.queue().remote_id
    (added,) = bench.admin.import_tasks(there, [tasks.task("x", name="by hand", url="/a.png")])
    backend.attach(bench.admin, there, listening.post(bench.project, "round-0"))
    monkeypatch.setattr(backend, "PREDICT_SECONDS", 0.5)
    model.seconds = 2.0
    begun = time.monotonic()
    assert bench.admin.task(added).predictions == ()
    assert time.monotonic() - begun < 1.8
    model.seconds, model.result = 0.0, None
    assert bench.admin.task(added).predictions == ()
    model.result = SCRATCH
    assert len(bench.admin.task(added).predictions) == 1
    backend.detach(bench.admin, there, bench.project)


@pytest.mark.label_studio
def test_attach__a_worker_that_was_killed(bench: Bench, model: Model) -> None:
    bench.send(bench.ids()[:2], hint="dent")
    there = bench.queue().remote_id
    (added,) = bench.admin.import_tasks(there, [tasks.task("x", name="by hand", url="/a.png")])
    with Backend(model.predict, model.train, host=process.DOORBELL_HOST) as opened:
        backend.attach(bench.admin, there, opened.post(bench.project, "round-0"))
    begun = time.monotonic()
    assert bench.admin.task(added).predictions == ()
    with bench.studio.annotator() as ann:
        assert benches.served(ann, there, 2) == ["000.png", "001.png"]
    assert time.monotonic() - begun < 5.0
    assert backend.detach(bench.admin, there, bench.project)
