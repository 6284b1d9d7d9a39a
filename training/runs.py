"""Runs on disk: settings, metrics and weights of one training, each file written whole.

runs/<run>/run.json            what it was trained on, with what, by which code
runs/<run>/settings.json
runs/<run>/rows.parquet        the images it learned from and was judged by (see `material`)
runs/<run>/weak.parquet        what machines and rules said of other images, where there is any
runs/<run>/metrics.jsonl       a line for each epoch
runs/<run>/tensorboard/        the same for TensorBoard
runs/<run>/model.safetensors   the weights; a round's head is in head.safetensors
runs/<run>/metrics.json
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from curation import files
from curation.errors import NotFound, TrainingError
from curation.records import RoundRecord
from curation.workspace import Project
from training.heads.head import Head

PACKAGES = ("labelloop", "numpy", "scipy", "torch", "timm", "albumentations", "openvino")
MODEL, HEAD, FACTS, SETTINGS, METRICS, EPOCHS, ROWS, WEAK = (
    "model.safetensors",
    "head.safetensors",
    "run.json",
    "settings.json",
    "metrics.json",
    "metrics.jsonl",
    "rows.parquet",
    "weak.parquet",
)
_KEPT = (MODEL, HEAD, SETTINGS, METRICS, EPOCHS, ROWS, WEAK)
"""The files whose hashes are kept in the catalog."""


def name(project: Project, round: RoundRecord) -> str:
    """The run of a round: the same name again when the round is resumed."""
    return f"p{project.id}-round-{round.number}"


def folder(project: Project, run_id: str) -> Path:
    """Where a run's files are."""
    return project.workspace.folder("runs") / run_id


def environment() -> dict[str, Any]:
    """What a training depends on beside its settings and data."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "packages": {package: version(package) for package in PACKAGES},
    }


def save(
    project: Project,
    run_id: str,
    *,
    head: Head,
    settings: dict[str, Any],
    facts: dict[str, Any],
) -> None:
    """Writes the trained head of a round with all that is needed to train it again."""
    home = folder(project, run_id)
    head.save(home / HEAD)
    files.write_json(home / SETTINGS, settings)
    write_facts(home, run_id, facts)


def write_facts(home: Path, run_id: str, facts: dict[str, Any]) -> None:
    """Writes what a run was trained on, with the environment of this process."""
    files.write_json(home / FACTS, {**facts, "run": run_id, "environment": environment()})


def read(project: Project, run_id: str, file: str) -> Any:
    """The content of one of a run's JSON files.

    Raises:
        TrainingError: it is missing or broken.
    """
    path = folder(project, run_id) / file
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{path} cannot be read ({type(error).__name__}). Restore it from a backup, or train "
            "again with `labelloop train`."
        ) from error


def load_head(project: Project, run_id: str) -> Head:
    """The head of a round's run.

    Raises:
        TrainingError: the file is missing or broken.
    """
    return Head.load(folder(project, run_id) / HEAD)


def save_metrics(project: Project, run_id: str, metrics: dict[str, Any]) -> None:
    """Writes what the run's model reached."""
    files.write_json(folder(project, run_id) / METRICS, metrics)


def write_epochs(home: Path, epochs: Sequence[dict[str, Any]]) -> None:
    """Writes all epochs so far, a line each."""
    lines = [json.dumps(epoch) + "\n" for epoch in epochs]
    files.write_bytes(home / EPOCHS, "".join(lines).encode())


def read_epochs(project: Project, run_id: str) -> list[dict[str, Any]]:
    """The epochs of a run so far, also while it trains; none for a head."""
    path = folder(project, run_id) / EPOCHS
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def hashes(project: Project, run_id: str) -> dict[str, str]:
    """SHA-256 in hex of the files that make a run, by name."""
    home = folder(project, run_id)
    found = {}
    for name in _KEPT:
        if (home / name).exists():
            with (home / name).open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def damaged(project: Project, run_id: str, stored: dict[str, str]) -> list[str]:
    """The files that are missing or changed since the run was finished.

    Args:
        stored: `hashes` of then.
    """
    now = hashes(project, run_id)
    return [name for name, digest in stored.items() if now.get(name) != digest]


def remove(project: Project, run_id: str) -> None:
    """Deletes a run's files."""
    home = folder(project, run_id)
    if not home.exists():
        raise NotFound(f"The files of run {run_id!r} are gone already.")
    shutil.rmtree(home)


@contextmanager
def alone(project: Project, run_id: str) -> Iterator[None]:
    """One process at a time works on a run; the lock goes with its process.

    Raises:
        TrainingError: another one does.
    """
    home = folder(project, run_id)
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(
                f"Another process is training {run_id!r}. Wait for it to end; `labelloop models "
                f"show {run_id}` tells how far it is."
            ) from error
        yield


def is_busy(project: Project, run_id: str) -> bool:
    """Whether a process is training this run now."""
    try:
        with alone(project, run_id):
            return False
    except TrainingError:
        return True
