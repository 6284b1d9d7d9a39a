"""A real project and the real Label Studio for tests of the loop, without a model.

Images are small and told apart by their colour; ledgers are written through the catalog's own
functions, as a round writes them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from curation import ingest, sources
from curation import workspace as workspaces
from curation.catalog import annotations, labels, remote, reserve, rounds
from curation.catalog import images as image_rows
from curation.catalog import pool as pool_rows
from curation.records import LedgerRow, Queue, RoundRecord, Task
from curation.workspace import Project
from labeling import sync, tasks
from labeling.connection import Connection
from labeling.queues import Shelf
from labeling.remote import RemoteAnnotation
from tests.fixtures_label_studio import CLASSES, LabelStudio


def write_images(folder: Path, count: int, *, start: int = 0) -> list[str]:
    """Photos of one colour each, all different; the names in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number in range(start, start + count):
        colour = (number % 256, number * 7 % 256, number * 31 % 256)
        names.append(f"{number:03}.png")
        Image.new("RGB", (8, 8), colour).save(folder / names[-1])
    return names


@dataclass(frozen=True)
class Bench:
    """A project of `count` images and the server it is labeled on."""

    project: Project
    studio: LabelStudio
    photos: Path

    @property
    def admin(self) -> Connection:
        return self.studio.connection

    @property
    def shelf(self) -> Shelf:
        return Shelf(self.studio.folder)

    def ids(self) -> list[int]:
        """Image ids in the order of names."""
        with self.project.catalog.read() as reading:
            return [key for key, _ in image_rows.usable(reading, self.project.id)]

    def queue(self, name: Queue = "batch") -> remote.RemoteQueue:
        with self.project.catalog.read() as reading:
            return {one.queue: one for one in remote.every(reading, self.project.id)}[name]

    def task_of(self, image_id: int, queue: Queue = "batch") -> int:
        with self.project.catalog.read() as reading:
            return remote.tasks(reading, self.queue(queue).id)[image_id]

    def plan(self, rows: Sequence[LedgerRow]) -> RoundRecord:
        """A round whose ledger is written and whose push is still to come."""
        with self.project.catalog.write() as writing:
            reserve.freeze(writing, self.project.id)
            made = rounds.start(writing, self.project.id, {"asked": {}, "version": 0})
            rounds.plan(writing, self.project.id, made.id, list(rows))
        return made

    def offer(self, round: RoundRecord) -> None:
        """Pushes the ledger and ends the round's computing part."""
        sync.offer(self.project, self.admin, round, shelf=self.shelf)
        with self.project.catalog.write() as writing:
            rounds.finish(writing, round.id, "waiting")

    def send(self, image_ids: Sequence[int], *, hint: str | None = "scratch") -> RoundRecord:
        """One round that sends these images in this order."""
        made = self.plan(batch(self.project, image_ids, hint=hint))
        self.offer(made)
        return made

    def pull(self) -> dict[str, Any]:
        return sync.pull(self.project, self.admin)

    def answer(
        self, person: Connection, image_id: int, said: str, *, queue: Queue = "batch"
    ) -> RemoteAnnotation:
        return person.create_annotation(
            self.task_of(image_id, queue), tasks.chosen([said]), lead_time=1.5
        )

    def label(self, image_id: int) -> tuple[tuple[str, ...], float] | None:
        """Class names and confidence; none for an unlabeled image."""
        with self.project.catalog.read() as reading:
            found = labels.get(reading, [image_id]).get(image_id)
        if found is None:
            return None
        return self.project.record.class_names(found.classes), found.confidence

    def history(self, image_id: int) -> list[tuple[str, tuple[str, ...]]]:
        """State and class names of every answer that was ever given."""
        with self.project.catalog.read() as reading:
            rows = annotations.history(reading, image_id)
        names = self.project.record.class_names
        return [(row["state"], names(row["classes"])) for row in rows]

    def name(self, image_id: int) -> str:
        with self.project.catalog.read() as reading:
            return image_rows.names_by_id(reading, [image_id])[image_id]

    def next_name(self, person: Connection, queue: Queue = "batch") -> str:
        """The image that a person is given now."""
        task = person.next_task(self.queue(queue).remote_id)
        assert task is not None
        return str(task.data["name"])

    def pool(self) -> set[int]:
        with self.project.catalog.read() as reading:
            return {row.id for row in pool_rows.find(reading, self.project.id)}


def batch(
    project: Project, image_ids: Sequence[int], *, hint: str | None = "scratch"
) -> list[LedgerRow]:
    """A ledger of the batch queue in this order, with the same pre-label for every image."""
    (class_id,) = project.record.ids_of((hint,)) if hint else (None,)
    return [
        LedgerRow(
            image_id=key,
            queue="batch",
            rank=rank,
            prelabel_class_id=class_id,
            prelabel_confidence=0.7 if hint else None,
        )
        for rank, key in enumerate(image_ids)
    ]


@contextmanager
def bench(
    studio: LabelStudio,
    folder: Path,
    *,
    count: int = 12,
    classes: Sequence[str] = CLASSES,
    task: Task = "single-label",
) -> Iterator[Bench]:
    """A project with images, on the session's server; its projects there are deleted afterwards."""
    write_images(folder / "photos", count)
    project = workspaces.create_project(
        folder / "w", name=f"bench {folder.name}", class_names=classes, task=task, seed=7
    )
    ingest.run(
        project,
        sources.understand(folder / "photos", known_classes=project.record.classes),
    )
    before = {one.id for one in studio.connection.projects()}
    try:
        yield Bench(project, studio, folder / "photos")
    finally:
        for one in studio.connection.projects():
            if one.id not in before:
                studio.connection.delete_project(one.id)
        for link in (studio.folder / "served").glob("*"):
            link.unlink()
        project.catalog.close()


def served(person: Connection, remote_project: int, count: int, *, say: str = "ok") -> list[str]:
    """Names of the images that a person gets in turn, answering each."""
    names = []
    for _ in range(count):
        task = person.next_task(remote_project)
        assert task is not None
        names.append(str(task.data["name"]))
        person.create_annotation(task.id, tasks.chosen([say]), lead_time=1.0)
    return names
