"""A real workspace as it stands after some rounds, written through the catalog's own functions.

What is made up is only what people and models said; every row goes where the product puts it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from curation import ingest, sources
from curation import workspace as workspaces
from curation.catalog import (
    annotations,
    corrections,
    images,
    jobs,
    labels,
    remote,
    reserve,
    rounds,
    runs,
)
from curation.catalog import pool as pool_rows
from curation.catalog.corrections import Doubt
from curation.records import LedgerRow, Queue, RemoteAnswer, RoundRecord, Target
from curation.workspace import Project
from labeling import consensus
from training import evaluation

CLASSES = ("zero", "one", "two")
WHY = "the model says zero (0.97)"
PULLED = datetime(2026, 1, 1, 12, tzinfo=UTC)
URL = "http://127.0.0.1:9"  # the discard port: nothing answers there


def write_digits(folder: Path, count: int) -> None:
    """Real scans of handwritten digits 0 to 2, and one file that is no image."""
    folder.mkdir(parents=True)
    found = load_digits(n_class=len(CLASSES))
    rows = ["filename,label,studio"]
    for position in range(count):
        pixels = np.asarray(found.images[position] * 15, dtype=np.uint8)
        name = f"digit-{position:03d}.png"
        Image.fromarray(pixels).resize((96, 96)).save(folder / name)
        rows.append(f"{name},{CLASSES[found.target[position]]},{'ab'[position % 2]}")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    (folder.parent / "truth.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def make_project(path: Path, *, name: str = "digits", guidelines: str = "") -> Project:
    """A workspace with a project that has no images yet."""
    return workspaces.create_project(
        path,
        name=name,
        class_names=CLASSES,
        target=Target("balanced-accuracy", 0.92),
        guidelines=guidelines,
        seed=7,
    )


def import_folder(project: Project, folder: Path, *, table: Path | None = None) -> None:
    """Imports a folder without its labels."""
    plan = sources.understand(
        folder, known_classes=project.record.classes, table=table, labels_from="none"
    )
    ingest.run(project, plan)


def truth_of(table: Path) -> dict[str, str]:
    """The true class by image name."""
    lines = table.read_text(encoding="utf-8").splitlines()[1:]
    return {line.split(",")[0]: line.split(",")[1] for line in lines}


def play_round(
    project: Project,
    truth: dict[str, str],
    *,
    budget: int,
    random: int,
    answered: float = 1.0,
    quality: float | None = None,
) -> RoundRecord:
    """One round whose answers have come in.

    Args:
        random: images of the reserve that it adds.
        answered: share of its images that people have answered, 0 to 1.
        quality: balanced accuracy of its model; None for a round without one.
    """
    with project.catalog.write() as connection:
        reserve.freeze(connection, project.id)
        trained_on = labels.count(connection, project.id)
        pool = pool_rows.find(connection, project.id)[:budget]
        kept = [row for row in reserve.rows(connection, project.id) if not row.offered][:random]
        one = rounds.start(connection, project.id, _settings(connection, project, budget))
        reasons = ("the two best classes nearly tie", "far from everything labeled")
        ledger = [
            LedgerRow(row.id, "batch", rank, score=1 - rank / budget, reason=reasons[rank % 3 > 0])
            for rank, row in enumerate(pool)
        ]
        ledger += [
            LedgerRow(row.image_id, "reserve", rank, reason="the reserve's fixed random order")
            for rank, row in enumerate(kept)
        ]
        rounds.plan(connection, project.id, one.id, ledger)
        rounds.mark_pushed(connection, one.id, [row.image_id for row in ledger])
        for position, step in enumerate(("pull", "labels", "train", "evaluate", "select", "push")):
            rounds.finish_step(connection, one.id, step, seconds=1.3 + position, result={})
        if quality is not None:
            _add_model(connection, project, one, truth, quality)
        record: dict[str, Any] = {
            "labels": trained_on,
            "strategy": "max-herding" if quality is None else "uncertainty-herding",
            "rule": "no model yet" if quality is None else "the default at this budget",
            "selected": len(pool),
            "control": len(kept),
            "waiting": 0,
        }
        if quality is not None:
            record["metrics"] = metrics(project.record.classes, quality, n=40 + trained_on // 4)
            record["advice"] = "Label on: the forecast gain is worth more than it costs."
        rounds.note(connection, one.id, record)
        rounds.finish(connection, one.id, "waiting")
        _bind_queues(connection, project, ledger)
    answer(project, truth, ledger[: round(answered * len(ledger))])
    return one


def _settings(connection: Any, project: Project, budget: int) -> dict[str, Any]:
    asked = {"strategy": "auto", "budget": budget, "reserve": 150}
    return {"asked": asked, "version": annotations.newest_version(connection, project.id)}


def _add_model(
    connection: Any, project: Project, one: RoundRecord, truth: dict[str, str], quality: float
) -> None:
    run_id = f"run-{project.id}-{one.number}"
    runs.add(
        connection,
        project.id,
        run_id,
        kind="head",
        snapshot_id=None,
        seed=1,
        settings={},
        metrics={},
    )
    rng = np.random.default_rng(one.number)
    ids = project.record.class_ids
    predictions = []
    for image_id, _ in list(images.usable(connection, project.id)):
        name = images.names_by_id(connection, [image_id])[image_id]
        right = project.record.ids_of((truth[name],))[0]
        guess = right if rng.random() < quality else int(rng.choice(ids))
        confidence = float(rng.uniform(0.4, 0.99))
        predictions.append((image_id, guess, confidence, max(2 * confidence - 1, 0.02)))
    runs.put_predictions(connection, project.id, run_id, predictions)
    rounds.set_run(connection, one.id, run_id)


def metrics(classes: tuple[str, ...], quality: float, *, n: int) -> dict[str, Any]:
    """What a round records about a model that is right in about this share of each class."""
    count = len(classes)
    truth = np.arange(n) % count
    position = np.arange(n) // count  # within the class
    right = position < quality * np.bincount(truth, minlength=count)[truth]
    predicted = np.where(right, truth, (truth + 1 + position % (count - 1)) % count)
    probabilities = np.full((n, count), 0.2 / (count - 1))
    probabilities[np.arange(n), predicted] = 0.8
    rng = np.random.default_rng(0)
    return evaluation.evaluate(probabilities, truth, classes, rng=rng).as_json()


def _bind_queues(connection: Any, project: Project, ledger: list[LedgerRow]) -> None:
    bound = {found.queue: found for found in remote.every(connection, project.id)}
    names: tuple[Queue, ...] = ("batch", "reserve")
    for number, name in enumerate(names, start=2 * project.id - 1):
        queue = bound.get(name) or remote.put(
            connection, project.id, name, url=URL, remote_id=number, interface="<View/>"
        )
        ours = [row.image_id for row in ledger if row.queue == name]
        remote.add_tasks(connection, queue.id, {image_id: image_id for image_id in ours})
        remote.set_cursor(connection, queue.id, PULLED.isoformat())


def answer(
    project: Project, truth: dict[str, str], ledger: Iterable[LedgerRow], *, people: int = 2
) -> None:
    """People answer these images, in turn; every 25th is skipped."""
    with project.catalog.write() as connection:
        ids = {
            number: annotations.annotator_of_user(
                connection, project.id, number, name=f"annotator-{number}"
            )
            for number in range(1, people + 1)
        }
        rows = list(ledger)
        names = images.names_by_id(connection, [row.image_id for row in rows])
        answers = []
        for position, row in enumerate(rows, start=1):
            skipped = position % 25 == 0
            classes = () if skipped else project.record.ids_of((truth[names[row.image_id]],))
            answers.append(
                RemoteAnswer(
                    remote_id=row.image_id,
                    image_id=row.image_id,
                    remote_user_id=1 + position % people,
                    state="skipped" if skipped else "answered",
                    classes=classes,
                    seconds=2.0 + position % 7,
                    prelabel="accepted" if row.queue == "batch" and position % 2 else "none",
                    model_version="",
                    updated_at="2026-01-01T00:00:00Z",
                    queue=row.queue,
                )
            )
        annotations.put_remote(connection, project.id, answers, annotator_ids=ids)
        newest = annotations.newest_version(connection, project.id)
        labels.put(
            connection,
            project.id,
            [
                {
                    "image_id": one.image_id,
                    "classes": one.classes,
                    "origin": "people",
                    "confidence": 1.0,
                    "answers": 1,
                    "version_id": newest,
                }
                for one in answers
                if one.classes
            ],
        )


def send_doubts(project: Project, *, count: int) -> list[int]:
    """Some labels that people gave are put before a reviewer; the ids of their images."""
    with project.catalog.write() as connection:
        labeled = labels.for_training(connection, project.id)
        doubts = [
            Doubt(row.image_id, 0.9 - rank / 100, row.classes, project.record.class_ids[0], WHY)
            for rank, row in enumerate(labeled[:count])
        ]
        listed = corrections.decide(connection, project.id, doubts)
        corrections.write(connection, project.id, listed)
        queue = remote.put(
            connection, project.id, "correction", url=URL, remote_id=99, interface="<View/>"
        )
        remote.add_tasks(connection, queue.id, {key: 1000 + key for key in listed.fresh})
        remote.set_cursor(connection, queue.id, PULLED.isoformat())
        corrections.mark_pushed(connection, project.id, 1, listed.fresh)
    return list(listed.fresh)


def review(project: Project, image_id: int, class_name: str = "", *, comment: str = "") -> None:
    """A reviewer gives this class, or passes the doubt on; the label follows."""
    with project.catalog.write() as connection:
        said = RemoteAnswer(
            remote_id=1000 + image_id,
            image_id=image_id,
            remote_user_id=9,
            state="answered" if class_name else "skipped",
            classes=project.record.ids_of((class_name,)) if class_name else (),
            seconds=3.0,
            prelabel="corrected" if class_name else "none",
            model_version="",
            updated_at="2026-01-02T00:00:00Z",
            queue="correction",
            unsure=bool(comment),
            comment=comment,
        )
        person = annotations.annotator_of_user(connection, project.id, 9, name="reviewer-1")
        annotations.put_remote(connection, project.id, [said], annotator_ids={9: person})
        consensus.settle(connection, project, [image_id])


def begin_job(project: Project, kind: str, arguments: dict[str, Any]) -> int:
    """A job that a worker has taken and reported on."""
    with project.catalog.write() as connection:
        job = jobs.enqueue(connection, project.id, kind, arguments)
        jobs.claim(connection, "worker-1")
        jobs.report(connection, job.id, done=30, total=120, says="predict", seconds_left=42.0)
        for line in ("pulled 3 answers", "trained on 31 labels", "predicting"):
            jobs.log(connection, job.id, line)
    return job.id


def begin_round(project: Project) -> RoundRecord:
    """A round that is under way: two steps are done."""
    with project.catalog.write() as connection:
        one = rounds.start(connection, project.id, _settings(connection, project, 20))
        for step in ("pull", "train"):
            rounds.finish_step(connection, one.id, step, seconds=2.5, result={})
    return one
