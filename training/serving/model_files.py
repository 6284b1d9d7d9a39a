"""Models that leave a workspace and come into another one, as one safetensors file.

The file holds the weights, and in its metadata all that is needed to use them: settings, classes,
task, temperature and, for a head, the backbone that it looks through. Pickled files are refused:
opening one can run any code.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from curation import backbones, files
from curation.catalog import audit
from curation.catalog import runs as run_rows
from curation.errors import InputError, TrainingError
from curation.progress import Report, silent
from curation.workspace import Project
from training import evaluation, material, runs
from training.finetuning.finetuned import FineTuned
from training.serving import classifier, model_folder, prediction
from training.serving.classifier import LOADERS, Model

WEIGHTS = "model.safetensors"

_FORMAT = "labelloop-model-1"
_KEY = "labelloop-model"
_STREAM = (0x1317,)
_PICKLED = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_PICKLED_NAMES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib")


@dataclass(frozen=True)
class Card:
    """What stands in a file beside the weights.

    Attributes:
        format: of this description.
        run: where it was trained.
        kind: of `settings.KINDS`.
        backbone: timm's name.
        fingerprint: of the embeddings that a head looks at; empty for fine-tuning.
        task: `single-label` or `multi-label`.
        classes: C names.
        temperature: that makes its answers probabilities.
        settings: it was trained with.
        metrics: that it reached there.
        preprocessing: size, mean, std, interpolation, crop_fraction.
    """

    format: str
    run: str
    kind: str
    backbone: str
    fingerprint: str
    task: str
    classes: tuple[str, ...]
    temperature: float
    settings: dict[str, Any]
    metrics: dict[str, Any]
    preprocessing: dict[str, Any]


def write(project: Project, run_id: str, folder: Path) -> tuple[Path, ...]:
    """Writes a run's model and its description; returns the files.

    Raises:
        TrainingError: as `classifier.read`.
    """
    from safetensors.torch import load_file, save

    stored = classifier.read(project, run_id)
    model = stored.model
    with project.catalog.read() as connection:
        row = run_rows.get(connection, run_id)
    tuned = isinstance(model, FineTuned)
    how = (
        model.preprocessing
        if isinstance(model, FineTuned)
        else backbones.preprocessing(stored.backbone)
    )
    card = Card(
        format=_FORMAT,
        run=run_id,
        kind=stored.kind,
        backbone=stored.backbone,
        fingerprint="" if tuned else stored.facts["fingerprint"],
        task=model.task,
        classes=model.classes,
        temperature=model.temperature,
        settings=row["settings"],
        metrics=row["metrics"],
        preprocessing=asdict(how),
    )
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / WEIGHTS
        model.save(path)  # with the temperature of a round, which its own file does not have
        content = save(
            load_file(path), metadata={**_metadata(path), _KEY: json.dumps(asdict(card))}
        )
    return model_folder.write(folder, {WEIGHTS: content}, asdict(card))


def read(path: Path) -> tuple[Card, Model]:
    """The model of a file that `write` wrote, here or elsewhere.

    Raises:
        InputError: it is missing, pickled, damaged, or something else.
    """
    from safetensors import SafetensorError

    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    if start.startswith(_PICKLED) or path.suffix.lower() in _PICKLED_NAMES:
        raise InputError(
            f"{path} may hold pickled objects, and opening those can run any code, so it is not "
            "opened. Only safetensors files of `labelloop models export --format safetensors` are."
        )
    try:
        kept = json.loads(_metadata(path)[_KEY])
        card = Card(**{**kept, "classes": tuple(kept["classes"])})
        if card.format != _FORMAT:
            raise ValueError(f"format {card.format!r}")
        model = LOADERS[card.kind].load(path)
        if (model.classes, model.task) != (card.classes, card.task):
            raise ValueError("description and weights do not fit together")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, TrainingError) as error:
        raise InputError(
            f"{path} is no model of labelloop ({_short(error)}). Only safetensors files of "
            "`labelloop models export --format safetensors` can be imported."
        ) from error
    return card, model


def bring(project: Project, path: Path, *, report: Report = silent) -> str:
    """Makes a model from elsewhere a run of this project, judged on the project's own test part.

    What it reached elsewhere is kept, and never shown as if it had been measured here.

    Raises:
        InputError: as `read`, or its task and classes are not the project's.
        TrainingError: its backbone has other weights here.
        Cancelled: asked to stop; the run is there, without figures.
    """
    card, model = read(path)
    record = project.record
    if card.task != record.task or card.classes != record.classes:
        raise InputError(
            f"{path} is a {card.task} model of {', '.join(card.classes)}; {record.name!r} is "
            f"{record.task} with {', '.join(record.classes)}. Both must be the same."
        )
    if card.fingerprint:
        found = backbones.open(card.backbone).fingerprint
        if found != card.fingerprint:
            raise TrainingError(
                f"{path} looks at embeddings {card.fingerprint} of {card.backbone}; the weights "
                f"of this machine give {found}. Install the same weights first."
            )
    run_id = _register(project, path, card, model)
    metrics, about = _judge(project, run_id, report)
    if metrics:
        runs.save_metrics(project, run_id, metrics)
    with project.catalog.write() as connection:
        kept = run_rows.get(connection, run_id)["about"]
        about = {**kept, **about, "files": runs.hashes(project, run_id)}
        run_rows.update_run(connection, run_id, metrics=metrics, about=about)
    return run_id


def _register(project: Project, path: Path, card: Card, model: Model) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    facts = {
        "imported": {"file": path.name, "sha256": digest, "run": card.run, "metrics": card.metrics},
        "backbone": card.backbone,
        "fingerprint": card.fingerprint,
        "temperature": card.temperature,
    }
    # The row first: a kill leaves a run that is not done, and no files that another one would find.
    with project.catalog.write() as connection:
        run_id = run_rows.next_id(connection, project.id)
        run_rows.add(
            connection,
            project.id,
            run_id,
            kind=card.kind,
            snapshot_id=None,
            seed=0,
            settings=card.settings,
            metrics={},
            about=facts,
            state="running",
        )
    home = runs.folder(project, run_id)
    model.save(home / runs.MODEL)
    files.write_json(home / runs.SETTINGS, card.settings)
    runs.write_facts(home, run_id, facts)
    about = {**facts, "files": runs.hashes(project, run_id)}
    with project.catalog.write() as connection:
        run_rows.update_run(connection, run_id, state="done", about=about)
        audit.append(
            connection,
            project.id,
            act="run-imported",
            subject={"run": run_id, "file": path.name, "sha256": digest, "from": card.run},
        )
    return run_id


def _judge(project: Project, run_id: str, report: Report) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics on the test part, and what they rest on; empty where there is no such part."""
    try:
        held = material.gather(project, report=report)
    except TrainingError as error:
        return {}, {"says": f"Not measured here: {error}"}
    paths = material.paths(project, held.test.ids.tolist())
    found = prediction.probabilities(classifier.open(project, run_id), paths, report=report)
    readable = np.isfinite(found).all(axis=1)
    if not readable.any():
        return {}, {"says": "Not measured here: there is no labeled test part."}
    metrics = evaluation.evaluate(
        found[readable],
        held.test.targets[readable],
        held.classes,
        rng=np.random.default_rng([project.record.seed, *_STREAM]),
        groups=held.test.groups[readable],
    ).as_json()
    says = "Made elsewhere: whether it learned from images of this test part is not known."
    return metrics, {"judged_on": held.origins["test"], "says": says}


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return dict(file.metadata() or {})


def _short(error: Exception) -> str:
    if isinstance(error, KeyError):
        return "its description is missing"
    return " ".join(str(error).split())[:200]
