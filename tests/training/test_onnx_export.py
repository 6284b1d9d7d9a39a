"""A model outside labelloop answers as it does inside."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from curation import inference
from curation.errors import TrainingError
from curation.workspace import Project
from tests import trained
from training.heads.head import Head
from training.serving import classifier, model_files, onnx_export, prediction
from training.serving.classifier import Stored


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    base = tmp_path_factory.getbasetemp()
    return trained.copied(base, tmp_path_factory.mktemp("onnx") / "w")


def test_export__runs_without_labelloop(
    project: Project, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    made = onnx_export.export(project, trained.TUNED, folder)
    assert made.difference <= 1e-5
    assert made.to_predict <= classifier.FAITHFUL
    assert (made.images, made.own) == (200, 2 * trained.EACH)
    assert {path.name for path in folder.iterdir()} == {path.name for path in made.files}

    stored = onnx.load(folder / "model.onnx")
    about = {entry.key: entry.value for entry in stored.metadata_props}
    assert json.loads(about["classes"]) == list(trained.CLASSES)
    assert about["task"] == "single-label"
    assert json.loads(about["preprocessing"])["crop_middle"] == trained.SIZE
    assert not [tensor for tensor in stored.graph.initializer if tensor.external_data]

    # Its script goes by what the model itself holds: another export may have replaced the JSON.
    model_files.write(project, trained.HEAD, folder)
    photos = sorted(trained.photos(tmp_path_factory.getbasetemp()).iterdir())[::6]
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "predict_onnx.py"), *map(str, photos)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    exact = prediction.probabilities(classifier.open(project, trained.TUNED, exact=True), photos)
    assert [row["image"] for row in said] == [str(path) for path in photos]
    # Pillow resizes to within one grey level of what torch does.
    np.testing.assert_allclose([row["probabilities"] for row in said], exact, atol=1e-3)
    assert [row["prediction"] for row in said] == [trained.CLASSES[k] for k in exact.argmax(axis=1)]


@pytest.mark.slow
def test_export__writes_nothing_that_answers_differently(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "TOLERANCE", 0.0)
    with pytest.raises(TrainingError, match="Nothing was written"):
        onnx_export.export(project, trained.HEAD, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("run_id", [trained.HEAD, trained.MLP])
def test_portable__is_the_head_behind_its_backbone(project: Project, run_id: str) -> None:
    exact = classifier.open(project, run_id, exact=True)
    pixels = inference.probe(exact.preprocessing.size, 8)
    portable = onnx_export.Portable(classifier.read(project, run_id)).eval()
    np.testing.assert_allclose(
        portable.probabilities(pixels), exact.probabilities_of(pixels), atol=1e-4
    )


def test_portable__several_labels_and_a_class_without_one(project: Project) -> None:
    kept = classifier.read(project, trained.HEAD)
    bias = np.array([0.5, -np.inf], np.float32)
    head = Head(kept.model.classes, kept.model.weight, bias, "multi-label", 0.7)
    stored = Stored(kept.run, "head", head, kept.path, kept.facts, "")
    portable = onnx_export.Portable(stored).eval()
    pixels = inference.probe(portable.preprocessing.size, 4)
    found = portable.probabilities(pixels)
    embedded = inference.open_torch(stored.open_backbone()).embed(pixels)
    np.testing.assert_allclose(found, head.probabilities(embedded), atol=1e-4)
    assert (found[:, 1] == 0).all()
