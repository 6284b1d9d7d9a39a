"""A small labeled project with a finished run of each kind, made once a session."""

import csv
import shutil
from functools import cache
from pathlib import Path

import numpy as np

from curation import features, files, ingest, sources, workspace
from curation.catalog import runs as run_rows
from curation.embeddings import EmbeddingStore
from curation.workspace import Project
from tests import engines
from training import evaluation, material, runs
from training.calibration import to_probabilities
from training.finetuning import trainer
from training.finetuning.finetuned import FineTuned
from training.heads.head import fit_head
from training.heads.mlp_training import fit_mlp
from training.material import Material
from training.settings import FineTuneSettings, HeadSettings, MlpSettings, Settings

SAMPLE = Path(__file__).parents[1] / "sample_data"
CLASSES = ("dress", "sneaker")
EACH = 24
HEAD, MLP, TUNED = "p1-train-1", "p1-train-2", "p1-train-3"
SIZE = 64
"""Pixels that the fine-tuned network looks at."""


def copied(base: Path, target: Path) -> Project:
    """The project in a workspace of its own.

    Args:
        base: a folder that all tests of the session share.
        target: the workspace that is made.
    """
    shutil.copytree(_template(base / "trained"), target)
    return workspace.project(workspace.open(target))


def photos(base: Path) -> Path:
    """The folder of the images that were imported."""
    _template(base / "trained")
    return base / "trained-photos"


@cache
def _template(folder: Path) -> Path:
    photos = folder.with_name("trained-photos")
    photos.mkdir()
    rows = ["filename,label"]
    for name, label in _plain():
        shutil.copy(SAMPLE / "images" / name, photos / name)
        rows.append(f"{name},{label}")
    table = folder.with_name("trained.csv")
    table.write_text("\n".join(rows) + "\n")
    project = workspace.create_project(folder, name="shop", class_names=CLASSES, seed=5)
    plan = sources.understand(photos, known_classes=CLASSES, table=table)
    ingest.run(project, plan)
    engines.warm(folder.parent, folder)
    features.prepare(project)
    fit(project, HeadSettings())
    fit(project, MlpSettings(epochs=20))
    fit(project, FineTuneSettings(input_size=SIZE, epochs=1, augmentation="none"))
    project.catalog.close()
    return folder


def _plain() -> list[tuple[str, str]]:
    """Photos without a planted defect, of either class as many."""
    with (SAMPLE / "truth.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["defect"]]
    return [
        (row["filename"], name)
        for name in CLASSES
        for row in [row for row in rows if row["label"] == name][:EACH]
    ]


def fit(project: Project, settings: Settings) -> str:
    """A finished run of these settings, calibrated to a temperature that is not 1."""
    prepared = features.prepare(project)
    with project.catalog.write() as connection:
        run_id = run_rows.next_id(connection, project.id)
        run_rows.add(
            connection,
            project.id,
            run_id,
            kind=settings.kind,
            snapshot_id=None,
            seed=5,
            settings=settings.as_json(),
            metrics={},
            state="running",
        )
    home = runs.folder(project, run_id)
    held = material.freeze(project, home)
    store = EmbeddingStore(prepared.folder, prepared.fingerprint)
    facts = {
        "material": held.as_json(),
        "backbone": prepared.backbone,
        "fingerprint": prepared.fingerprint,
        "labels": len(held.train),
    }
    files.write_json(home / runs.SETTINGS, settings.as_json())
    runs.write_facts(home, run_id, facts)
    logits = _fit(project, home, held, store, settings)
    metrics = evaluation.evaluate(
        to_probabilities(logits, task=held.task),
        held.test.targets,
        held.classes,
        rng=np.random.default_rng(0),
    ).as_json()
    with project.catalog.write() as connection:
        about = {**facts, "files": runs.hashes(project, run_id)}
        run_rows.update_run(connection, run_id, state="done", metrics=metrics, about=about)
    return run_id


def _fit(
    project: Project, home: Path, held: Material, store: EmbeddingStore, settings: Settings
) -> np.ndarray:
    """Writes the model; returns its scores of the test part."""
    words = {"classes": held.classes, "task": held.task}
    if isinstance(settings, FineTuneSettings):
        paths = material.paths(project, held.train.ids.tolist())
        rows = trainer.Rows(paths, held.train.targets, None)
        for _ in trainer.run(rows, None, **words, settings=settings, seed=5, folder=home):
            pass
        tuned = FineTuned.load(home / runs.MODEL).calibrated(1.5)
        tuned.save(home / runs.MODEL)
        return tuned.logits(material.paths(project, held.test.ids.tolist()))
    X, y = store.read(held.train.ids.tolist()), held.train.targets
    if isinstance(settings, MlpSettings):
        model, _ = fit_mlp(X, y, **words, settings=settings, seed=5)
    else:
        model = fit_head(X, y, **words)
    model.calibrated(1.5).save(home / runs.MODEL)
    return model.logits(store.read(held.test.ids.tolist()))
