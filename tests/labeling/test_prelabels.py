"""Pre-labels that are held back, and what the others are found to do."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from curation.catalog import annotations, rounds
from curation.catalog import prelabels as rows
from curation.records import RoundRecord
from labeling import prelabels, tasks
from tests import bench as benches
from tests.bench import Bench
from tests.fixtures_label_studio import LabelStudio
from ui import helping


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    with benches.bench(label_studio, tmp_path, count=30) as made:
        yield made


def sent(bench: Bench, image_ids: list[int], *, hint: str | None, share: float) -> RoundRecord:
    """A round that holds a share of its pre-labels back, after all that was answered so far."""
    with bench.project.catalog.write() as writing:
        version = annotations.newest_version(writing, bench.project.id)
        made = rounds.start(
            writing,
            bench.project.id,
            {"asked": {prelabels.SHARE: share}, "version": version},
        )
        ledger = benches.batch(bench.project, image_ids, hint=hint)
        rounds.plan(writing, bench.project.id, made.id, ledger)
    bench.offer(made)
    return made


def test_is_held_back__the_share_of_all_and_a_part_of_larger_shares() -> None:
    ids = range(1, 20_001)
    tenth = {key for key in ids if prelabels.is_held_back(7, key, share=0.1)}
    fifth = {key for key in ids if prelabels.is_held_back(7, key, share=0.2)}
    assert 1_850 < len(tenth) < 2_150
    assert 3_800 < len(fifth) < 4_200
    assert tenth < fifth
    assert len(tenth & {key for key in ids if prelabels.is_held_back(8, key, share=0.1)}) < 260
    assert not any(prelabels.is_held_back(7, key, share=0.0) for key in ids)


def record(number: int, asked: dict[str, float]) -> RoundRecord:
    return RoundRecord(
        number, number, "waiting", {"asked": asked}, {}, None, datetime(2026, 1, 1), None
    )


def test_compare__seconds_acceptance_and_who_follows_the_model() -> None:
    seed = 3
    held = record(4, {prelabels.SHARE: 0.5})
    old = record(3, {})

    def judged(key: int, number: int) -> rows.Judged:
        alone = prelabels.is_held_back(seed, key, share=0.5)
        same = key % 10 < (6 if alone else 9)
        return rows.Judged(
            image_id=key,
            round=number,
            hint=1,
            classes=(1,) if same else (2,),
            seconds=(3.0 if alone else 2.0) + key % 7 / 10,
            prelabel="none" if alone else "accepted" if same else "corrected",
        )

    given = [judged(key, 4) for key in range(1, 401)] + [judged(key, 3) for key in range(401, 500)]
    together, by_round = prelabels.compare(seed, [old, held], given)
    found = together.as_json(np.random.default_rng(0))
    assert sum(found["images"].values()) == 400, "rounds that held nothing back do not count"
    assert by_round[4].as_json(np.random.default_rng(0))["images"] == found["images"]
    saved = found["seconds"]["saved"]
    assert saved["ci"][0] <= saved["value"] <= saved["ci"][1]
    assert 0.9 <= saved["value"] <= 1.1
    follow = found["says_what_the_model_says"]
    assert follow["shown"]["value"] > 0.85
    assert follow["held_back"]["value"] < 0.65
    assert 0.1 < follow["more"]["ci"][0] < follow["more"]["value"] < follow["more"]["ci"][1] < 0.5
    assert found["acceptance"]["value"] == follow["shown"]["value"]


@pytest.mark.label_studio
def test_measure__rounds_of_real_answers(bench: Bench) -> None:
    project, ids = bench.project, bench.ids()
    assert helping.measure(project)["says"] == helping.NOTHING
    sent(bench, ids[:4], hint=None, share=0.5)  # round 0 has no model
    with bench.studio.annotator() as ann:
        for key in ids[:2]:
            bench.answer(ann, key, "ok")
        bench.pull()
        # Two of the first round go out again, now with an opinion about them.
        made = sent(bench, ids[2:], hint="scratch", share=0.5)
        held_back = {
            key for key in ids[2:] if prelabels.is_held_back(project.record.seed, key, share=0.5)
        }
        assert 5 < len(held_back) < 23
        version = f"round-{made.number}"
        for key in ids[2:]:
            task = bench.admin.task(bench.task_of(key))
            (hint,) = [one for one in task.predictions if one["model_version"] == version]
            assert bool(hint["result"]) is (key not in held_back)
            assert hint["score"] == pytest.approx((key - ids[2]) / len(ids[2:]))
            # As the browser does: an answer starts from the pre-label, also from an empty one.
            result = [{**part, "origin": "prediction"} for part in hint["result"]]
            ann.create_annotation(
                task.id,
                result or tasks.chosen(["dent"]),
                parent_prediction=hint["id"],
                lead_time=2.0 if result else 3.0,
            )
        bench.pull()
    found = helping.measure(project)
    assert found["images"] == {"shown": 28 - len(held_back), "held_back": len(held_back)}
    assert found["seconds"]["saved"]["value"] == 1.0
    assert found["acceptance"]["value"] == 1.0
    assert found["acceptance"]["n"] == 28 - len(held_back), "an empty one was not started from"
    assert found["says_what_the_model_says"]["more"]["value"] == 1.0
    assert found["says"].startswith("Pre-labels save 1.0 s an image (1.0 to 1.0, n = 28); people ")
    assert [row["images"] for row in found["rounds"]] == [
        {"shown": 0, "held_back": 0},
        found["images"],
    ]
