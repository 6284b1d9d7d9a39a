"""One prediction explained: what the model says, where it looks, and which examples it goes by."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation import inference
from curation.errors import InputError, NotFound, UnreadableImage
from curation.inference import Pixels
from curation.progress import Report, silent
from curation.workspace import Project
from training.explain import eyes, heat, nearest, pictures, rows
from training.explain.nearest import Neighbour
from training.serving import classifier
from training.targets import THRESHOLD

SHOWN = 5
"""Classes that are named, the likeliest first."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model says what it says of a picture.

    Attributes:
        run: whose model it is.
        predicted: classes that the model gives; maybe none in a multi-label task.
        likeliest: up to `SHOWN` classes with their calibrated probabilities.
        of: the class that the heat speaks for.
        picture: (SIDE, SIDE, 3), the part of the picture that the model sees.
        heat: (S, S) from 0 to 1; all 0 where nothing in the picture speaks for the class.
        neighbours: the nearest training images.
    """

    run: str
    predicted: tuple[str, ...]
    likeliest: tuple[tuple[str, float], ...]
    of: str
    picture: Pixels
    heat: NDArray[np.float32]
    neighbours: tuple[Neighbour, ...]

    @property
    def is_blind(self) -> bool:
        """Whether no place speaks for the class."""
        return not self.heat.any()

    def png(self) -> bytes:
        """The picture, and beside it the picture under the heat."""
        return pictures.heated(self.picture, self.heat)


def explain(
    project: Project,
    run_id: str,
    source: Path,
    *,
    of: str = "",
    neighbours: int = 5,
    image_id: int | None = None,
    report: Report = silent,
) -> Explanation:
    """Explains what a run says of a picture.

    Args:
        project: whose run it is.
        run_id: of a finished run.
        source: a picture on disk.
        of: the class to explain; by default the likeliest one.
        neighbours: training images to show; with 0 none is looked for.
        image_id: of the picture, where it is the project's: it is not its own neighbour.
        report: told of the progress.

    Raises:
        NotFound: there is no such run or class.
        InputError: the picture cannot be read.
        TrainingError: the model is gone or damaged, or its network has no map of the picture.
        BackboneError: the weights of its backbone cannot be had.
    """
    report(0, 0, "load the model")
    stored = classifier.read(project, run_id)
    classes = stored.model.classes
    if of and of not in classes:
        raise NotFound(f"{run_id} knows no class {of!r}. Its classes: {', '.join(classes)}.")
    eye = eyes.open(stored)
    try:
        pixels = inference.prepare(source, eye.preprocessing)
        picture = pictures.square(source, eye.preprocessing)
    except UnreadableImage as error:
        raise InputError(f"Cannot use {source}: {error.reason}.") from error
    report(0, 0, "look")
    p = eyes.probabilities(stored, eye, pixels[None])[0]
    order = np.argsort(-p, kind="stable")
    target = classes.index(of) if of else int(order[0])
    if p[target] == 0 and of:
        raise InputError(f"{run_id} had no label {of!r} to learn from, so nothing speaks for it.")
    single = stored.model.task == "single-label"
    predicted = order[:1] if single else np.flatnonzero(p >= THRESHOLD)
    return Explanation(
        run=run_id,
        predicted=tuple(classes[number] for number in predicted),
        likeliest=tuple((classes[number], float(p[number])) for number in order[:SHOWN]),
        of=classes[target],
        picture=picture,
        heat=heat.of(eye, pixels[None], [target])[0],
        neighbours=tuple(
            nearest.find(
                project,
                stored,
                eyes.engine(stored, eye),
                pixels,
                rows.of(project, run_id, "train"),
                count=neighbours,
                leave_out=image_id,
                report=report,
            )
            if neighbours
            else ()
        ),
    )
