"""What is wrong with the labels and pictures that a model learned from."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from training.diagnosis.evidence import Answers, Evidence, Share

FEW = 10
"""Labels below which a class is said to have too few. With 10 labels where the others had 200 (80),
97 % of Fashion-MNIST's classes and 70 % of scikit-learn's digits lost more than 10 points of recall
(a linear head on lite0's embeddings, 3 seeds)."""

RARE = 40
"""And below which a class with less than half the labels of the median one has too few, if its
recall is below that of the others for certain: with 40 labels 63 % and 3 % lost 10 points."""

BROKEN = 0.05
"""Share of pictures of one colour, or unreadable, from which on the input is said to be broken."""

REPEATED = 0.2
"""Share of the pictures that are one and the same, from which on the input is said to be broken."""

FEWEST = 20
"""Images below which a share says little."""

NOISE = 0.03
"""Share of wrong labels that can be told from hard images. Of the quarter of Fashion-MNIST's and
digits' validation images that a head was surest of, 0 to 4 % were labeled otherwise where the
labels were right (its accuracy 0.74 to 0.97; 2 and 10 classes; 100 to 4,000 labels), 2 to 9 % where
5 % of the labels had been changed, 5 to 16 % where 10 % had. Then, on other images of the training
file and 2 to 10 of its classes, 20 to 150 labels each: found in 21 of 23 trainings with 10 % of
labels changed and 400 validation images, in 7 of 17 (heads) and 1 of 17 (small networks) with 100,
in 17 of 46 with 5 % and 400; and in 1 of 80 whose labels were right."""

LEAST_RIGHT = 0.6
"""Share of right answers below which a model is too weak to tell wrong labels from hard images: at
0.52 it was wrong on 19 % of what it was surest of."""

MEMORISED = 0.05
"""By which a model has to be right more often than people agree to have learned their mistakes."""

SHOWN = 5

_QUOTA = "labelloop balance --remedy labeling-quota --apply"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: of `KINDS`.
        says: what was found, with its figures; a sentence.
        next_step: what to do about it, as a command; a sentence.
    """

    kind: str
    says: str
    next_step: str

    def as_json(self) -> dict[str, str]:
        """The fields by their names."""
        return asdict(self)


def one_class(seen: Evidence) -> Iterator[Finding]:
    """All labels are the same, so that there is nothing to tell apart."""
    if len(seen.targets) and bool((seen.targets == seen.targets[0]).all()):
        what = _names(seen, np.flatnonzero(seen.counts).tolist()) or "none of the classes"
        yield Finding(
            "one-class",
            f"All {len(seen.targets):,} labels that were learned from are {what}.",
            "Label other images: labelloop round --strategy max-herding",
        )


def validation(seen: Evidence) -> Iterator[Finding]:
    """There is none, or a class is missing from it."""
    if not seen.steered:
        yield Finding(
            "no-validation",
            f"No image steered this training: all {len(seen.targets):,} were learned from, so that "
            "neither its best epoch nor its temperature could be found.",
            "Label more images (labelloop round) and divide them: labelloop split",
        )
    elif seen.held_out is not None:
        there = seen.held_out.truth.sum(axis=0)
        missing = np.flatnonzero((seen.counts > 0) & (there == 0)).tolist()
        if missing:
            yield Finding(
                "missing-from-validation",
                f"No image of validation is labeled {_names(seen, missing)}: how well these are "
                f"told apart did not steer the training ({len(seen.held_out.targets):,} images).",
                f"Label more of these ({_QUOTA}, then labelloop round), and run labelloop split.",
            )


def too_few(seen: Evidence) -> Iterator[Finding]:
    """Classes with so few labels that they cannot be learned."""
    counts = seen.counts
    few = [number for number in range(len(counts)) if counts[number] < FEW]
    lacking = "" if not few else f"Fewer than {FEW} labels of {_counted(seen, few)}"
    rare = list(_rare(seen))
    if rare:
        shown = ", ".join(f"{seen.classes[n]} ({counts[n]}; {recall})" for n, recall in rare)
        lacking += f"{'; f' if few else 'F'}ew labels and a low recall: {shown}"
    if lacking:
        yield Finding(
            "too-few",
            f"{lacking}. The median class has {np.median(counts):.0f}.",
            f"Label more of them: {_QUOTA}, then labelloop round",
        )


def _rare(seen: Evidence) -> Iterator[tuple[int, Share]]:
    """Classes far below the median, with a recall that is below the others' for certain."""
    if seen.held_out is None:
        return
    counts, truth = seen.counts, seen.held_out.truth
    right = truth & seen.held_out.called
    for number in range(len(counts)):
        others = np.arange(len(counts)) != number
        if not FEW <= counts[number] < min(RARE, np.median(counts) / 2):
            continue
        recall = Share(int(right[:, number].sum()), int(truth[:, number].sum()))
        rest = Share(int(right[:, others].sum()), int(truth[:, others].sum()))
        if recall.n and recall.ci[1] < rest.ci[0]:
            yield number, recall


def broken_input(seen: Evidence) -> Iterator[Finding]:
    """Pictures that show nothing, are all the same, or have gone."""
    pictures = seen.pictures
    if pictures is None or pictures.n < FEWEST:
        return
    said = []
    if pictures.flat >= BROKEN * pictures.n:
        said.append(f"{pictures.flat} are of one colour all over")
    if pictures.repeated >= REPEATED * pictures.n:
        said.append(f"{pictures.repeated} are one and the same")
    if pictures.unreadable >= BROKEN * pictures.n:
        said.append(f"{pictures.unreadable} can no longer be read")
    if said:
        yield Finding(
            "broken-input",
            f"Of {pictures.n} training images that were looked at, {' and '.join(said)}.",
            "Look at them and leave them out: labelloop issues, then labelloop exclude --kind "
            "low-information,exact-duplicate",
        )


def same_prediction(seen: Evidence) -> Iterator[Finding]:
    """The model gives the same answer whatever it sees."""
    held = seen.held_out
    if held is None or len(held.targets) < FEWEST:
        return
    called, truth = held.called, held.truth
    if not (called == called[0]).all():
        return
    otherwise = Share(int((truth != called).any(axis=1).sum()), len(truth))
    if otherwise.ci[0] > BROKEN:
        answer = _names(seen, np.flatnonzero(called[0]).tolist()) or "none of the classes"
        yield Finding(
            "broken-input",
            f"The model answers {answer} to all {len(truth):,} images, of which {otherwise} are "
            "labeled otherwise: it sees no difference between them.",
            "Look whether the images show what the labels say: labelloop issues",
        )


def label_noise(seen: Evidence) -> Iterator[Finding]:
    """More labels are wrong than can be explained by images that are hard."""
    # With three labels a class a model is often sure and wrong: it was on 10 % of digits.
    taught = np.median(seen.counts) >= FEW
    doubted = _doubted(seen.held_out) if seen.held_out and taught else Share(0, 0)
    said = []
    if doubted.ci[0] > NOISE:
        said.append(
            f"Of the {doubted.n:,} answers that the model is surest of, on images that it had not "
            f"learned, {doubted} are labeled otherwise: about so many labels may be wrong."
        )
    agreed, train = seen.agreement, seen.train.score if seen.train else Share(0, 0)
    if (
        agreed.n >= FEWEST
        and train.n >= FEWEST
        and seen.single
        and train.ci[0] - agreed.ci[1] > MEMORISED
    ):
        said.append(
            f"It gives the label to {train} of the training images, while people agree on {agreed} "
            "of those that several have answered: it has learned their mistakes by heart."
        )
    if said:
        yield Finding(
            "label-noise",
            " ".join(said),
            "Let people look at the doubtful ones: labelloop issues --kind wrong-label "
            "--to-label-studio",
        )


def _doubted(held: Answers) -> Share:
    """Of the quarter of the answers that the model is surest of, those that are labeled otherwise.

    Where labels are right, a model errs where it is unsure; wrong labels strike anywhere.
    """
    truth, called = held.truth, held.called
    right, sureness = truth[called], held.probabilities[called]
    surest = np.argsort(-sureness, kind="stable")[: len(right) // 4]
    if len(surest) < FEWEST or right.mean() < LEAST_RIGHT:
        return Share(0, 0)
    return Share(int((~right[surest]).sum()), len(surest))


def _names(seen: Evidence, numbers: Sequence[int]) -> str:
    shown = ", ".join(seen.classes[number] for number in numbers[:SHOWN])
    return shown + (f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else "")


def _counted(seen: Evidence, numbers: Sequence[int]) -> str:
    order = sorted(numbers, key=lambda number: int(seen.counts[number]))
    shown = ", ".join(f"{seen.classes[n]} ({seen.counts[n]})" for n in order[:SHOWN])
    return shown + (f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else "")
