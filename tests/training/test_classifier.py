"""Models of every kind as one thing to ask about pictures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from curation import inference
from curation.backbones import Preprocessing
from curation.catalog import rounds
from curation.catalog import runs as run_rows
from curation.errors import NotFound, TrainingError
from curation.inference import Pixels
from curation.workspace import Project
from tests import trained
from training import runs
from training.finetuning.finetuned import FineTuned
from training.heads.head import Head
from training.serving import classifier


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    base = tmp_path_factory.getbasetemp()
    return trained.copied(base, tmp_path_factory.mktemp("classifier") / "w")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(trained.photos(tmp_path_factory.getbasetemp()).iterdir())[::5]


def pixels(photos: list[Path], how: Preprocessing) -> Pixels:
    return np.stack([inference.prepare(path, how) for path in photos])


@pytest.mark.parametrize("run_id", [trained.HEAD, trained.MLP, trained.TUNED])
def test_open__answers_like_fp32_torch(project: Project, photos: list[Path], run_id: str) -> None:
    fast, exact = (classifier.open(project, run_id, exact=exact) for exact in (False, True))
    assert exact.engine == "torch-cpu-fp32"
    assert fast.identity == exact.identity
    assert fast.temperature == 1.5
    seen = pixels(photos, fast.preprocessing)
    found = fast.probabilities_of(seen)
    assert found.shape == (len(photos), 2)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    bound = classifier.FAITHFUL if run_id == trained.TUNED else 0.05
    np.testing.assert_allclose(found, exact.probabilities_of(seen), atol=bound)
    logits = fast.logits_of(seen)
    np.testing.assert_array_equal(logits.argmax(axis=1), found.argmax(axis=1))


def test_open__keeps_the_graphs_of_a_network(project: Project, photos: list[Path]) -> None:
    first = classifier.open(project, trained.TUNED)
    cache = runs.folder(project, trained.TUNED) / "engine"
    (kept,) = cache.glob("*.json")
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    again = classifier.open(project, trained.TUNED)
    assert again.engine == first.engine == json.loads(kept.read_text())["name"]
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before
    seen = pixels(photos, first.preprocessing)
    np.testing.assert_array_equal(first.logits_of(seen), again.logits_of(seen))


def test_open__a_class_without_a_label_is_never_answered(
    project: Project, photos: list[Path]
) -> None:
    run_id = "p1-odd"
    home = runs.folder(project, run_id)
    shutil.copytree(runs.folder(project, trained.TUNED), home)
    model = FineTuned.load(home / runs.MODEL)
    FineTuned(model.module, model.classes, (True, False), model.task, model.settings).save(
        home / runs.MODEL
    )
    register(project, run_id, "fine-tune")
    found = classifier.open(project, run_id)
    answers = found.probabilities_of(pixels(photos, found.preprocessing))
    np.testing.assert_array_equal(answers, [[1.0, 0.0]] * len(photos))


def test_read__a_rounds_head_has_the_rounds_temperature(project: Project) -> None:
    run_id = "p1-round-0"
    home = runs.folder(project, run_id)
    head = Head.load(runs.folder(project, trained.HEAD) / runs.MODEL).calibrated(1.0)
    head.save(home / runs.HEAD)
    facts = runs.read(project, trained.HEAD, runs.FACTS)
    runs.write_facts(home, run_id, facts)
    register(project, run_id, "head")
    with project.catalog.write() as connection:
        started = rounds.start(connection, project.id, {})
        rounds.set_run(connection, started.id, run_id)
        rounds.finish_step(
            connection, started.id, "calibrate", seconds=0.0, result={"temperature": 2.5}
        )
    stored = classifier.read(project, run_id)
    assert stored.model.temperature == 2.5
    assert stored.identity != classifier.read(project, trained.HEAD).identity


def test_read__says_why_there_is_no_model(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    project = trained.copied(tmp_path_factory.getbasetemp(), tmp_path / "w")
    with pytest.raises(NotFound, match="No run 'p1-train-9'"):
        classifier.read(project, "p1-train-9")
    path = runs.folder(project, trained.HEAD) / runs.MODEL
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(TrainingError, match="is not what the training wrote"):
        classifier.read(project, trained.HEAD)
    path.unlink()
    with pytest.raises(TrainingError, match="is missing"):
        classifier.read(project, trained.HEAD)
    with project.catalog.write() as connection:
        run_rows.update_run(connection, trained.MLP, state="deleted")
    with pytest.raises(TrainingError, match="is deleted, so there is no model"):
        classifier.read(project, trained.MLP)


def test_open__refuses_another_backbone(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    project = trained.copied(tmp_path_factory.getbasetemp(), tmp_path / "w")
    facts = runs.read(project, trained.HEAD, runs.FACTS)
    home = runs.folder(project, trained.HEAD)
    runs.write_facts(home, trained.HEAD, {**facts, "fingerprint": "0" * 16})
    with pytest.raises(TrainingError, match="looks at embeddings 0000000000000000"):
        classifier.open(project, trained.HEAD)


def register(project: Project, run_id: str, kind: str) -> None:
    with project.catalog.write() as connection:
        run_rows.add(
            connection,
            project.id,
            run_id,
            kind=kind,
            snapshot_id=None,
            seed=0,
            settings={},
            metrics={},
        )
