import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image

from curation.errors import (
    InputError,
    LabelStudioError,
    LabelStudioProjectGone,
    LabelStudioRefused,
    LabelStudioUnreachable,
)
from labeling import connection, server, tasks
from labeling.interfaces import labeling_xml, matches
from tests.fixtures_label_studio import CLASSES, LabelStudio, free_port

pytestmark = pytest.mark.label_studio

Build = Callable[..., list[dict[str, Any]]]


def shuffled(size: int, seed: int = 0) -> list[int]:
    ranks = list(range(size))
    random.Random(seed).shuffle(ranks)
    return ranks


def by_rank(ranks: list[int]) -> list[str]:
    return [f"image-{ranks.index(rank)}" for rank in range(len(ranks))]


def test_next_task__serves_the_batch_in_rank_order_to_two_people(
    label_studio: LabelStudio, label_studio_project: int, batch: Build
) -> None:
    ranks = shuffled(200)
    opened = label_studio.connection
    ids = opened.import_tasks(label_studio_project, batch(ranks))
    assert len(set(ids)) == 200
    opened.update_project(label_studio_project, model_version="round-1")
    served = []
    with label_studio.annotator() as ann, label_studio.annotator() as bob:
        for number in range(30):
            person = (ann, bob)[number % 2]
            found = person.next_task(label_studio_project)
            assert found is not None
            served.append(found.image_id)
            person.create_annotation(found.id, tasks.chosen(["ok"]), lead_time=1.0)
    assert served == by_rank(ranks)[:30]


def test_next_task__follows_a_new_round(
    label_studio: LabelStudio, label_studio_project: int, batch: Build
) -> None:
    opened = label_studio.connection
    ids = opened.import_tasks(label_studio_project, batch(list(range(20))))
    opened.update_project(label_studio_project, model_version="round-1")
    again = [
        tasks.prediction(
            ["dent"], confidence=0.5, model_version="round-2", rank=rank, size=5, task_id=task_id
        )
        for rank, task_id in enumerate(reversed(ids[10:15]))
    ]
    assert opened.import_predictions(label_studio_project, again) == 5
    opened.update_project(label_studio_project, model_version="round-2")
    served = []
    with label_studio.annotator() as ann:
        for _ in range(5):
            found = ann.next_task(label_studio_project)
            assert found is not None
            served.append(found.id)
            ann.create_annotation(found.id, tasks.chosen(["ok"]))
    assert served == list(reversed(ids[10:15]))


def test_next_task__none_when_everything_is_answered(
    label_studio: LabelStudio, label_studio_project: int, batch: Build
) -> None:
    (task_id,) = label_studio.connection.import_tasks(label_studio_project, batch([0]))
    with label_studio.annotator() as ann:
        ann.create_annotation(task_id, tasks.chosen(["ok"]))
        assert ann.next_task(label_studio_project) is None


def test_changed_tasks__new_changed_skipped_deleted(
    label_studio: LabelStudio, label_studio_project: int, batch: Build
) -> None:
    opened, project = label_studio.connection, label_studio_project
    ids = opened.import_tasks(project, batch(list(range(6))))
    since = opened.server_time() - timedelta(seconds=1)

    def seen() -> dict[int, Any]:
        changes = opened.changed_tasks(project, since=since)
        return {found.id: found for found in changes.tasks}

    first = opened.create_annotation(ids[0], tasks.chosen(["ok"]), lead_time=2.5)
    kept = seen()[ids[0]].annotations
    assert [one.id for one in kept] == [first.id]
    assert (kept[0].lead_time, kept[0].user_id) == (2.5, opened.whoami().id)
    assert tasks.answer(kept[0].result).classes == ("ok",)

    opened.update_annotation(first.id, result=tasks.chosen(["dent"]))
    changed = seen()[ids[0]].annotations[0]
    assert tasks.answer(changed.result).classes == ("dent",)
    assert changed.updated_at > kept[0].updated_at
    assert not changed.ground_truth

    opened.create_annotation(ids[1], [], was_cancelled=True)
    skipped = seen()[ids[1]].annotations[0]
    assert tasks.answer(skipped.result, was_cancelled=skipped.was_cancelled).skipped

    time.sleep(1.2)
    since = opened.server_time()
    opened.delete_annotation(first.id)
    opened.delete_annotation(first.id)
    gone = seen()
    assert list(gone) == [ids[0]], "only what changed comes back"
    assert gone[ids[0]].annotations == ()


def test_changed_tasks__cursor_loses_nothing_and_pages(
    label_studio: LabelStudio,
    label_studio_project: int,
    batch: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "PAGE", 7)
    opened, project = label_studio.connection, label_studio_project
    ids = opened.import_tasks(project, batch(list(range(30))))
    changes = opened.changed_tasks(project)
    before = changes.cursor
    reading = iter(changes.tasks)
    next(reading)
    # Answered while the pages are being read: its page has passed already.
    opened.create_annotation(ids[0], tasks.chosen(["ok"]))
    assert [found.id for found in reading] == ids[1:]
    assert before <= opened.server_time()
    again = {found.id: found for found in opened.changed_tasks(project, since=before).tasks}
    assert again[ids[0]].annotations
    # A page in which nothing is answered comes without its pre-labels, which take the server long.
    assert list(again) == ids
    assert [found.id for found in again.values() if not found.predictions] == ids[7:]


def test_changed_tasks__accepted_prelabel_is_known(
    label_studio: LabelStudio, label_studio_project: int, batch: Build
) -> None:
    opened = label_studio.connection
    (task_id,) = opened.import_tasks(label_studio_project, batch([0]))
    hint = opened.task(task_id).predictions[0]
    result = [{**part, "origin": "prediction"} for part in hint["result"]]
    made = opened.create_annotation(task_id, result, parent_prediction=hint["id"])
    assert (made.origin, made.parent_prediction) == ("prediction", hint["id"])
    said = tasks.answer(made.result, parent_prediction=made.parent_prediction)
    assert said == tasks.Answer(("scratch",), skipped=False, accepted_prelabel=True)


def test_task_ids__finds_what_a_lost_reply_left(
    label_studio: LabelStudio,
    label_studio_project: int,
    batch: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "PAGE", 10)
    opened = label_studio.connection
    first = opened.import_tasks(label_studio_project, batch(list(range(25))))
    second = opened.import_tasks(label_studio_project, batch(list(range(4)), start=25))
    everything = dict(opened.task_ids(label_studio_project))
    assert everything == {task_id: f"image-{i}" for i, task_id in enumerate(first + second)}
    assert [task_id for task_id, _ in opened.task_ids(label_studio_project, after=first[-1])] == (
        second
    )


@pytest.mark.parametrize("more", [0, 50])
def test_create_project__a_fifth_answered_twice(
    label_studio: LabelStudio, batch: Build, more: int
) -> None:
    opened = label_studio.connection
    project = opened.create_project(
        "reserve",
        labeling_xml("single-label", CLASSES),
        sampling="sequential",
        maximum_annotations=2,
        overlap_cohort_percentage=20,
    ).id
    try:
        opened.import_tasks(project, batch(list(range(100))))
        if more:
            opened.import_tasks(project, batch(list(range(more)), start=100))
        twice = [found.id for found in opened.tasks(project) if found.overlap == 2]
        assert len(twice) == (100 + more) // 5
        assert twice != sorted(dict(opened.task_ids(project)))[: len(twice)], "not a random share"
    finally:
        opened.delete_project(project)


def test_set_overlap__survives_a_later_import_and_is_served_in_sequence(
    label_studio: LabelStudio, batch: Build
) -> None:
    opened = label_studio.connection
    project = opened.create_project(
        "reserve", labeling_xml("single-label", CLASSES), sampling="sequential"
    ).id
    try:
        ids = opened.import_tasks(project, batch(list(range(10))))
        opened.set_overlap([ids[2], ids[7]], answers=2)
        opened.import_tasks(project, batch(list(range(5)), start=10))
        assert [t.id for t in opened.tasks(project) if t.overlap == 2] == [ids[2], ids[7]]
        with label_studio.annotator() as ann, label_studio.annotator() as bob:
            for expected in ids[:5]:
                found = ann.next_task(project)
                assert found is not None
                assert found.id == expected
                ann.create_annotation(found.id, tasks.chosen(["ok"]))
            for expected in (ids[2], ids[5]):
                found = bob.next_task(project)
                assert found is not None
                assert found.id == expected
                bob.create_annotation(found.id, tasks.chosen(["dent"]))
        assert len(opened.task(ids[2]).annotations) == 2
        assert opened.task(ids[2]).is_labeled
    finally:
        opened.delete_project(project)


def test_import_tasks__all_or_nothing(
    label_studio: LabelStudio, label_studio_project: int, batch: Build
) -> None:
    opened = label_studio.connection
    good = batch(list(range(3)))
    with pytest.raises(LabelStudioError, match="import 4 tasks"):
        opened.import_tasks(label_studio_project, [*good, {"data": {"other": "no image"}}])
    assert list(opened.task_ids(label_studio_project)) == []
    assert opened.import_tasks(label_studio_project, []) == []
    with pytest.raises(InputError, match="at most 2500"):
        opened.import_tasks(label_studio_project, good * 1000)


def test_import_predictions__unknown_task_is_an_error(
    label_studio: LabelStudio, label_studio_project: int
) -> None:
    wrong = tasks.prediction(
        ["ok"], confidence=1.0, model_version="x", rank=0, size=1, task_id=10**9
    )
    with pytest.raises(LabelStudioError, match="import 1 predictions"):
        label_studio.connection.import_predictions(label_studio_project, [wrong])


def test_update_project__unknown_model_version_is_an_error(
    label_studio: LabelStudio, label_studio_project: int
) -> None:
    with pytest.raises(LabelStudioError, match="Model version doesn't exist"):
        label_studio.connection.update_project(label_studio_project, model_version="round-9")


def test_projects__lists_what_exists_with_its_counts(
    label_studio: LabelStudio, label_studio_project: int, batch: Build
) -> None:
    opened = label_studio.connection
    (first, _) = opened.import_tasks(label_studio_project, batch([0, 1]))
    opened.create_annotation(first, tasks.chosen(["ok"]))
    (found,) = [one for one in opened.projects() if one.id == label_studio_project]
    assert (found.task_count, found.annotation_count, found.skipped_count) == (2, 1, 0)
    assert matches(found.label_config, labeling_xml("single-label", CLASSES))


def test_validation_errors__names_the_index() -> None:
    xml = labeling_xml("multi-label", ["a & b", "c"])
    fine = tasks.prediction(["a & b", "c"], confidence=0.5, model_version="v", rank=0, size=1)
    none = tasks.prediction([], confidence=0.5, model_version="v", rank=0, size=1)
    wrong = tasks.prediction(["d"], confidence=0.5, model_version="v", rank=0, size=1)
    found = connection.validation_errors(xml, [fine, none, wrong])
    assert [index for index, _ in found] == [2]


def test_connect__wrong_token(label_studio: LabelStudio) -> None:
    with (
        connection.connect(label_studio.url, "0" * 40) as opened,
        pytest.raises(LabelStudioRefused, match="Check the token"),
    ):
        opened.whoami()


def test_connect__personal_access_token(label_studio: LabelStudio) -> None:
    made = httpx.post(
        f"{label_studio.url}/api/token/",
        headers={"Authorization": f"Token {label_studio.credentials.token}"},
        trust_env=False,
    )
    with connection.connect(label_studio.url, made.json()["token"]) as opened:
        assert opened.require_supported() == label_studio.connection.version()
        project = opened.create_project("by personal token", labeling_xml("single-label", CLASSES))
        opened.delete_project(project.id)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://a/b", ""])
def test_connect__not_an_address(url: str) -> None:
    with pytest.raises(InputError, match="not a web address"):
        connection.connect(url, "x")


def test_connection__nothing_answers(batch: Build) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with connection.connect(url, "0" * 40) as opened:
        for act in (
            opened.whoami,
            lambda: opened.import_tasks(1, batch([0])),
            lambda: opened.delete_annotation(1),
            lambda: opened.download("/data/x"),
        ):
            with pytest.raises(LabelStudioUnreachable, match=f"Nothing answers at {url}"):
                act()


def test_connection__project_deleted(label_studio: LabelStudio, batch: Build) -> None:
    opened = label_studio.connection
    gone = opened.create_project("gone", labeling_xml("single-label", CLASSES)).id
    opened.delete_project(gone)
    for act in (
        lambda: opened.project(gone),
        lambda: opened.next_task(gone),
        lambda: opened.import_tasks(gone, batch([0])),
        lambda: opened.import_predictions(gone, [{"task": 1, "result": []}]),
        lambda: list(opened.changed_tasks(gone).tasks),
        lambda: list(opened.task_ids(gone)),
        lambda: opened.update_project(gone, title="new"),
        lambda: opened.delete_project(gone),
    ):
        with pytest.raises(LabelStudioProjectGone, match=f"Project {gone} does not exist"):
            act()


def test_connection__dead_proxy_does_not_disturb(
    label_studio: LabelStudio,
    label_studio_project: int,
    batch: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with connection.connect(label_studio.url, label_studio.credentials.token) as opened:
        assert len(opened.import_tasks(label_studio_project, batch([0, 1]))) == 2
        assert opened.whoami().email == label_studio.credentials.email
        assert server.running(label_studio.folder) is not None
        with label_studio.annotator() as ann:
            assert ann.next_task(label_studio_project) is not None


def test_add_local_storage__shows_images_and_nothing_else(
    label_studio: LabelStudio, label_studio_project: int, tmp_path: Path
) -> None:
    photos = tmp_path / "photos" / "shelf 1"
    photos.mkdir(parents=True)
    Image.new("RGB", (8, 8), "red").save(photos / "a#b é.png")
    link = server.serve_folder(label_studio.folder, "shown", tmp_path / "photos")
    opened = label_studio.connection
    first = opened.add_local_storage(label_studio_project, link)
    assert opened.add_local_storage(label_studio_project, link) == first
    url = tasks.image_url("shown", "shelf 1/a#b é.png")
    assert opened.download(url) == (photos / "a#b é.png").read_bytes()
    with pytest.raises(LabelStudioError, match="larger than"):
        opened.download(url, limit_bytes=10)
    with pytest.raises(LabelStudioError):
        opened.download("/data/local-files/?d=shown/../../credentials.json")
    with pytest.raises(InputError, match="is not on"):
        opened.download("https://example.org/a.png")
    assert httpx.get(f"{label_studio.url}{url}", trust_env=False).status_code == 401


def test_add_local_storage__outside_the_document_root(
    label_studio: LabelStudio, label_studio_project: int, tmp_path: Path
) -> None:
    with pytest.raises(LabelStudioError, match="LOCAL_FILES_DOCUMENT_ROOT"):
        label_studio.connection.add_local_storage(label_studio_project, tmp_path)


def test_create_annotator__answers_carry_the_person(
    label_studio: LabelStudio, label_studio_project: int, batch: Build
) -> None:
    opened = label_studio.connection
    (task_id,) = opened.import_tasks(label_studio_project, batch([0]))
    with label_studio.annotator() as ann:
        me = ann.whoami()
        assert me in opened.users()
        made = ann.create_annotation(task_id, tasks.chosen(["ok"]))
        assert made.user_id == me.id
        assert opened.task(task_id).annotations[0].user_id == me.id
        with pytest.raises(InputError, match="already exists"):
            opened.create_annotator(me.email, "another password")
        opened.disable_annotator(me.id)
        with pytest.raises(LabelStudioRefused):
            ann.next_task(label_studio_project)
    assert opened.task(task_id).annotations[0].user_id == me.id


def test_invitation_url__renewing_makes_the_old_one_useless(label_studio: LabelStudio) -> None:
    opened = label_studio.connection
    old = opened.invitation_url(base="https://labels.example.org/")
    assert old.startswith("https://labels.example.org/user/signup/?token=")
    new = opened.renew_invitation()
    assert new == opened.invitation_url()
    assert new.rsplit("=", 1)[1] != old.rsplit("=", 1)[1]


def test_import_tasks__killed_in_the_middle_leaves_it_usable(
    label_studio_folder: Callable[[], Path], batch: Build
) -> None:
    folder = label_studio_folder()
    running = server.start(folder, log=folder / "log", port=free_port())
    token = server.credentials_in(folder).token
    try:
        with connection.connect(running.url, token) as opened:
            project = opened.create_project("killed", labeling_xml("single-label", CLASSES)).id
            before = opened.import_tasks(project, batch(list(range(5))))
            killer = threading.Timer(0.4, psutil.Process(running.address.pid).kill)
            killer.start()
            with pytest.raises(LabelStudioUnreachable):
                opened.import_tasks(project, batch(list(range(2500)), start=5))
            killer.join()
    finally:
        running.stop()
    running = server.start(folder, log=folder / "log", port=free_port())
    try:
        with connection.connect(running.url, token) as opened:
            known = dict(opened.task_ids(project))
            assert len(known) in (5, 2505), "an import is all or nothing"
            assert set(before) <= set(known)
            (task_id,) = opened.import_tasks(project, batch([0], start=9000))
            opened.create_annotation(task_id, tasks.chosen(["ok"]))
            assert opened.task(task_id).annotations
    finally:
        running.stop()
