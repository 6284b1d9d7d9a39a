"""What a training may learn from, on the embedded sample data."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import workspace as workspaces
from curation.catalog import annotations, reserve
from curation.catalog import labels as label_rows
from curation.errors import TrainingError
from curation.records import LabelRow, RemoteAnswer
from curation.workspace import Project
from labeling import consensus
from tests.ui import commands
from training import material
from training.material import Material
from training.material import parts as dividing
from training.material.records import Row


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    return commands.shop(base, tmp_path_factory.mktemp("material") / "shop")


def project_of(workspace: Path) -> Project:
    return workspaces.project(workspaces.open(workspace))


def groups(found: Material) -> list[set[int]]:
    return [set(found.part(name).groups.tolist()) for name in material.PARTS]


def test_gather__draws_parts_by_group_where_there_are_none(shop: Path) -> None:
    project = project_of(shop)
    found = material.gather(project)
    assert found.origins == {"validation": "drawn", "test": "drawn"}
    assert sum(len(found.part(name)) for name in material.PARTS) == 300
    assert 25 < len(found.test) < 65 and 25 < len(found.validation) < 65
    train, validation, test = groups(found)
    assert not train & validation and not train & test and not validation & test
    assert set(np.unique(found.train.targets)) == set(range(10))
    assert any("labelloop split" in note for note in found.notes)
    again = material.gather(project)
    assert again.snapshot == found.snapshot and (again.test.ids == found.test.ids).all()


def test_gather__follows_the_split(shop: Path) -> None:
    commands.run(shop, "split", "--shares", "60/20/20")
    project = project_of(shop)
    found = material.gather(project)
    assert found.origins == {"validation": "split", "test": "split"}
    with project.catalog.read() as connection:
        learned = {row.image_id for row in label_rows.for_training(connection, project.id)}
    assert set(found.train.ids.tolist()) == learned


def test_gather__judges_by_the_settled_reserve(shop: Path) -> None:
    project = project_of(shop)
    with project.catalog.write() as connection:
        reserve.freeze(connection, project.id)
        rows = reserve.rows(connection, project.id)
        answered = [row for number, row in enumerate(rows[:40]) if number != 30]
        person = annotations.annotator_of_user(connection, project.id, 1, name="ann")
        answers = [
            RemoteAnswer(
                remote_id=number + 1,
                image_id=row.image_id,
                remote_user_id=1,
                state="answered",
                classes=(project.record.class_ids[number % 10],),
                seconds=1.0,
                prelabel="none",
                model_version="",
                updated_at="",
            )
            for number, row in enumerate(answered)
        ]
        changed = annotations.put_remote(connection, project.id, answers, annotator_ids={1: person})
        consensus.settle(connection, project, sorted(changed))
    found = material.gather(project)
    assert found.origins == {"validation": "reserve", "test": "reserve"}
    halves = {row.image_id: row.half for row in rows[:30]}
    assert (
        dict.fromkeys(found.validation.ids.tolist(), "calibration")
        | dict.fromkeys(found.test.ids.tolist(), "holdout")
        == halves
    )
    reserved = {row.image_id for row in rows}
    assert not reserved & set(found.train.ids.tolist())


def test_freeze__load_gives_the_same(shop: Path, tmp_path: Path) -> None:
    project = project_of(shop)
    made = material.freeze(project, tmp_path)
    loaded = material.load(tmp_path, json.loads(json.dumps(made.as_json())))
    assert loaded.as_json() == made.as_json()
    for name in material.PARTS:
        one, other = made.part(name), loaded.part(name)
        for column in ("ids", "targets", "groups", "weights"):
            assert (getattr(one, column) == getattr(other, column)).all()
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(TrainingError, match="Restore it from a backup"):
        material.load(tmp_path, made.as_json())


def test_gather__leaves_out_what_the_balance_plan_leaves_out(shop: Path, tmp_path: Path) -> None:
    project = project_of(shop)
    before = sum(len(material.gather(project).part(name)) for name in material.PARTS)
    commands.run(shop, "balance", "--remedy", "undersampling", "--target", "5", "--apply")
    found = material.freeze(project, tmp_path)
    assert found.plan["remedy"] == "undersampling"
    out = before - sum(len(found.part(name)) for name in material.PARTS)
    assert out > 0 and (found.train.weights > 0).all()
    assert any(note.startswith(f"{out} labels count nothing") for note in found.notes)
    assert len(material.load(tmp_path, found.as_json()).train) == len(found.train)
    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [row["weight"] for row in rows if not row["part"]] == [0.0] * out


def test_gather__too_few_labels_are_all_learned_from(tmp_path: Path) -> None:
    images = tmp_path / "in"
    for name, files in {"cat": 1, "dog": 2}.items():
        (images / name).mkdir(parents=True)
        for number in range(files):
            source = sorted((commands.SAMPLE / "images").iterdir())[number + 3 * (name == "dog")]
            (images / name / f"{number}{source.suffix}").write_bytes(source.read_bytes())
    commands.run(tmp_path / "w", "init", "--classes", "cat,dog")
    commands.run(tmp_path / "w", "import", str(images))
    found = material.gather(project_of(tmp_path / "w"))
    assert (len(found.train), len(found.validation), len(found.test)) == (3, 0, 0)
    assert found.origins == {"validation": "none", "test": "none"}


def test_gather__nothing_to_learn_from(tmp_path: Path) -> None:
    commands.run(tmp_path / "w", "init", "--classes", "cat,dog")
    with pytest.raises(TrainingError, match="no label to learn from"):
        material.gather(project_of(tmp_path / "w"))


@given(
    st.integers(4, 8),
    st.lists(st.sets(st.integers(2, 5), max_size=3), min_size=20, max_size=40),
    st.integers(0, 1_000),
)
def test_divide__every_class_stays_in_training(
    several: int, others: list[set[int]], seed: int
) -> None:
    # The only group of class 0 holds class 1 as well, of which a part may want a group.
    of_group = [{0, 1}, *[{1}] * several, *others]
    rows = [
        Row(LabelRow(n, n, tuple(sorted(classes)), "people", 1.0), f"{n}", "", f"g{n}", "train")
        for n, classes in enumerate(of_group)
    ]
    origins, divided = dividing.divide(rows, seed=seed)
    assert origins == {"validation": "drawn", "test": "drawn"}
    learned = {key for row in divided if row.part == "train" for key in row.label.classes}
    assert learned == set().union(*of_group)
