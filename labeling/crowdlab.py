"""What annotators and a model say together, each weighed by how far they can be trusted.

Source: Goh, Tkachenko & Mueller 2022, "CROWDLAB: supervised learning to infer consensus labels and
quality scores for data with multiple annotators". `cleanlab` finds the weights; with them a few new
answers can be judged without another fit.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation import files

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]

_LEAN = 1e-9
"""Less than the smallest step of half precision."""
MOST_CELLS = 20_000_000
"""Images times annotators that a fit holds in memory; of more a random share of images is used."""


@dataclass(frozen=True, eq=False)
class Opinions:
    """What a model that never saw them says of images.

    Attributes:
        ids: (N,) ascending.
        chances: (N, K) probability of each of the project's classes.
    """

    ids: Numbers
    chances: NDArray[np.floating[Any]]

    def of(self, image_id: int) -> Floats | None:
        """(K,) of one image; none where no model can be asked."""
        at = int(np.searchsorted(self.ids, image_id))
        if at == len(self.ids) or self.ids[at] != image_id:
            return None
        return np.asarray(self.chances[at], dtype=np.float64)

    def write(self, path: Path) -> None:
        """One file: ids, K, and the probabilities as rows of half precision."""
        with files.replacing(path) as file:
            np.save(file, self.ids, allow_pickle=False)
            np.save(file, np.array(self.chances.shape[1]), allow_pickle=False)
            file.write(self.chances.astype(np.float16).tobytes())

    @classmethod
    def read(cls, path: Path) -> "Opinions":
        """What `write` wrote; the probabilities stay on disk until they are asked for.

        Raises:
            OSError: it is not there.
            ValueError: it is something else.
        """
        with path.open("rb") as file:
            ids = np.load(file, allow_pickle=False)
            width = int(np.load(file, allow_pickle=False))
            start = file.tell()
        shape = (len(ids), width)
        return cls(ids, np.memmap(path, np.float16, mode="r", offset=start, shape=shape))

    def rounded(self) -> "Opinions":
        """As they are once written and read."""
        return Opinions(self.ids, self.chances.astype(np.float16))


@dataclass(frozen=True, eq=False)
class Weights:
    """How far everybody can be trusted.

    Attributes:
        values: K answers that can be given.
        model: weight of the model.
        annotators: weight of each.
        agreement: how often an annotator says what all agree on, 0 to 1.
    """

    values: tuple[int, ...]
    model: float
    annotators: Mapping[int, float]
    agreement: float

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `of_json`."""
        return {
            "values": list(self.values),
            "model": self.model,
            "annotators": {str(key): weight for key, weight in self.annotators.items()},
            "agreement": self.agreement,
        }

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> "Weights":
        """From what `as_json` gave."""
        return cls(
            tuple(stored["values"]),
            stored["model"],
            {int(key): weight for key, weight in stored["annotators"].items()},
            stored["agreement"],
        )

    @cached_property
    def _average(self) -> float:
        return sum(self.annotators.values()) / max(len(self.annotators), 1) or 1.0

    def posterior(self, answers: Sequence[tuple[int, int]], opinion: Floats | None) -> Floats:
        """(K,) how likely each value is the true one.

        Args:
            answers: (annotator, value), at least one; new annotators have the average weight.
            opinion: (K,) the model's; none where it cannot be asked.
        """
        others = (1 - self.agreement) / max(len(self.values) - 1, 1)
        found = np.zeros(len(self.values))
        total = 0.0
        if opinion is not None:
            found += self.model * opinion
            total += self.model
        at = {value: number for number, value in enumerate(self.values)}
        for annotator, value in answers:
            weight = self.annotators.get(annotator, self._average)
            said = np.full(len(self.values), others)
            if value in at:
                said[at[value]] = self.agreement
            found += weight * said
            total += weight
        return np.asarray(found / total)


def fit(
    images: Numbers,
    annotators: Numbers,
    values: Numbers,
    *,
    opinions: Opinions,
    known: Sequence[int],
    seed: int = 0,
) -> Weights | None:
    """Weighs annotators and the model, on the images that the model can be asked about.

    Args:
        images: (A,) ids of the images of A answers.
        annotators: (A,) ids; each answered an image once.
        values: (A,) what was answered, each among `known`.
        opinions: (N, K) in the order of `known`.
        known: K values that can be given, at least two.
        seed: decides which images are used where there are too many; all else is deterministic.

    Returns:
        None where no such image has two answers.
    """
    there = np.isin(images, opinions.ids) & np.isin(values, known)
    images, annotators, values = images[there], annotators[there], values[there]
    ids, row, answers = np.unique(images, return_inverse=True, return_counts=True)
    if not (answers > 1).any():
        return None
    people, column = np.unique(annotators, return_inverse=True)
    index = {value: number for number, value in enumerate(known)}
    if len(ids) * len(people) > MOST_CELLS:
        drawn = np.random.default_rng(seed).permutation(ids)[: MOST_CELLS // len(people)]
        kept = np.isin(images, drawn)
        return fit(
            images[kept], annotators[kept], values[kept], opinions=opinions, known=known, seed=seed
        )
    table = np.full((len(ids), len(people)), np.nan)
    table[row, column] = [index[value] for value in values.tolist()]
    chances = opinions.chances[np.searchsorted(opinions.ids, ids)].astype(np.float64)
    quality, model, weights = _weigh(table, chances)
    several = answers > 1
    return Weights(
        tuple(known),
        float(model),
        dict(zip(people.tolist(), weights.tolist(), strict=True)),
        float(quality[several].mean()),
    )


def _weigh(table: Floats, chances: Floats) -> tuple[Floats, float, Floats]:
    """(N,) agreement with the consensus, the model's weight, and (M,) those of annotators."""
    from cleanlab.multiannotator import get_label_quality_multiannotator

    # cleanlab asks the model about ties, and a global random number where that does not help; so
    # the model is never quite undecided.
    leaning = np.linspace(_LEAN, 0, chances.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # annotators who never agree
        found = get_label_quality_multiannotator(
            table,
            chances * (1 - 2 * _LEAN) + leaning,
            return_detailed_quality=False,
            return_annotator_stats=False,
            return_weights=True,
            verbose=False,
        )
    agreement = found["label_quality"]["annotator_agreement"].to_numpy(dtype=np.float64)
    return agreement, found["model_weight"], found["annotator_weight"]
