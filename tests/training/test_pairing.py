"""Two runs, judged on nothing that either has learned from."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curation.catalog import groups
from curation.catalog import runs as run_rows
from curation.errors import TrainingError
from curation.workspace import Project
from tests import trained
from training import material, runs
from training.judging import pairing


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    base = tmp_path_factory.getbasetemp()
    return trained.copied(base, tmp_path_factory.mktemp("pairing") / "w")


def test_compare__on_the_test_part_of_both(project: Project) -> None:
    found = pairing.compare(project, trained.HEAD, trained.MLP)
    test = material.gather(project).test
    assert found.comparison.n == len(test)
    assert found.left_out == 0
    assert found.origin == "drawn"
    assert found.settings["kind"] == ("head", "mlp")
    assert found.settings["strength"] == (300.0, None)
    assert "class-weight" not in found.settings
    assert "cannot tell yet" in found.comparison.says


def test_seen__what_it_learned_from_and_was_steered_by(project: Project) -> None:
    held = material.gather(project)
    seen = pairing.seen(project, trained.TUNED)
    assert seen == {*held.train.ids.tolist(), *held.validation.ids.tolist()}


def test_compare__leaves_out_what_one_has_learned_from(project: Project) -> None:
    test = material.gather(project).test.ids.tolist()
    greedy = taught(project, "p1-greedy", test[:2])
    found = pairing.compare(project, trained.HEAD, greedy)
    assert (found.left_out, found.comparison.n) == (2, len(test) - 2)
    knows_all = taught(project, "p1-all", test)
    with pytest.raises(TrainingError, match="0 labeled images are left that neither p1-train-1"):
        pairing.compare(project, trained.HEAD, knows_all)


def test_compare__leaves_out_copies_of_what_one_has_learned_from(project: Project) -> None:
    test = material.gather(project).test.ids.tolist()
    with project.catalog.write() as connection:
        groups.regroup(connection, project.id, [test[:2]])
    learned = taught(project, "p1-copied", test[:1])
    try:
        assert pairing.compare(project, trained.HEAD, learned).left_out == 2
    finally:
        with project.catalog.write() as connection:
            groups.regroup(connection, project.id, [])


def test_compare__with_a_run_of_unknown_origin(project: Project) -> None:
    run_id = copy(project, "p1-foreign")
    (runs.folder(project, run_id) / runs.ROWS).unlink()
    found = pairing.compare(project, trained.HEAD, run_id)
    assert found.notes == ("What p1-foreign learned from elsewhere is not known here.",)


def taught(project: Project, run_id: str, ids: list[int]) -> str:
    """A copy of the head that says it has learned from these as well."""
    copy(project, run_id)
    path = runs.folder(project, run_id) / runs.ROWS
    table = pq.read_table(path)
    told = pc.is_in(table["image_id"], pa.array(ids))
    part = pc.if_else(told, "train", table["part"])
    pq.write_table(table.set_column(table.column_names.index("part"), "part", part), path)
    return run_id


def copy(project: Project, run_id: str) -> str:
    shutil.copytree(runs.folder(project, trained.HEAD), Path(runs.folder(project, run_id)))
    with project.catalog.write() as connection:
        run_rows.add(
            connection,
            project.id,
            run_id,
            kind="head",
            snapshot_id=None,
            seed=0,
            settings={},
            metrics={},
        )
    return run_id
