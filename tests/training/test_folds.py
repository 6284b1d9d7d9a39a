"""Models of folds are those that a training would make."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation import features
from curation.catalog import annotations, labels
from curation.workspace import Project
from tests import trained
from training import examples, material
from training.heads import strength
from training.heads.head import fit_head
from training.heads.mlp_training import fit_mlp
from training.judging import folds
from training.judging.cross_validation import Predictor, Rows
from training.settings import HeadSettings, MlpSettings

NONE = np.empty(0, np.int64)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    base = tmp_path_factory.getbasetemp()
    return trained.copied(base, tmp_path_factory.mktemp("folds") / "w")


def facts_of(project: Project) -> dict[str, Any]:
    prepared = features.prepare(project)
    return {"fingerprint": prepared.fingerprint, "backbone": prepared.backbone}


def test_on_embeddings__searches_for_a_strength_where_training_does(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strength, "MANY_ROWS", 10)
    held, facts = material.gather(project), facts_of(project)
    rows, settings = np.arange(len(held.train) - 6), HeadSettings(search=True)
    X = examples.store_of(project, facts).read(held.train.ids.tolist())
    y = held.train.targets
    seed = project.record.seed
    given: dict[str, Any] = {"classes": held.classes, "sample_weight": held.train.weights[rows]}
    chosen = strength.choose(
        X[rows], y[rows], settings=settings, groups=held.train.groups[rows], seed=seed, **given
    )
    assert chosen.strength != settings.strength
    wanted = fit_head(
        X[rows], y[rows], settings=replace(settings, strength=chosen.strength), **given
    )
    fit = folds.on_embeddings(project, held, held.train, settings, facts)
    asked = np.arange(len(rows), len(held.train))
    assert fit(rows, NONE)(asked) == pytest.approx(wanted.probabilities(X[asked]), abs=1e-4)


def test_on_embeddings__learns_from_the_copies_of_a_plan_with_their_group(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, facts = material.gather(project), facts_of(project)
    planned = replace(held, plan={"augmentation": {"dress": 5}, "recipe": "light"})
    learned: list[int] = []

    def counted(X: Any, y: Any, **given: Any) -> Any:
        learned.append(len(X))
        return fit_head(X, y, **given)

    monkeypatch.setattr(folds, "fit_head", counted)
    fit = folds.on_embeddings(project, planned, held.train, HeadSettings(), facts)
    dresses = held.train.targets == 0
    everything, half = (
        np.arange(len(held.train)),
        np.flatnonzero(~dresses | (np.cumsum(dresses) > 6)),
    )
    fit(everything, NONE)
    fit(half, NONE)
    assert learned[0] == len(everything) + 5
    assert len(half) <= learned[1] < len(half) + 5


def test_learnable__weights_are_those_that_training_gives(project: Project) -> None:
    held = material.gather(project)
    planned = replace(held, plan={"class_weights": {"dress": 2.0, "sneaker": 1.0}})
    part = held.validation
    with project.catalog.write() as connection:
        row = labels.get(connection, part.ids.tolist())[int(part.ids[0])]
        labels.put(
            connection,
            project.id,
            [
                {
                    "image_id": row.image_id,
                    "classes": row.classes,
                    "origin": row.origin,
                    "confidence": 0.5,
                    "answers": 1,
                    "version_id": annotations.newest_version(connection, project.id),
                }
            ],
        )
    found = folds.learnable(project, planned, part)
    wanted = np.where(part.targets == 0, 2.0, 1.0)
    wanted[0] *= 0.5
    assert found.weights.tolist() == wanted.tolist()
    assert found.ids is part.ids


def test_on_embeddings__a_network_is_that_of_its_best_epoch(project: Project) -> None:
    held, facts = material.gather(project), facts_of(project)
    rows = np.arange(len(held.train))
    learned, steering, asked = rows[:16], rows[16:24], rows[24:]
    settings = MlpSettings(epochs=30, learning_rate=0.1, patience=3)
    X = examples.store_of(project, facts).read(held.train.ids.tolist())
    model, epochs = fit_mlp(
        X[learned],
        held.train.targets[learned],
        classes=held.classes,
        settings=settings,
        validation=(X[steering], held.train.targets[steering]),
        sample_weight=held.train.weights[learned],
        seed=project.record.seed,
    )
    assert len(epochs) < 30
    fit = folds.on_embeddings(project, held, held.train, settings, facts)
    assert fit(learned, steering)(asked) == pytest.approx(model.probabilities(X[asked]))
    assert fit(learned, NONE)(asked) != pytest.approx(model.probabilities(X[asked]))


def test_remembered__fits_once_for_the_same_rows(tmp_path: Path) -> None:
    fitted = []

    def fit(rows: Rows, steering: Rows) -> Predictor:
        fitted.append((len(rows), len(steering)))
        return lambda asked: np.full((len(asked), 2), float(len(rows)))

    some, more = np.arange(5), np.arange(7)
    for _ in range(2):
        again = folds.remembered(fit, tmp_path)
        assert again(some, more)(some).tolist() == np.full((5, 2), 5.0).tolist()
        assert again(more, some)(some).tolist() == np.full((5, 2), 7.0).tolist()
    assert fitted == [(5, 7), (7, 5)]
