"""Label Studio away, slow, broken, brought back from a backup, or shared: nothing gets lost.

Every fault meets the real server behind a real socket, and a real command.
"""

import contextlib
import io
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from curation import workspace as workspaces
from curation.catalog import annotations, remote
from curation.errors import LabelStudioRefused
from curation.workspace import Project
from labeling import process, server
from labeling.connection import connect
from labeling.interfaces import labeling_xml
from tests import bench as benches
from tests.bench import Bench
from tests.faults import proxy as proxies
from tests.faults.proxy import Proxy
from tests.fixtures_label_studio import CLASSES, LabelStudio, free_port
from ui import cli
from ui.servers import external

pytestmark = pytest.mark.label_studio


def command(folder: Path, *words: str) -> tuple[int, str]:
    """Exit status and everything that a command says, as a person meets it."""
    said = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        patch.setattr(sys, "argv", ["labelloop", *words, "--workspace", str(folder)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return int(ended.value.code or 0), said.getvalue()


@dataclass(frozen=True)
class Scene:
    """A project with one answer in the catalog and one more in Label Studio, behind a proxy.

    Attributes:
        bench: the project; its administrator goes past the proxy.
        proxy: through which the commands go.
        token: of the person as whom they go.
    """

    bench: Bench
    proxy: Proxy
    token: str

    @property
    def folder(self) -> Path:
        return self.bench.project.workspace.path

    def stands(self) -> tuple[int, str]:
        """How many answers the catalog has, and up to when it has asked."""
        with self.bench.project.catalog.read() as reading:
            count = annotations.count(reading, self.bench.project.id)
            (queue,) = remote.every(reading, self.bench.project.id)
        return count, queue.cursor


@pytest.fixture
def scene(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Scene]:
    with (
        benches.bench(label_studio, tmp_path, count=4) as bench,
        proxies.between(label_studio.url) as proxy,
    ):
        email = f"us-{time.time_ns()}@example.org"
        token = label_studio.connection.create_annotator(email, "a long password")
        external.remember(bench.project.workspace, proxy.url, token)
        bench.send(bench.ids())
        bench.answer(bench.admin, bench.ids()[0], "ok")
        assert command(bench.project.workspace.path, "label", "pull")[0] == 0
        bench.answer(bench.admin, bench.ids()[1], "dent")
        yield Scene(bench, proxy, token)


@contextmanager
def down(scene: Scene) -> Iterator[None]:
    scene.bench.project.workspace.change(label_studio_url="http://127.0.0.1:9")
    yield
    scene.bench.project.workspace.change(label_studio_url=scene.proxy.url)


@contextmanager
def slow(scene: Scene) -> Iterator[None]:
    scene.proxy.delay_seconds = 3.0
    defaults = connect.__kwdefaults__
    assert defaults is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(defaults, "timeout_seconds", 0.5)
        yield
    scene.proxy.be_well()


@contextmanager
def broken(scene: Scene) -> Iterator[None]:
    scene.proxy.times = 1000
    yield
    scene.proxy.be_well()


@contextmanager
def loses_replies(scene: Scene) -> Iterator[None]:
    scene.proxy.loses_reply = True
    yield
    scene.proxy.be_well()


@contextmanager
def revoked(scene: Scene) -> Iterator[None]:
    """The person has made themselves another token in the meantime."""
    with connect(scene.bench.studio.url, scene.token) as person:
        answer = person._wire.send("POST", "/api/current-user/reset-token", "renew the token")
    fresh = str(answer.json()["token"])
    assert fresh != scene.token
    yield
    external.remember(scene.bench.project.workspace, scene.proxy.url, fresh)


@contextmanager
def interface_edited(scene: Scene) -> Iterator[None]:
    queue = scene.bench.queue()
    other = labeling_xml("single-label", CLASSES[:2])
    scene.bench.admin.update_project(queue.remote_id, label_config=other)
    yield
    scene.bench.admin.update_project(queue.remote_id, label_config=queue.interface)


FAULTS: dict[str, tuple[Callable[[Scene], object], str]] = {
    "label-studio-down": (down, "Nothing answers at"),
    "label-studio-slow": (slow, "did not answer in time"),
    "label-studio-5xx": (broken, "503"),
    "label-studio-loses-replies": (loses_replies, "broke"),
    "label-studio-token-revoked": (revoked, "Check the token"),
    "label-studio-interface-edited-by-hand": (interface_edited, "changed by hand"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_pull__waits_out(scene: Scene, fault: str) -> None:
    """One clear line; nothing is counted or forgotten; and all is well when the cause is gone."""
    cause, said = FAULTS[fault]
    before = scene.stands()
    with ExitStack() as held:
        held.enter_context(cause(scene))  # type: ignore[arg-type]
        begun = time.monotonic()
        status, output = command(scene.folder, "label", "pull")
        assert time.monotonic() - begun < 20, "it gives up"
    assert status == 1, output
    assert said in output
    assert len(output.strip().splitlines()) == 1, output
    assert scene.stands() == before
    status, output = command(scene.folder, "label", "pull")
    assert status == 0, output
    assert scene.stands()[0] == 2
    assert scene.bench.label(scene.bench.ids()[1]) == (("dent",), 1.0)


def test_pull__a_server_that_stumbles_is_asked_again(scene: Scene) -> None:
    scene.proxy.times = 2
    assert command(scene.folder, "label", "pull")[0] == 0
    assert scene.stands()[0] == 2


def test_pull__an_annotator_was_removed(scene: Scene) -> None:
    """What they said before stays, also what is fetched only now; Label Studio tells no name."""
    ids = scene.bench.ids()
    with scene.bench.studio.annotator() as person:
        scene.bench.answer(person, ids[2], "scratch")
        user = person.whoami()
        scene.bench.admin.disable_annotator(user.id)
        with pytest.raises(LabelStudioRefused):
            person.next_task(scene.bench.queue().remote_id)
    assert command(scene.folder, "label", "pull")[0] == 0
    assert scene.bench.label(ids[2]) == (("scratch",), 1.0)
    with scene.bench.project.catalog.read() as reading:
        people = annotations.list_annotators(reading, scene.bench.project.id)
    assert {row["remote_user_id"]: row["answered"] for row in people}[user.id] == 1
    assert len(people) == 2, "nobody else is taken for them"


def test_pull__the_project_was_deleted(scene: Scene) -> None:
    ids = scene.bench.ids()
    scene.bench.admin.delete_project(scene.bench.queue().remote_id)
    before = scene.stands()
    status, output = command(scene.folder, "label", "pull")
    assert status == 1
    assert "labelloop label rebuild" in output
    assert scene.stands() == before
    assert scene.bench.label(ids[0]) == (("ok",), 1.0)


def test_status__an_image_given_out_twice(scene: Scene) -> None:
    """As a Label Studio on SQLite does that labelloop did not start: both answers are kept."""
    ids = scene.bench.ids()
    with scene.bench.studio.annotator() as ann, scene.bench.studio.annotator() as bob:
        for person in (ann, bob):
            scene.bench.answer(person, ids[2], "scratch")
    assert command(scene.folder, "label", "pull")[0] == 0
    status, output = command(scene.folder, "label", "status", "--json")
    assert status == 0, output
    assert json.loads(output)["doubles"] == 1
    assert "1 answers more than asked for" in command(scene.folder, "label", "status")[1]
    assert scene.stands()[0] == 4
    assert scene.bench.label(ids[2]) == (("scratch",), 1.0)


# Two workspaces


def test_pull__a_copy_of_the_workspace_is_kept_out(scene: Scene, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scene.folder, copy)
    before = scene.stands()
    status, output = command(copy, "label", "pull")
    assert status == 1
    assert "another copy of this workspace, w:" in output
    assert "labelloop label take-over" in output
    with _project(copy) as other, other.catalog.read() as reading:
        assert annotations.count(reading, other.id) == before[0]
    # It goes on in place of the first, which then is the one that is kept out.
    assert command(copy, "label", "take-over")[0] == 0
    assert command(copy, "label", "pull")[0] == 0
    assert "another copy" in command(scene.folder, "label", "pull")[1]
    assert scene.stands() == before
    assert "Took over 1" in command(scene.folder, "label", "take-over")[1]
    # Moved, it is the same.
    scene.bench.project.catalog.close()
    scene.folder.rename(tmp_path / "moved")
    status, output = command(tmp_path / "moved", "label", "pull")
    assert status == 0, output
    (tmp_path / "moved").rename(scene.folder)


def test_adopt__a_project_of_another_workspace(scene: Scene, tmp_path: Path) -> None:
    made = workspaces.create_project(tmp_path / "other", name="other", class_names=CLASSES)
    external.remember(made.workspace, scene.proxy.url, scene.token)
    number = scene.bench.queue().remote_id
    status, output = command(
        made.workspace.path, "adopt", "--project", str(number), "--name", "theirs"
    )
    assert status == 1
    assert "kept by another labelloop workspace, w:" in output
    made.catalog.close()
    assert command(scene.folder, "label", "pull")[0] == 0


def test_ensure__an_empty_project_of_another_workspace_is_not_taken(
    label_studio: LabelStudio, tmp_path: Path
) -> None:
    """Both are called alike, and the other has just made its project."""
    from labeling import queues

    found = []
    before = {one.id for one in label_studio.connection.projects()}
    for name in ("one", "two"):
        made = workspaces.create_project(tmp_path / name, name="alike", class_names=CLASSES)
        with closing(made.catalog):
            found.append(queues.ensure(made, label_studio.connection, "batch").remote_id)
    assert found[0] != found[1]
    for one in label_studio.connection.projects():
        if one.id not in before:
            label_studio.connection.delete_project(one.id)


@contextmanager
def _project(folder: Path) -> Iterator[Project]:
    found = workspaces.project(workspaces.open(folder))
    with closing(found.catalog):
        yield found


# An old backup


def test_pull__label_studios_database_is_an_old_backup(
    label_studio: LabelStudio, label_studio_folder: Callable[[], Path], tmp_path: Path
) -> None:
    """Numbers of lost tasks and answers are given out again, and nothing is mixed up."""
    folder = label_studio_folder()
    with benches.bench(label_studio, tmp_path, count=8) as made:
        workspace = made.project.workspace
        (workspace.path / "label-studio").symlink_to(folder)
        ids = made.ids()
        with _started(made, folder) as bench:
            bench.send(ids[:4])
            bench.answer(bench.admin, ids[0], "ok")
            bench.pull()
        shutil.copy2(folder / server.SQLITE, tmp_path / "backup")
        with _started(made, folder) as bench:
            first = bench.answer(bench.admin, ids[1], "dent")
            bench.send(ids[4:6])
            lost_task = bench.task_of(ids[4])
            bench.answer(bench.admin, ids[4], "scratch")
            assert bench.pull()["annotations"] == 3
        shutil.copy2(tmp_path / "backup", folder / server.SQLITE)
        with _started(made, folder) as bench, bench.studio.annotator() as person:
            # A lost number comes back as another answer, to another image.
            again = bench.answer(person, ids[2], "ok")
            assert again.id == first.id
            status, output = command(workspace.path, "label", "pull")
            assert status == 0, output
            assert "2 answers that it has lost are kept here" in output
            assert [bench.label(key) for key in (ids[0], ids[1], ids[2], ids[4])] == [
                (("ok",), 1.0),
                (("dent",), 1.0),
                (("ok",), 1.0),
                (("scratch",), 1.0),
            ]
            for key, said in ((ids[1], "dent"), (ids[4], "scratch")):
                assert bench.history(key) == [("answered", (said,))], "nothing was deleted"
            # Lost task numbers are given to other images, and each answer finds its own.
            bench.send(ids[6:8])
            assert lost_task in (bench.task_of(ids[6]), bench.task_of(ids[7]))
            bench.answer(person, ids[6], "dent")
            bench.answer(person, ids[1], "ok")
            assert "kept here" not in command(workspace.path, "label", "pull")[1]
            assert bench.label(ids[6]) == (("dent",), 1.0)
            assert bench.history(ids[4]) == [("answered", ("scratch",))]
            assert [said for _, said in bench.history(ids[1])] == [("dent",), ("ok",)]
            status, output = command(workspace.path, "label", "rebuild")
            assert status == 0, output
            there = {task.image_id for task in bench.admin.tasks(bench.queue().remote_id)}
            assert len(there) == 7, "what was lost and still waits was sent again"
            assert command(workspace.path, "label", "pull")[0] == 0
            with made.project.catalog.read() as reading:
                assert annotations.count(reading, made.project.id) == 6


@contextmanager
def _started(bench: Bench, folder: Path) -> Iterator[Bench]:
    """The project on a server of its own on this data."""
    running = server.start(folder, log=folder / "log", port=free_port())
    credentials = server.credentials_in(folder)
    try:
        with connect(running.url, credentials.token) as opened:
            yield replace(bench, studio=LabelStudio(running, opened, credentials))
    finally:
        running.stop()


def test_next_task__what_was_claimed_and_abandoned_returns(
    label_studio_folder: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(process.FIXED_SETTINGS, "LABEL_STUDIO_TASK_LOCK_TTL", "3")
    folder = label_studio_folder()
    running = server.start(folder, log=folder / "log", port=free_port())
    credentials = server.credentials_in(folder)
    try:
        with connect(running.url, credentials.token) as opened, ExitStack() as held:
            studio = LabelStudio(running, opened, credentials)
            one, two = (held.enter_context(studio.annotator()) for _ in range(2))
            made = opened.create_project(
                "ttl", labeling_xml("single-label", CLASSES), sampling="sequential"
            )
            numbers = opened.import_tasks(
                made.id, [{"data": {"image": f"/{number}.jpg"}} for number in range(2)]
            )
            claimed = one.next_task(made.id)
            other = two.next_task(made.id)
            assert claimed is not None
            assert other is not None
            assert [claimed.id, other.id] == numbers
            two.create_annotation(other.id, [], was_cancelled=True)
            assert two.next_task(made.id) is None, "the first is at work on it"
            time.sleep(3.2)
            back = two.next_task(made.id)
            assert back is not None
            assert back.id == claimed.id
    finally:
        running.stop()
