"""Balance: what each remedy does for a head trained on long-tailed labels.

Fashion-MNIST with an exponential profile: 500 labels of the largest class, 100 times fewer of the
smallest; which class is rare is drawn for each seed, and so are the images. Balanced accuracy and
the recall of the worst class on the whole t10k file, without any weights, and with each remedy as
`curation.balance` plans it; differences are paired, with bootstrap 95 % intervals over seeds.
Training by itself weighs classes by inverse frequency; "no weights" rows do without that.

The labeling quota starts from 100 labels drawn at random of a pool with the same profile, at most
1,000 of a class, and adds 5 batches of 40, half of each by the quota or none of it: the same number
of labels. The head weighs classes as it does by itself (`balanced`).

Undersampling was made for redundant classes, so it is measured on such ones too: five classes,
drawn for each seed, have 500 labels each, of which 90 are different photos and the rest near copies
of these by the recipe `light`, as uneven as bursts are. Nothing says which belong together: each
label is a group of its own, but in the last two rows. The other classes have 50 labels, and so many
are kept of each; means of 5 draws. Training evens out by its own weights. Nothing was chosen on
these figures.

Images are enlarged to 112 pixels. Settings are the defaults of `labelloop balance`. Two decisions
fell after a look at seeds 0 to 4: that undersampling and augmentation leave training its own
weights (the rows without weights are what stood there before), and that a quota is poured anew in
each round (after seed 0). Seeds from 5 on (`--first-seed 5`) had no part in them.

    python -m benchmarks.balance --seeds 5 --cache DIR
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.outliers import cached, enlarge, fashion, fashion_classes
from curation.augmentation import candidates, recipes
from curation.augmentation.pipeline import Pipeline, seed_of
from curation.balance import coverage, quotas, remedies
from curation.balance.plan import Options
from curation.records import LabelRow
from sample_data.sources import find_package, read
from training.heads.head import Head, fit_head
from training.rounds import batch, choosing
from training.rounds.curves import mean_of_seeds
from training.settings import HeadSettings
from training.strategies import Selection

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

TRAIN = 20_000
CLASSES = 10
RATIO = 100
LARGEST = 500
POOL_LARGEST = 1_000
START, BATCHES, BUDGET = 100, 5, 40
LARGE_CLASSES, PHOTOS, KEPT, DRAWS = 5, 90, 50, 5
PLAIN = HeadSettings(class_weight="none")
BY_ITSELF = "class-weights, inverse (what training does by itself)"
AT_RANDOM = {
    "undersampling": "(as many left out at random)",
    "undersampling, no weights": "(as many left out at random, no weights)",
}
NAMES = [str(number) for number in range(CLASSES)]


@dataclass(frozen=True, eq=False)
class Data:
    """Embeddings and classes.

    Attributes:
        X: (N, d) of the photos that labels and pools are drawn from.
        y: (N,) their classes.
        test_photos: (M, d) of all photos of the other file.
        test_classes: (M,) their classes.
        cache: where embeddings are kept.
    """

    X: Floats
    y: Labels
    test_photos: Floats
    test_classes: Labels
    cache: Path

    def read(self, ids: Sequence[int]) -> Floats:
        """As an embedding store; an id is a row."""
        return self.X[list(ids)]


def draw(y: Labels, *, largest: int, rng: np.random.Generator) -> Labels:
    """Rows of a long-tailed set; each class `RATIO` ** (-k / 9) of the largest, k by chance."""
    order = rng.permutation(CLASSES)
    sizes = np.maximum(1, np.round(largest * RATIO ** (-np.arange(CLASSES) / (CLASSES - 1))))
    parts = [
        rng.choice(np.flatnonzero(y == c), int(n), replace=False)
        for c, n in zip(order, sizes, strict=True)
    ]
    return np.sort(np.concatenate(parts))


def judge(head: Head, data: Data) -> dict[str, float]:
    """Balanced accuracy and the recall of the worst class, in %."""
    said = head.logits(data.test_photos).argmax(axis=1)
    recalls = [float((said[data.test_classes == c] == c).mean()) for c in range(CLASSES)]
    return {"balanced accuracy": 100 * float(np.mean(recalls)), "worst recall": 100 * min(recalls)}


def fit(
    X: Floats,
    y: Labels,
    settings: HeadSettings = PLAIN,
    *,
    weights: NDArray[np.float64] | None = None,
) -> Head:
    """A head, by default without weights of its own."""
    return fit_head(X, y, classes=NAMES, settings=settings, sample_weight=weights)


def with_remedies(data: Data, seed: int) -> dict[str, dict[str, float]]:
    """The figures of one seed by remedy."""
    rng = np.random.default_rng([seed, 1])
    rows = draw(data.y, largest=LARGEST, rng=rng)
    X, y = data.X[rows], data.y[rows]
    counted = np.bincount(y, minlength=CLASSES)
    now = {name: int(n) for name, n in zip(NAMES, counted, strict=True)}
    plain = Options()

    def weighted(table: dict[str, float]) -> Head:
        return fit(X, y, weights=np.array([table[NAMES[c]] for c in y]))

    most = remedies.LEAST_KEPT_OF_SMALLEST * int(counted.min())
    kept = np.concatenate(
        [
            theirs
            if len(theirs := rows[y == c]) <= most
            else coverage.keep(data, theirs, theirs, count=most, rng=np.random.default_rng(seed))
            for c in range(CLASSES)
        ]
    )
    drawn = np.concatenate(
        [rng.choice(rows[y == c], min(most, counted[c]), replace=False) for c in range(CLASSES)]
    )
    inverse = remedies.weigh(now, len(y), rule="inverse", beta=plain.beta)
    effective = remedies.weigh(now, len(y), rule="effective-number", beta=plain.beta)
    made, _ = remedies.fill(now, target=int(counted.max()))
    found = {
        "none": fit(X, y),
        BY_ITSELF: weighted(inverse),
        "class-weights, effective-number": weighted(effective),
        "oversampling": weighted(remedies.repeat(now, len(y), threshold=1 / CLASSES)),
        "undersampling, no weights": fit(data.X[kept], data.y[kept]),
        "undersampling": fit(data.X[kept], data.y[kept], HeadSettings()),
        AT_RANDOM["undersampling, no weights"]: fit(data.X[drawn], data.y[drawn]),
        AT_RANDOM["undersampling"]: fit(data.X[drawn], data.y[drawn], HeadSettings()),
    }
    for recipe in ("light", "standard"):
        of, more = augmented(data, rows, made, recipe=recipe, seed=seed)
        filled, named = np.concatenate([X, more]), np.concatenate([y, data.y[of]])
        found[f"augmentation, {recipe}, no weights"] = fit(filled, named)
        found[f"augmentation, {recipe}"] = fit(filled, named, HeadSettings())
    # What the changes to the pixels bring, beyond the copies' mere number.
    factor = {name: 1 + made.get(name, 0) / n for name, n in now.items()}
    found["(the same copies unchanged, no weights)"] = weighted(factor)
    return {name: judge(head, data) for name, head in found.items()}


def augmented(
    data: Data, rows: Labels, made: dict[str, int], *, recipe: str, seed: int
) -> tuple[Labels, Floats]:
    """The row that each copy is of, and the copies' embeddings; as many copies as remedies make."""
    labels = [LabelRow(int(row), int(row), (int(data.y[row]),), "people", 1.0) for row in rows]
    wanted = {int(name): n for name, n in made.items()}
    names = {int(name): name for name in made}
    counts = candidates.by_class(labels, wanted, names=names, seed=seed)
    name = f"augmented-{recipe}-{seed}"
    return copies(data, rows, counts, recipe=recipe, seed=seed, name=name)


def copies(
    data: Data, rows: Labels, counts: Labels, *, recipe: str, seed: int, name: str
) -> tuple[Labels, Floats]:
    """The row that each copy is of, and the copies' embeddings, kept under this name."""
    divided = [
        (int(row), number)
        for row, count in zip(rows, counts, strict=True)
        for number in range(1, int(count) + 1)
    ]
    photos = read(find_package(), "train").pixels

    def images() -> Iterator[Image.Image]:
        pipeline = Pipeline(recipes.find(recipe))
        for row, number in divided:
            pixels = np.asarray(enlarge(255 - photos[row]))
            one = seed_of(seed, row, number)
            yield Image.fromarray(pipeline.apply(pixels, seed=one).pixels)

    made_of = np.array([row for row, _ in divided], np.int64)
    return made_of, cached(name, images, cache=data.cache)


def bursts(data: Data, seed: int) -> tuple[Data, Labels, Labels]:
    """Labels of which the large classes are few photos and very many near copies of them.

    Returns:
        What is labeled; of each label the row of its photo in `data`; and the large classes.
    """
    rng = np.random.default_rng([seed, 3])
    large = rng.permutation(CLASSES)[:LARGE_CLASSES]
    often = 1 / np.arange(1, PHOTOS + 1)  # one has about 80 copies, half have at most 2
    rows, counts = [], []
    for c in range(CLASSES):
        many = c in large
        rows.append(
            rng.choice(np.flatnonzero(data.y == c), PHOTOS if many else KEPT, replace=False)
        )
        spread = rng.multinomial(LARGEST - PHOTOS, often / often.sum())
        counts.append(spread if many else np.zeros(KEPT, np.int64))
    photos, each = np.concatenate(rows), np.concatenate(counts)
    of, more = copies(data, photos, each, recipe="light", seed=seed, name=f"bursts-{seed}")
    photo = np.concatenate([photos, of])
    X = np.concatenate([data.X[photos], more])
    return replace(data, X=X, y=data.y[photo]), photo, large


def with_bursts(data: Data, seed: int) -> dict[str, dict[str, float]]:
    """The figures of one seed by how the large classes are brought down to `KEPT` labels."""
    labeled, photo, large = bursts(data, seed)
    rng = np.random.default_rng([seed, 4])
    everything = np.arange(len(photo))
    different = np.unique(photo, return_index=True)[1]

    def with_chosen(choose: Callable[[Labels], Labels]) -> Labels:
        """What of the large classes is chosen, and all of the small ones."""
        small = everything[~np.isin(labeled.y, large)]
        return np.concatenate([small, *(choose(everything[labeled.y == c]) for c in large)])

    def by_coverage(theirs: Labels) -> Labels:
        return coverage.keep(labeled, theirs, theirs, count=KEPT, rng=rng)

    def grouped(theirs: Labels) -> Labels:
        return coverage.keep(labeled, theirs, photo[theirs], count=KEPT, rng=rng)

    def at_random(theirs: Labels) -> Labels:
        return rng.choice(theirs, KEPT, replace=False)

    def of_different(theirs: Labels) -> Labels:
        return rng.choice(np.intersect1d(theirs, different), KEPT, replace=False)

    def figures(kept: Labels) -> dict[str, float]:
        head = fit(labeled.X[kept], labeled.y[kept], HeadSettings())
        held = np.unique(photo[kept][np.isin(labeled.y[kept], large)])
        return judge(head, data) | {"photos of a large class": len(held) / LARGE_CLASSES}

    def mean(choose: Callable[[Labels], Labels]) -> dict[str, float]:
        draws = [figures(with_chosen(choose)) for _ in range(DRAWS)]
        return {metric: float(np.mean([one[metric] for one in draws])) for metric in draws[0]}

    return {
        "nothing left out": figures(everything),
        "undersampling": mean(by_coverage),
        "at random": mean(at_random),
        "at random, of different photos": mean(of_different),
        "undersampling, copies grouped": mean(grouped),
    }


def with_quota(
    data: Data, seed: int, *, strategy: str, quota: bool
) -> tuple[dict[str, float], Labels]:
    """The figures of one seed after all batches, and the labels by class."""
    rng = np.random.default_rng([seed, 2])
    pool = rng.permutation(draw(data.y, largest=POOL_LARGEST, rng=rng))
    known = [int(row) for row in pool[:START]]
    left = [int(row) for row in pool[START:]]
    half = quotas.Quota(0, "", {}, Options().share)

    def choose(ids: Sequence[int], n: int, besides: Sequence[int]) -> Selection:
        return choosing.choose(
            strategy,
            ids=np.array(ids, np.int64),
            groups=np.array(ids, np.int64),
            store=data,
            head=head,
            known_ids=[*known, *besides],
            known_targets=None,
            count=n,
            rng=rng,
        )

    for _ in range(BATCHES):
        head = fit_head(data.X[known], data.y[known], classes=NAMES, task="single-label")
        said = head.logits(data.X[left]).argmax(axis=1)
        members = {
            name: [key for key, c in zip(left, said, strict=True) if NAMES[c] == name]
            for name in NAMES
        }
        now = {name: int((data.y[known] == c).sum()) for c, name in enumerate(NAMES)}
        room = {name: len(theirs) for name, theirs in members.items()}
        wanted = half.of_batch(BUDGET, now=now, room=room) if quota else {}
        chosen, _ = batch.fill(wanted, members, left, BUDGET, choose, of="predicted class")
        known += [int(key) for key in chosen.ids]
        gone = set(known)
        left = [key for key in left if key not in gone]
    head = fit_head(data.X[known], data.y[known], classes=NAMES, task="single-label")
    return judge(head, data), np.bincount(data.y[known], minlength=CLASSES)


def compare(
    found: list[dict[str, dict[str, float]]], *, bases: Callable[[str], dict[str, str]]
) -> dict[str, dict[str, Any]]:
    """Means, and differences to other rows (by what they are called), over seeds."""
    rng = np.random.default_rng(0)
    table: dict[str, dict[str, Any]] = {}
    for name in found[0]:
        table[name] = {}
        for metric in found[0][name]:
            values = np.array([one[name][metric] for one in found])
            table[name][metric] = mean_of_seeds(values, rng=rng).as_json()
            for called, base in bases(name).items():
                other = np.array([one[base][metric] for one in found])
                less = mean_of_seeds(values - other, rng=rng).as_json()
                table[name][f"{metric}, {called}"] = None if base == name else less
    return table


def main() -> None:
    """Print tables, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="keep embeddings here between runs")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        cache = arguments.cache or Path(name)
        cache.mkdir(parents=True, exist_ok=True)
        data = Data(
            X=cached("fashion-train", partial(fashion, "train", TRAIN), cache=cache),
            y=fashion_classes("train", TRAIN),
            test_photos=cached("fashion-t10k", partial(fashion, "t10k", 10_000), cache=cache),
            test_classes=fashion_classes("t10k", 10_000),
            cache=cache,
        )
        seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        trained = [with_remedies(data, seed) for seed in seeds]
        redundant = [with_bursts(data, seed) for seed in seeds]
        labeled = []
        for seed in seeds:
            one: dict[str, dict[str, float]] = {}
            for strategy in ("random", "uncertainty-herding"):
                for quota in (False, True):
                    figures, counted = with_quota(data, seed, strategy=strategy, quota=quota)
                    figures["labels of the rarer half"] = float(np.sort(counted)[:5].sum())
                    one[f"{strategy}{', quota' if quota else ''}"] = figures
            labeled.append(one)
    report = {
        "remedies": compare(
            trained,
            bases=lambda name: {
                "over none": "none",
                "over training's own": BY_ITSELF,
                "over random": AT_RANDOM.get(name, name),
            },
        ),
        "undersampling of bursts": compare(
            redundant,
            bases=lambda _: {"over random": "at random", "over all": "nothing left out"},
        ),
        "labeling-quota": compare(
            labeled, bases=lambda name: {"over no quota": name.removesuffix(", quota")}
        ),
    }
    if arguments.json:
        print(json.dumps(report))
        return
    print(
        f"{arguments.seeds} seeds, {len(data.test_classes):,} test photos, in %; "
        "brackets: 95 % intervals"
    )
    for title, rows in report.items():
        show(title, rows)


def show(title: str, rows: dict[str, dict[str, Any]]) -> None:
    """One table."""
    metrics = list(next(iter(rows.values())))
    print(f"\n| {' | '.join([title, *metrics])} |")
    print("|---" * (len(metrics) + 1) + "|")
    for name, row in rows.items():
        cells = [_cell(row[metric], sign="+" if " over " in metric else "") for metric in metrics]
        print(f"| {' | '.join([name, *cells])} |")


def _cell(figure: dict[str, Any] | None, *, sign: str = "") -> str:
    if figure is None:
        return ""
    low, high = figure["ci"]
    return f"{figure['value']:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


if __name__ == "__main__":
    main()
