"""Whole rounds on real images with real embeddings, answered by the truth."""

import csv
import fcntl
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select, update

from curation import features, ingest, sources, weak_labels
from curation import workspace as workspaces
from curation.catalog import (
    annotations,
    asking,
    audits,
    gallery,
    groups,
    labels,
    plans,
    remote,
    reserve,
    rounds,
    schema,
)
from curation.catalog import golds as gold_rows
from curation.catalog import images as image_rows
from curation.catalog import pool as pool_rows
from curation.errors import RoundError
from curation.records import RemoteAnswer, RoundRecord, Task
from curation.weak_labels import WeakLabels
from curation.workspace import Project
from labeling import accepting, consensus, golds
from labeling.accepting import Candidate
from tests import engines
from tests.catalog.rows import add_imported
from tests.fixtures_label_studio import LabelStudio
from training.rounds import active_loop
from training.rounds.active_loop import RoundSettings
from training.rounds.steps import STEPS
from ui import demo, wiring

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data"
COUNT = 200
EVERY_STEP = ["pull", *STEPS]


def truth() -> dict[str, str]:
    with (SAMPLE / "truth.csv").open(encoding="utf-8", newline="") as file:
        return {row["filename"]: row["label"] for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of 200 photos with embeddings, which tests work on copies of."""
    home = tmp_path_factory.mktemp("embedded")
    (home / "photos").mkdir()
    # Spread over the sample, which is sorted by nothing in particular.
    for path in sorted((SAMPLE / "images").iterdir())[:: 1200 // COUNT][:COUNT]:
        shutil.copy2(path, home / "photos")
    project = workspaces.create_project(
        home / "w", name="shop", class_names=sorted(set(truth().values())), seed=11
    )
    plan = sources.understand(
        home / "photos", known_classes=project.record.classes, labels_from="none"
    )
    ingest.run(project, plan)
    engines.warm(tmp_path_factory.getbasetemp(), home / "w")
    features.prepare(project)
    project.catalog.close()
    return home / "w"


@pytest.fixture
def project(embedded: Path, tmp_path: Path) -> Iterator[Project]:
    shutil.copytree(embedded, tmp_path / "w")
    opened = workspaces.project(workspaces.open(tmp_path / "w"))
    yield opened
    opened.catalog.close()


@dataclass
class Oracle:
    """The truth in people's place, straight into the catalog: what `Annotator` asks for.

    Attributes:
        only: the classes that it answers; it leaves the other images waiting.
        at_most: how many answers it gives at a time.
    """

    project: Project
    only: set[str] | None = None
    at_most: int = 1000
    offered: list[list[int]] = field(default_factory=list)

    def offer(self, round: RoundRecord, report: object) -> None:
        with self.project.catalog.read() as reading:
            rows = rounds.ledger(reading, round.id)
        assert not any(row.pushed for row in rows), "the ledger is written before the push"
        self.offered.append([row.image_id for row in rows])

    def collect(self, report: object) -> dict[str, int]:
        return {"images": self.answer(), "annotations": 0}

    def answer(self) -> int:
        project = self.project
        with project.catalog.read() as reading:
            names = image_rows.names_by_id(reading, rounds.waiting(reading, project.id))
        ids = dict(zip(project.record.classes, project.record.class_ids, strict=True))
        said = {key: truth()[name] for key, name in names.items()}
        chosen = [key for key, name in said.items() if self.only is None or name in self.only]
        with project.catalog.write() as writing:
            person = annotations.annotator_of_user(writing, project.id, 1, name="oracle")
            changed = annotations.put_remote(
                writing,
                project.id,
                [
                    RemoteAnswer(
                        remote_id=key,
                        image_id=key,
                        remote_user_id=1,
                        state="answered",
                        classes=(ids[said[key]],),
                        seconds=1.0,
                        prelabel="none",
                        model_version="",
                        updated_at="",
                    )
                    for key in chosen[: self.at_most]
                ],
                annotator_ids={1: person},
            )
            consensus.settle(writing, project, sorted(changed))
        return len(changed)


def run(project: Project, oracle: Oracle, **asked: object) -> RoundRecord:
    settings = RoundSettings(**{"budget": 20, "reserve": 20, **asked})  # type: ignore[arg-type]
    return active_loop.run(project, settings, oracle)


def ledger(project: Project, round: RoundRecord, queue: str) -> list[int]:
    with project.catalog.read() as reading:
        return [row.image_id for row in rounds.ledger(reading, round.id) if row.queue == queue]


def reserved(project: Project) -> list[int]:
    """The reserve in its order."""
    with project.catalog.read() as reading:
        return [row.image_id for row in reserve.rows(reading, project.id)]


def test_run__two_rounds_without_a_label_at_the_start(project: Project) -> None:
    oracle = Oracle(project)
    first = run(project, oracle)
    assert (first.number, first.state, first.run_id) == (0, "waiting", None)
    assert (first.record["strategy"], first.record["metrics"]) == ("max-herding", {})
    assert first.record["advice"].startswith("No label outside the reserve yet")
    assert ledger(project, first, "reserve") == reserved(project)[:20]
    batch = ledger(project, first, "batch")
    assert len(batch) == 20
    assert not set(batch) & set(reserved(project))

    second = run(project, oracle)
    assert (second.number, second.state) == (1, "waiting")
    assert second.record["labels"] == 20
    with project.catalog.read() as reading:
        steps = rounds.steps(reading, second.id)
        halves = [row.half for row in reserve.rows(reading, project.id)[:20]]
    assert list(steps) == EVERY_STEP
    assert all(step["seconds"] >= 0 for step in steps.values())
    assert steps["calibrate"]["result"]["n"] == halves.count("calibration")
    accuracy = second.record["metrics"]["accuracy"]
    assert accuracy["n"] == halves.count("holdout")
    assert accuracy["ci"][0] <= accuracy["value"] <= accuracy["ci"][1]

    sent = ledger(project, second, "batch")
    control = [key for key in sent if key in reserved(project)]
    assert control == reserved(project)[20:22], "the next of the reserve's order"
    assert (second.record["selected"], second.record["control"]) == (18, 2)
    assert not set(sent) & set(batch)
    with project.catalog.read() as reading:
        hints = {r.image_id: r.prelabel_class_id for r in rounds.ledger(reading, second.id)}
    assert {key for key, hint in hints.items() if hint is None} == set(control)


def test_run__the_same_seed_gives_the_same_rounds(embedded: Path, tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        shutil.copytree(embedded, tmp_path / name)
        project = workspaces.project(workspaces.open(tmp_path / name))
        oracle = Oracle(project)
        records = [run(project, oracle), run(project, oracle)]
        found.append((oracle.offered, [one.record["metrics"] for one in records]))
        project.catalog.close()
    assert found[0] == found[1]


def test_run__nothing_answered_since(project: Project) -> None:
    oracle = Oracle(project, at_most=0)
    run(project, oracle)
    with pytest.raises(RoundError, match="Nothing has been answered since round 0; 40 images are"):
        run(project, oracle)


def test_run__one_class_only_says_so_and_goes_on(project: Project) -> None:
    oracle = Oracle(project, only={"sneaker"})
    run(project, oracle, budget=60)
    second = run(project, oracle)
    assert second.run_id is None
    assert second.record["metrics"] == {}
    assert second.record["selected"] == 18
    assert "sneaker" in second.record["advice"]
    assert second.record["carried"] > 0


def test_run__a_strategy_that_needs_a_model_before_there_is_one(project: Project) -> None:
    found = run(project, Oracle(project), strategy="margin")
    assert found.record["strategy"] == "max-herding"
    assert found.record["rule"].startswith("margin needs a model and there is none yet")


def test_run__budget_larger_than_the_pool_and_the_last_round(project: Project) -> None:
    oracle = Oracle(project)
    first = run(project, oracle, budget=500, reserve=500)
    with project.catalog.read() as reading:
        assert pool_rows.count(reading, project.id) == first.record["selected"]
    assert first.record["selected"] < 500
    assert f"held {500 - first.record['selected']} images less" in first.record["advice"]
    second = run(project, oracle)
    assert (second.record["selected"], second.record["control"]) == (0, 0)
    assert second.record["labels"] == first.record["selected"], "the last answers are learned from"
    assert second.record["metrics"]["accuracy"]["n"] > 0
    assert "No image is left to label" in second.record["advice"]
    with pytest.raises(RoundError, match="no image left to choose"):
        run(project, oracle)


def test_run__empty_holdout(project: Project) -> None:
    oracle = Oracle(project)
    run(project, oracle, reserve=0)
    second = run(project, oracle)
    assert second.run_id is not None
    assert second.record["metrics"] == {}
    assert "There is no figure yet" in second.record["advice"]


def test_run__holdout_figures_come_from_the_settled_prefix(project: Project) -> None:
    oracle = Oracle(project)
    run(project, oracle)
    gap = reserved(project)[7]
    # Somebody answers all but the eighth of the reserve.
    oracle.answer()
    with project.catalog.write() as writing:
        annotations.mark_deleted(writing, project.id, [gap])
        consensus.settle(writing, project, [gap])
    oracle.at_most = 0
    second = run(project, oracle)
    with project.catalog.read() as reading:
        halves = [row.half for row in reserve.rows(reading, project.id)[:7]]
        steps = rounds.steps(reading, second.id)
    assert steps["evaluate"]["result"]["n"] == halves.count("holdout")
    assert steps["calibrate"]["result"]["n"] == halves.count("calibration")


def test_run__imported_labels_of_the_reserve_are_shown_again(project: Project) -> None:
    names = {}
    with project.catalog.write() as writing:
        reserve.freeze(writing, project.id)
        for row in gallery.page(writing, project.id, size=COUNT):
            names[row.id] = project.record.ids_of((truth()[row.name],))
        usable = {key: names[key] for key, _ in image_rows.usable(writing, project.id)}
        add_imported(writing, project.id, usable)
        consensus.settle(writing, project, list(usable))
    oracle = Oracle(project)
    first = run(project, oracle)
    assert ledger(project, first, "reserve") == reserved(project)[:20]
    assert first.record["labels"] == len(usable) - len(reserved(project))
    assert first.record["metrics"] == {}, "nobody has confirmed the reserve's labels yet"
    second = run(project, oracle)
    assert 0 < second.record["metrics"]["accuracy"]["n"] < 20


def test_run__a_group_that_straddles_the_reserve_leaves_training_and_pool(
    project: Project,
) -> None:
    oracle = Oracle(project)
    run(project, oracle)
    oracle.answer()
    with project.catalog.write() as writing:
        first = reserved(project)[0]
        group = image_rows.get(writing, first).group_id
        labeled = [row.image_id for row in labels.for_training(writing, project.id)]
        pool = [row.id for row in pool_rows.find(writing, project.id)]
        writing.execute(
            update(schema.images)
            .where(schema.images.c.id.in_([labeled[0], pool[0]]))
            .values(group_id=group)
        )
    second = run(project, oracle, budget=500)
    assert second.record["labels"] == 19
    assert pool[0] not in ledger(project, second, "batch")
    with project.catalog.read() as reading:
        assert first in [row.image_id for row in reserve.rows(reading, project.id)]


def test_run__a_copy_of_an_image_that_waits_is_not_sent(project: Project) -> None:
    oracle = Oracle(project, at_most=30)
    first = run(project, oracle)
    oracle.answer()
    oracle.at_most = 0
    with project.catalog.write() as writing:
        (waiting, *_) = rounds.waiting(writing, project.id, queue="batch")
        pool = [row.id for row in pool_rows.find(writing, project.id)]
        copy = next(key for key in pool if key not in ledger(project, first, "batch"))
        writing.execute(
            update(schema.images)
            .where(schema.images.c.id == copy)
            .values(group_id=image_rows.get(writing, waiting).group_id)
        )
    second = run(project, oracle, budget=500)
    assert second.record["carried"] > 0
    assert copy not in ledger(project, second, "batch")


def test_run__of_copies_that_wait_one_is_sent_on(project: Project) -> None:
    oracle = Oracle(project, at_most=12)
    run(project, oracle)
    oracle.answer()
    with project.catalog.write() as writing:
        waiting = rounds.waiting(writing, project.id, queue="batch")
        groups.regroup(writing, project.id, [[waiting[5], waiting[1], waiting[3]]])
    oracle.at_most = 0
    second = run(project, oracle)
    kept = [key for key in waiting if key not in (waiting[3], waiting[5])]
    assert second.record["carried"] == len(kept) > 3
    assert [key for key in ledger(project, second, "batch") if key in waiting] == kept


def test_run__of_copies_that_wait_the_reserve_keeps_its_own(project: Project) -> None:
    oracle = Oracle(project, at_most=12)
    run(project, oracle)
    oracle.answer()
    oracle.at_most = 0
    run(project, oracle)
    oracle.at_most = 1
    oracle.answer()
    with project.catalog.write() as writing:
        waiting = rounds.waiting(writing, project.id, queue="batch")
        member = max(key for key in waiting if key in reserved(project))
        copy = next(key for key in waiting if key not in reserved(project))
        groups.regroup(writing, project.id, [[copy, member]])
    oracle.at_most = 0
    sent = ledger(project, run(project, oracle), "batch")
    assert member in sent
    assert copy not in sent


def test_run__what_a_machine_labeled_is_learned_from_and_audited_blind(project: Project) -> None:
    oracle = Oracle(project)
    run(project, oracle)
    oracle.answer()
    with project.catalog.read() as reading:
        free = sorted(reading.scalars(pool_rows.ids(project.id)))[:30]
    wrong = project.record.class_ids[0]
    done = accepting.accept(
        project,
        [Candidate(key, wrong, 0.9) for key in free],
        source="test",
        above=0.9,
        sample=6,
        risk=0.2,
    )
    soft = np.full((1, len(project.record.classes)), 0.1, dtype=np.float32)
    with project.catalog.read() as reading:
        ids = np.array(sorted(reading.scalars(pool_rows.ids(project.id))), dtype=np.int64)
    table = WeakLabels(
        ({"name": "all"},),
        project.record.classes,
        ids,
        np.zeros((len(ids), 1), dtype=np.int8),
        np.zeros(len(ids), dtype=np.int32),
        soft,
        np.zeros(0, dtype=np.int64),
    )
    with project.catalog.write() as writing:
        settings = {"folder": weak_labels.write(project, table), "weight": 0.1, "in_rounds": True}
        plans.put(writing, project.id, weak_labels.PLAN, settings)
    second = run(project, oracle)
    with project.catalog.read() as reading:
        trained = rounds.steps(reading, second.id)["train"]["result"]
        rows = {row.image_id: row for row in rounds.ledger(reading, second.id)}
    assert (trained["labels"], trained["machine"], trained["rules"]) == (20, 30, len(ids))
    checks = [key for key, row in rows.items() if row.reason.startswith("audit")]
    assert sorted(checks) == sorted(done.audited)
    assert not set(rows) & (set(free) - set(checks)), "nobody is asked of the others"
    assert all(rows[key].prelabel_class_id is None for key in checks)
    # What nobody has answered yet is still asked in the next round, and blind.
    oracle.only = {name for name in project.record.classes if name < "sandal"}
    third = run(project, oracle)
    with project.catalog.read() as reading:
        again = {row.image_id: row for row in rounds.ledger(reading, third.id)}
        left = audits.pending(reading, project.id)
    assert set(left) <= set(again)
    assert all(again[key].prelabel_class_id is None for key in left)
    oracle.only = None
    oracle.answer()
    (found,) = accepting.audited(project)
    assert (found.answered, found.error.n) == (6, 6)
    names = list(truth().values())
    assert found.error.value is not None and found.error.value > 0.3 > 2 * names.count(
        project.record.classes[0]
    ) / len(names)
    assert found.verdict in ("exceeded", "cannot tell yet")
    assert found.standing == 24, "people's answers took the others' place"


def test_run__questions_with_a_known_answer_among_the_others(project: Project) -> None:
    oracle = Oracle(project)
    with project.catalog.write() as writing:
        asking.put_settings(writing, project.id, asking.Asking(gold_rate=0.25))
        names = [row.name for row in gallery.page(writing, project.id, size=12)]
    golds.add(project, {name: [truth()[name]] for name in names})
    first = run(project, oracle)
    with project.catalog.read() as reading:
        known = {gold.image_id for gold in gold_rows.every(reading, project.id)}
        rows = rounds.ledger(reading, first.id, queue="batch")
        steps = rounds.steps(reading, first.id)
    assert not known & set(reserved(project)), "they are asked in the batch"
    assert steps["select"]["result"]["golds"] == 5
    assert steps["select"]["result"]["selected"] == 20
    assert len(rows) == 25
    asked = known & {row.image_id for row in rows}
    places = [row.rank for row in rows if row.image_id in asked]
    assert len(places) == 5
    assert places != list(range(20, 25)), "mixed in, and not behind the others"
    assert first.record["labels"] == 12, "what is known is learned from"
    second = run(project, oracle, answers=2)
    with project.catalog.read() as reading:
        rows = rounds.ledger(reading, second.id, queue="batch")
        steps = rounds.steps(reading, second.id)
    again = [row for row in rows if row.image_id in known]
    assert {row.answers for row in rows if row.image_id not in known} == {2}
    assert {row.answers for row in again} == {1}, "of as many as there are people"
    assert not {row.image_id for row in again} & asked, "of everybody once"
    # They bear a pre-label about as often as the images around them.
    hinted = sum(row.prelabel_class_id is not None for row in rows) / len(rows)
    assert hinted > 0.8
    assert any(row.prelabel_class_id is not None for row in again)


def test_run__answers_in_the_middle_are_kept_for_the_next(project: Project) -> None:
    oracle = Oracle(project, at_most=30)
    run(project, oracle)
    oracle.answer()
    late = Oracle(project)
    oracle.at_most = 0

    def report(done: int, total: int, says: str) -> None:
        if says == "train":
            assert late.answer() == 10

    settings = RoundSettings(budget=20)
    found = active_loop.run(project, settings, oracle, report=report)
    with project.catalog.read() as reading:
        now = len(labels.for_training(reading, project.id))
    assert found.record["labels"] < now == 20
    again = run(project, oracle)
    assert again.record["labels"] == now


def test_run__another_process_is_at_it(project: Project) -> None:
    lock = project.workspace.folder("runs") / f".round-p{project.id}.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RoundError, match="Another process is running a round"):
            run(project, Oracle(project))
    assert run(project, Oracle(project)).number == 0


@pytest.mark.parametrize("step", ["embed", "select", "record"])
def test_run__interrupted_goes_on_to_the_same_end(
    embedded: Path, tmp_path: Path, step: str
) -> None:
    ends = []
    for name in ("undisturbed", "interrupted"):
        shutil.copytree(embedded, tmp_path / name)
        project = workspaces.project(workspaces.open(tmp_path / name))
        oracle = Oracle(project)

        def report(done: int, total: int, says: str, name: str = name) -> None:
            if says == step and name == "interrupted":
                raise KeyboardInterrupt

        settings = RoundSettings(budget=20, reserve=20)
        if name == "interrupted":
            with pytest.raises(KeyboardInterrupt):
                active_loop.run(project, settings, oracle, report=report)
        found = run(project, oracle)
        with project.catalog.read() as reading:
            count = reading.scalar(select(func.count()).select_from(schema.rounds))
            rows = rounds.ledger(reading, found.id)
        assert count == 1
        ends.append((rows, found.record))
        project.catalog.close()
    assert ends[0] == ends[1]


def with_server(project: Project, studio: LabelStudio) -> None:
    """Gives the workspace the session's server as its own."""
    (project.workspace.path / "label-studio").symlink_to(studio.folder)


@pytest.fixture
def remote_projects(label_studio: LabelStudio) -> Iterator[Callable[[], set[int]]]:
    """The projects that the test has made on the session's server, deleted afterwards."""
    opened = label_studio.connection
    before = {one.id for one in opened.projects()}
    yield lambda: {one.id for one in opened.projects()} - before
    for one in {one.id for one in opened.projects()} - before:
        opened.delete_project(one)
    for link in (label_studio.folder / "served").glob("*"):
        link.unlink()


@pytest.mark.label_studio
def test_run__through_label_studio(
    project: Project, label_studio: LabelStudio, remote_projects: Callable[[], set[int]]
) -> None:
    with_server(project, label_studio)
    first = wiring.run_round(project, budget=20, reserve=20)
    assert list(first["seconds"]) == EVERY_STEP
    assert [(q["queue"], q["waiting"]) for q in wiring.queue_links(project)] == [
        ("reserve", 20),
        ("batch", 20),
    ]
    with label_studio.annotator() as person:
        assert demo.answer_all(project, person, truth()) == 40
        second = wiring.run_round(project, budget=20)
        assert second["labels"] == 20
        assert second["metrics"]["accuracy"]["n"] > 0
        assert demo.answer_all(project, person, truth()) == 20
    wiring.pull(project)
    with project.catalog.read() as reading:
        assert labels.count(reading, project.id) == 60
        found = annotations.history(reading, ledger(project, rounds.get(reading, 1, 1), "batch")[0])
    assert [row["state"] for row in found] == ["answered"]
    opened = label_studio.connection
    assert sum(opened.project(one).task_count for one in remote_projects()) == 60


@pytest.mark.label_studio
def test_run__multi_label_through_label_studio(
    embedded: Path,
    tmp_path: Path,
    label_studio: LabelStudio,
    remote_projects: Callable[[], set[int]],
) -> None:
    from labeling import tasks

    task: Task = "multi-label"
    project = workspaces.create_project(
        tmp_path / "w", name="tags", class_names=["shoe", "top", "dark"], task=task, seed=3
    )
    shutil.copytree(embedded / "embeddings" / "engines", tmp_path / "w" / "embeddings" / "engines")
    plan = sources.understand(embedded.parent / "photos", known_classes=(), labels_from="none")
    ingest.run(project, plan)
    with_server(project, label_studio)
    wiring.run_round(project, budget=20, reserve=20)

    def tags(name: str) -> list[str]:
        label = truth()[name]
        found = {"shoe": label in ("sneaker", "sandal", "ankle-boot")}
        found["top"] = label in ("t-shirt", "pullover", "shirt", "coat")
        return [tag for tag, there in found.items() if there]

    with project.catalog.read() as reading:
        queues = [queue.remote_id for queue in remote.every(reading, project.id)]
    with label_studio.annotator() as person:
        for queue in queues:
            while (one := person.next_task(queue)) is not None:
                person.create_annotation(one.id, tasks.chosen(tags(one.data["name"])))
    second = wiring.run_round(project, budget=20)
    assert second["labels"] == 20, "images with none of the classes are labeled too"
    with project.catalog.read() as reading:
        rows = reserve.rows(reading, project.id)[:20]
    holdout = [row.half for row in rows].count("holdout")
    assert second["metrics"]["accuracy"]["n"] == holdout
    project.catalog.close()
