"""The process that holds the model of live pre-labels: `python -m ui.jobs.predictor`.

It reads requests from its standard input, a JSON object a line, and answers each with one. It ends
when its parent does, and when nothing was asked for a while.
"""

import argparse
import json
import logging
import selectors
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation import workspace as workspaces
from curation.catalog import images as image_rows
from curation.catalog import projects, remote, rounds
from curation.errors import LabelloopError
from curation.records import ImageRecord
from curation.workspace import Project, Workspace
from labeling import interfaces, prelabels, tasks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from training.serving.classifier import Classifier

logger = logging.getLogger(__name__)

IDLE_SECONDS = 900.0
LARGEST_IMAGE = 64 * 2**20
NOTHING: dict[str, Any] = {"classes": [], "confidence": None}
"""Of an image that is to be shown without a pre-label for good."""


def main(argv: Sequence[str] | None = None) -> int:
    """Answers until there is nobody left to ask."""
    parser = argparse.ArgumentParser(prog="ui.jobs.predictor", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--idle", type=float, default=IDLE_SECONDS, metavar="SECONDS")
    given = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    answering = Answering(workspaces.open(given.workspace))
    with selectors.DefaultSelector() as waiting:
        waiting.register(sys.stdin, selectors.EVENT_READ)
        while waiting.select(given.idle):
            line = sys.stdin.readline()
            if not line:
                break
            said = json.loads(line)
            found, reasons = answering.answer(said["project"], said["tasks"])
            reply = {"number": said["number"], "answers": found, "reasons": reasons}
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()
    return 0


class Answering:
    """The model that answered last, kept until another one is to answer."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._key: tuple[Any, ...] = ()
        self._model: Classifier | None = None

    def answer(
        self, project_id: int, asked: Sequence[Mapping[str, Any]]
    ) -> tuple[list[dict[str, Any] | None], list[str]]:
        """What the champion says of each task, none where it cannot; and why it cannot."""
        nothing: list[dict[str, Any] | None] = [None] * len(asked)
        try:
            with self._workspace.catalog.read() as reading:
                project = Project(self._workspace, projects.get(reading, project_id))
            model = self._champion(project)
        except LabelloopError as error:
            return nothing, [str(error)]
        reasons: list[str] = []
        for place, task in enumerate(asked):
            try:
                nothing[place] = _one(project, model, task)
            except LabelloopError as error:
                reasons.append(str(error))
        return nothing, reasons

    def _champion(self, project: Project) -> "Classifier":
        from training import registry
        from training.serving import classifier

        chosen = registry.choose(project)
        key = (project.id, chosen.run["id"], project.record.classes)
        if self._model is None or key != self._key:
            self._model = classifier.open(project, chosen.run["id"])
            self._key = key
            logger.info("Live pre-labels come from %s", chosen.says)
        return self._model


def _one(project: Project, model: "Classifier", task: Mapping[str, Any]) -> dict[str, Any]:
    """What the model says of one task.

    Raises:
        LabelloopError: its image cannot be had, or not be read.
    """
    from curation import inference

    known = _image(project, task)
    if known is not None and (known.reserve or _is_held_back(project, known.id)):
        return NOTHING
    source = _download(project, task) if known is None else Path(known.location)
    pixels = inference.prepare(source, model.preprocessing)
    (chances,) = model.probabilities_of(pixels[None])
    return _said(model, chances)


def _said(model: "Classifier", chances: "NDArray[np.float64]") -> dict[str, Any]:
    from training.targets import THRESHOLD

    best = int(chances.argmax())
    if model.task == "single-label":
        return {"classes": [model.classes[best]], "confidence": float(chances[best])}
    there = [
        name for name, chance in zip(model.classes, chances, strict=True) if chance >= THRESHOLD
    ]
    return {"classes": there, "confidence": float(chances[best])} if there else NOTHING


def _image(project: Project, task: Mapping[str, Any]) -> ImageRecord | None:
    """The project's image that a task shows, if it is one."""
    data = task.get("data") or {}
    marked = tasks.marked(data.get("labelloop_image"), project.record.seed)
    with project.catalog.read() as reading:
        queues = {one.queue: one for one in remote.every(reading, project.id)}
        number = int(task.get("id") or 0)
        bound = remote.images_of_tasks(reading, queues["batch"].id, [number])
        key = marked or bound.get(number)
        return image_rows.get_many(reading, [key]).get(key) if key else None


def _is_held_back(project: Project, image_id: int) -> bool:
    with project.catalog.read() as reading:
        latest = rounds.latest(reading, project.id)
    share = prelabels.share_of(latest) if latest else 0.0
    return prelabels.is_held_back(project.record.seed, image_id, share=share)


def _download(project: Project, task: Mapping[str, Any]) -> bytes:
    """The image of a task that somebody else made."""
    from ui import wiring

    with project.catalog.read() as reading:
        queues = {one.queue: one for one in remote.every(reading, project.id)}
    field = interfaces.understood(queues["batch"].interface).image_field
    address = str((task.get("data") or {}).get(field) or "")
    with wiring.label_studio_of(project.workspace).connect() as opened:
        return opened.download(address, limit_bytes=LARGEST_IMAGE)


if __name__ == "__main__":
    sys.exit(main())
