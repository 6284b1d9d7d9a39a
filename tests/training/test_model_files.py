"""Models that travel, and files that are not let in."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from curation import inference, workspace
from curation.catalog import audit
from curation.catalog import runs as run_rows
from curation.errors import InputError
from curation.workspace import Project
from tests import engines, trained
from training import runs
from training.serving import classifier, model_files


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Project:
    return trained.copied(tmp_path_factory.getbasetemp(), tmp_path / "w")


@pytest.mark.parametrize("run_id", [trained.HEAD, trained.MLP, trained.TUNED])
def test_bring__answers_as_where_it_was_made(
    project: Project, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, run_id: str
) -> None:
    path, about = model_files.write(project, run_id, tmp_path / "model")
    assert json.loads(about.read_text())["classes"] == list(trained.CLASSES)
    there = workspace.create_project(tmp_path / "v", name="x", class_names=trained.CLASSES)
    engines.warm(tmp_path_factory.getbasetemp(), there.workspace.path)
    new_id = model_files.bring(there, path)
    one, other = (
        classifier.open(where, run, exact=True)
        for where, run in ((project, run_id), (there, new_id))
    )
    assert other.temperature == one.temperature == 1.5
    pixels = inference.probe(one.preprocessing.size, 4)
    np.testing.assert_array_equal(one.logits_of(pixels), other.logits_of(pixels))
    with there.catalog.read() as connection:
        row = run_rows.get(connection, new_id)
        (noted,) = [
            entry for entry in audit.entries(connection, there.id) if entry["act"] == "run-imported"
        ]
    assert row["metrics"] == {}  # nothing is labeled there
    assert row["about"]["imported"]["metrics"]["accuracy"]["value"] is not None
    assert noted["subject"]["from"] == run_id
    assert runs.damaged(there, new_id, row["about"]["files"]) == []


def test_bring__is_judged_on_the_projects_own_labels(project: Project, tmp_path: Path) -> None:
    path, _ = model_files.write(project, trained.HEAD, tmp_path / "model")
    new_id = model_files.bring(project, path)
    with project.catalog.read() as connection:
        old, new = (run_rows.get(connection, key) for key in (trained.HEAD, new_id))
    assert new["metrics"]["n"] == old["metrics"]["n"]
    assert new["metrics"]["accuracy"] == old["metrics"]["accuracy"]
    assert "not known" in new["about"]["says"]


def test_read__lets_nothing_else_in(project: Project, tmp_path: Path) -> None:
    bad = tmp_path / "model.safetensors"
    bad.write_bytes(pickle.dumps({"weight": [1.0]}))
    torch.save({"weight": torch.zeros(2)}, tmp_path / "model.pt")
    for path in (bad, tmp_path / "model.pt"):
        with pytest.raises(InputError, match="opening those can run any code"):
            model_files.read(path)
    save_file({"weight": torch.zeros(2)}, bad)
    with pytest.raises(InputError, match="its description is missing"):
        model_files.read(bad)
    path, _ = model_files.write(project, trained.HEAD, tmp_path / "model")
    bad.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="is no model of labelloop"):
        model_files.bring(project, bad)
    with pytest.raises(InputError, match="Cannot read"):
        model_files.read(tmp_path / "gone.safetensors")
    with project.catalog.read() as connection:
        assert len(run_rows.every(connection, project.id)) == 3


def test_bring__refuses_other_classes(project: Project, tmp_path: Path) -> None:
    path, _ = model_files.write(project, trained.HEAD, tmp_path / "model")
    there = workspace.create_project(tmp_path / "v", name="x", class_names=["sneaker", "dress"])
    with pytest.raises(InputError, match="is a single-label model of dress, sneaker"):
        model_files.bring(there, path)
    with there.catalog.read() as connection:
        assert run_rows.every(connection, there.id) == []
