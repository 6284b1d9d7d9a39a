"""What is sent once, and what a push that was cut short leaves."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from curation import classes, workspace
from curation.catalog import rounds
from curation.errors import LabelStudioError
from labeling import push, queues, sync
from tests import bench as benches
from tests.bench import Bench
from tests.fixtures_label_studio import LabelStudio

pytestmark = pytest.mark.label_studio


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    with benches.bench(label_studio, tmp_path, count=14) as made:
        yield made


def versions(bench: Bench, image_id: int) -> list[str]:
    found = bench.admin.task(bench.task_of(image_id)).predictions
    return sorted(str(one["model_version"]) for one in found)


def test_send__replaced_prelabels_come_once_after_a_kill(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = bench.ids()
    monkeypatch.setattr(push, "PUSHED_AT_ONCE", 4)
    bench.send(ids, hint="scratch")
    made = bench.plan(benches.batch(bench.project, ids, hint="dent"))

    def killed(done: int, total: int, says: str) -> None:
        raise KeyboardInterrupt

    # The second part is in Label Studio when it happens, and its ledger does not say so.
    with pytest.raises(KeyboardInterrupt):
        sync.offer(bench.project, bench.admin, made, shelf=bench.shelf, report=killed)
    second = [versions(bench, key) for key in ids[4:8]]
    assert second == [["round-0", "round-1"]] * 4
    asked: list[str] = []
    bench.admin._wire.http.event_hooks["request"].append(
        lambda request: asked.append(f"{request.method} {request.url.path}")
    )
    try:
        bench.offer(made)
    finally:
        bench.admin._wire.http.event_hooks["request"].clear()
    assert [versions(bench, key) for key in ids] == [["round-0", "round-1"]] * len(ids)
    assert not [one for one in asked if one.startswith("GET /api/tasks/") and one[-2].isdigit()], (
        "tasks are not read one by one"
    )
    assert sum("import/predictions" in one for one in asked) == 2


def test_send__a_class_that_is_not_in_the_interface_and_nothing_is_pushed(bench: Bench) -> None:
    ids = bench.ids()
    queue = queues.ensure(bench.project, bench.admin, "batch")
    classes.add(bench.project, ["rust"])
    stale = workspace.refreshed(bench.project)
    rows = benches.batch(stale, ids[:3], hint="scratch")
    (rust,) = stale.record.ids_of(("rust",))
    rows = [*rows[:2], replace(rows[2], prelabel_class_id=rust)]
    made = bench.plan(rows)
    with bench.project.catalog.read() as reading:
        ledger = rounds.sent(reading, made.id, "batch")

    def wrap(image_ids: list[int]) -> list[push.Parcel]:
        with bench.project.catalog.read() as reading:
            there = rounds.ledger(reading, made.id, image_ids=image_ids)
        return [
            push.Parcel(row.image_id, sync._prediction(stale, made, queue, row, 3)) for row in there
        ]

    with pytest.raises(LabelStudioError, match=r"1 pre-labels do not fit .* Nothing was pushed"):
        push.send(
            stale, bench.admin, queue, ledger, wrap, shelf=bench.shelf, done=lambda there: None
        )
    assert bench.admin.project(queue.remote_id).task_count == 0


def test_answer_for__somebody_else_accepted_a_prelabel(bench: Bench) -> None:
    ids = bench.ids()[:1]
    bench.send(ids)
    with bench.studio.annotator() as ann:
        user = ann.whoami()
    task = bench.admin.task(bench.task_of(ids[0]))
    (hint,) = task.predictions
    bench.admin.answer_for(
        user.id,
        task.id,
        [{**part, "origin": "prediction"} for part in hint["result"]],
        parent_prediction=hint["id"],
        lead_time=0.25,
    )
    (made,) = bench.admin.task(task.id).annotations
    assert (made.user_id, made.parent_prediction, made.lead_time) == (user.id, hint["id"], 0.25)
    assert made.origin == "prediction"
