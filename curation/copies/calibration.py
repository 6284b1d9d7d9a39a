"""How well copies are found among a project's own images, and the threshold that follows.

Known copies of some of the images are planted among a random sample of all and looked for as in
real work. Recall is the share that is found.

Precision is what the false pairs leave of the pairs found. A pair of a planted copy with an image
that is not its original, nor surely a copy of that, is false. How often a copy has one stands for
how often an image of the project has one, so among N images N / 2 times as many false pairs are
expected as a copy has (each such pair has two ends), beside the pairs that the same search finds
among these N images when nothing is planted. Exact copies are left out of both: they are known by
their pixels. Three things must be known to read the estimate:

- Some changes take detail away (blur, half the size, noise), and such a copy is confused with a
  look-alike more easily than an original is: this makes the estimate too low where originals are
  sharp. Each change counts the same, whatever is usual in the project.
- Real copies that nobody planted must not count as false. Where the copied original and the other
  image are so alike themselves (`trial.SURELY`), they are taken for copies. This makes the estimate
  too high where perfect look-alikes exist, as with featureless pictures, and too low where real
  copies are less sure than that.
- Only `among` images are compared, so that a million are calibrated as quickly as thousands. Both
  kinds of pairs grow with the square of the images, hence their ratio does not change; but in the
  whole project more look-alikes compete for a copy's few places among the candidates, so that its
  recall may be lower.
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from curation import files
from curation.catalog import images as image_rows
from curation.copies import search, trial, verification
from curation.copies.trial import Trial
from curation.errors import InputError
from curation.intervals import Figure, proportion, ratio_of_rates, unknown
from curation.progress import Report, silent
from curation.workspace import Project

EACH = 40
"""Copies by each change: with half as many, one false pair more or less decides the threshold."""

AMONG = 2_000
"""Images that the copies must be told apart from."""

GOOD = 0.8
"""Recall below which a kind of change is named as one that is often missed."""

THRESHOLDS = tuple(
    sorted(
        {
            *(0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, search.THRESHOLD),
            *(0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999),
        }
    )
)
"""What can be chosen: few values, so that none fits this sample by chance."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """What planted copies told of a project.

    Attributes:
        threshold: smallest probability of a pair that counts as copies.
        asked: the precision that was asked for.
        reached: whether the estimate at the threshold reaches it; else no threshold does.
        recall: by change, at the threshold; Wilson intervals.
        recall_of_all: of all changes together, each with the same weight.
        precision: estimated, of the pairs that are found among the images; of n such pairs.
        false_pairs: of planted copies with other images, at the threshold.
        copies: how many were planted.
        images: how many they were compared with; exact copies count once.
        usable: images of the project.
        unreadable: images that were drawn and cannot be read any more.
        seed: of the sample and the copies.
    """

    threshold: float
    asked: float
    reached: bool
    recall: dict[str, Figure]
    recall_of_all: Figure
    precision: Figure
    false_pairs: int
    copies: int
    images: int
    usable: int
    unreadable: int
    seed: int


def calibrate(
    project: Project,
    *,
    precision: float = 0.99,
    each: int = EACH,
    among: int = AMONG,
    seed: int | None = None,
    report: Report = silent,
) -> Calibration:
    """Plants copies of the project's images, looks for them, and stores the threshold to use.

    Nothing is added to the project: the copies lie in a temporary folder for a moment.

    Args:
        project: whose images are copied.
        precision: to reach at the threshold, between 0 and 1, exclusive.
        each: copies by each change; fewer where there are fewer images.
        among: images that are compared, drawn at random.
        seed: of the sample and the copies; the project's by default.
        report: told of the progress.

    Raises:
        InputError: a precision that is none, or no image that can be read.
        Cancelled: asked to stop.
    """
    if not 0 < precision < 1:
        raise InputError(
            f"A precision of {precision:g} cannot be aimed at. Give a share between 0 and 1, such "
            "as --precision 0.99."
        )
    seed = project.record.seed if seed is None else seed
    rng = np.random.default_rng(seed)
    with project.catalog.read() as connection:
        usable = np.fromiter((key for key, _ in image_rows.usable(connection, project.id)), int)
    sample = trial.draw(project, usable, among, rng, report)
    tried = trial.run(sample, each, rng, report)
    threshold, reached = choose(tried, precision)
    hit = tried.right >= threshold
    changes = np.array(tried.changes)
    found = Calibration(
        threshold=threshold,
        asked=precision,
        reached=reached,
        recall={name: proportion(hit[changes == name]) for name in dict.fromkeys(tried.changes)},
        recall_of_all=proportion(hit),
        precision=precision_at(tried, threshold),
        false_pairs=int((tried.false >= threshold).sum()),
        copies=len(hit),
        images=tried.images,
        usable=len(usable),
        unreadable=sample.unreadable,
        seed=seed,
    )
    files.write_json(
        _file(project),
        {
            **as_json(found),
            "verifier": _fingerprint(),
            "calibrated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    return found


def threshold_of(project: Project) -> float:
    """The project's threshold; the usual one where it was not calibrated with this verifier."""
    path = _file(project)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        threshold = float(stored["threshold"])
        current = stored["verifier"] == _fingerprint()
    except FileNotFoundError:
        return search.THRESHOLD
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning(
            "%s cannot be read (%s), so the usual threshold is taken. Run `labelloop duplicates "
            "calibrate` to write it anew.",
            path,
            error,
        )
        return search.THRESHOLD
    return threshold if current and 0 < threshold < 1 else search.THRESHOLD


def choose(tried: Trial, precision: float) -> tuple[float, bool]:
    """The smallest threshold whose estimated precision reaches what was asked, and whether any did.

    Where nothing is found, nothing false must be expected either. Below the usual threshold, the
    lower end of the interval must reach what was asked: that no false pair was seen among few is no
    reason to be more lenient. Where no threshold reaches it, the strictest is taken.
    """
    for threshold in THRESHOLDS:
        estimate = precision_at(tried, threshold)
        if threshold < search.THRESHOLD:
            enough = estimate.value is not None and estimate.ci[0] >= precision
        elif estimate.value is None:
            enough = not (tried.false >= threshold).any()
        else:
            enough = estimate.value >= precision
        if enough:
            return threshold, True
    return THRESHOLDS[-1], False


def precision_at(tried: Trial, threshold: float) -> Figure:
    """Estimated precision of the pairs of the project's own images; none where there are none.

    The interval is that of the ratio of two Poisson rates, of false pairs and of found ones (see
    `intervals.ratio_of_rates`). It takes pairs as independent; a few images that resemble many
    others make it somewhat too narrow.
    """
    found = int((tried.found >= threshold).sum())
    if not found or not len(tried.right):
        return unknown()
    false = int((tried.false >= threshold).sum())
    per_copy = tried.images / 2 / len(tried.right)
    low, high = ratio_of_rates(false, found)
    value, least, most = (max(0.0, 1 - per_copy * x) for x in (false / found, high, low))
    return Figure(value, found, (min(least, value), max(most, value)))


def as_json(calibration: Calibration) -> dict[str, Any]:
    """Plain values, as `labelloop duplicates calibrate --json` prints them."""
    return {
        "recall": {name: figure.as_json() for name, figure in calibration.recall.items()},
        "precision": calibration.precision.as_json(),
        "threshold": calibration.threshold,
        "asked": calibration.asked,
        "reached": calibration.reached,
        "recall_of_all": calibration.recall_of_all.as_json(),
        "false_pairs": calibration.false_pairs,
        "copies": calibration.copies,
        "images": calibration.images,
        "usable": calibration.usable,
        "unreadable": calibration.unreadable,
        "seed": calibration.seed,
    }


def says(calibration: Calibration) -> list[str]:
    """The same for people, line by line."""
    figures = {**calibration.recall, "all together": calibration.recall_of_all}
    width = max(len(name) for name in figures)
    return [
        f"Planted {calibration.copies:,} copies of {calibration.images:,} different images, of "
        f"{calibration.usable:,} in the project, and looked for them.",
        "Found, by what was done to the copy (in brackets the 95 % interval):",
        *(f"  {name:{width}}  {_percent(figure)}" for name, figure in figures.items()),
        *_weaknesses(calibration),
        *_of_precision(calibration),
        f"Threshold set: {calibration.threshold:g}. From this probability on a pair counts as "
        f"copies; {_beside_the_usual(calibration)}.",
        "Next: labelloop issues --kind exact-duplicate,near-duplicate",
    ]


def _weaknesses(calibration: Calibration) -> list[str]:
    """What limits the figures."""
    lines = []
    missed = [
        name
        for name, figure in calibration.recall.items()
        if figure.value is not None and figure.value < GOOD
    ]
    if missed:
        lines.append(f"Often missed here: {', '.join(missed)}.")
    if calibration.images < EACH:
        lines.append(
            "So few images tell little: the intervals are wide. Calibrate again when there are "
            "more."
        )
    if calibration.unreadable:
        lines.append(
            f"{calibration.unreadable:,} images could not be read and were left out; `labelloop "
            "doctor` says more."
        )
    return lines


def _of_precision(calibration: Calibration) -> list[str]:
    """The estimate, or why there is none, and what it leaves open."""
    figure, asked = calibration.precision, calibration.asked
    times = calibration.false_pairs
    confused = (
        f"{times:,} {'pair' if times == 1 else 'pairs'} of a planted copy and another image passed "
        "for copies"
        if times
        else "no planted copy passed for a copy of another image"
    )
    if figure.value is None:
        lines = [
            "Precision: nothing to estimate, since no two of these images were taken for copies; "
            f"{confused}."
        ]
    else:
        lines = [
            f"Precision of the pairs found here, estimated: {_percent(figure).strip()}; {confused}."
        ]
    if not calibration.reached:
        lines.append(
            f"No threshold reaches the {_share(asked)} asked for, so the strictest is set. Look at "
            "the pairs before you exclude them, or ask for less with --precision."
        )
    elif figure.value is not None and figure.ci[0] < asked:
        lines.append(
            f"So few pairs cannot show the {_share(asked)} asked for: the interval begins below. "
            "Look at some pairs before you exclude them all."
        )
    return lines


def _beside_the_usual(calibration: Calibration) -> str:
    """How strict the threshold is, and why."""
    if calibration.threshold == search.THRESHOLD:
        return "it is the usual one"
    if calibration.threshold > search.THRESHOLD:
        return (
            f"stricter than the usual {search.THRESHOLD:g}, at which too few pairs would be right; "
            "a lower --precision finds more"
        )
    return f"more lenient than the usual {search.THRESHOLD:g}: these images are easily told apart"


def _percent(figure: Figure) -> str:
    if figure.value is None:
        return "unknown"
    low, high = (100 * end for end in figure.ci)
    return f"{100 * figure.value:5.1f} % ({low:.1f} to {high:.1f}, n = {figure.n:,})"


def _share(value: float) -> str:
    return f"{100 * value:.6g} %"


def _file(project: Project) -> Path:
    return project.workspace.folder("issues") / f"duplicates-{project.id}.json"


def _fingerprint() -> str:
    """Names the verifier whose probabilities the threshold is of."""
    return hashlib.sha256(verification.MODELS.read_bytes()).hexdigest()[:16]
