"""What is kept of a run's worth."""

from pathlib import Path

import pytest

from curation.catalog import groups
from curation.catalog import runs as run_rows
from tests import trained
from training import experiments, material


def test_judge__copies_in_the_test_part_are_one(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    project = trained.copied(tmp_path_factory.getbasetemp(), tmp_path / "w")
    test = material.gather(project).test.ids.tolist()
    with project.catalog.write() as connection:
        groups.regroup(connection, project.id, [test[:2]])
    run_id = experiments.train(project, experiments.Asked(kind="head"))
    with project.catalog.read() as connection:
        metrics = run_rows.get(connection, run_id)["metrics"]
    assert (metrics["n"], metrics["groups"]) == (len(test), len(test) - 1)
