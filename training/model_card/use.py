"""What a model card says of a model's limits, its use, and how it is made again."""

import shlex
from collections import Counter
from collections.abc import Iterator
from typing import Any

from curation.card.blocks import Block, Bullets, Grid, Paragraph
from training.model_card.facts import Facts
from training.model_card.measured import said

FEW = 30
"""Labels below which a class is small, as in the data card."""

WIDE = 0.05
"""Half the width of accuracy's interval from which on it is said to be wide."""


def limits(found: Facts) -> Iterator[Block]:
    """Where the model must not be trusted."""
    yield Bullets(tuple(_limits(found)))


def _limits(found: Facts) -> Iterator[str]:
    yield (
        "It answers with one of its classes to any picture, also to one that shows none of them."
        if found.project.record.task == "single-label"
        else "It has seen no picture of things beside its classes unless people labeled some."
    )
    train = found.labels.get("train", Counter())
    few = [f"{name} ({n:,})" for name, n in train.items() if n < FEW]
    missing = [name for name in found.project.record.classes if train and not train.get(name)]
    if missing:
        yield f"It never answers {', '.join(missing)}: no such label was learned from."
    if few:
        yield f"Fewer than {FEW} labels to learn from: {', '.join(few)}."
    accuracy = found.figures().get("accuracy")
    if not accuracy:
        yield "How good it is was not measured."
    else:
        low, high = accuracy["ci"]
        if high - low > 2 * WIDE:
            yield (
                f"It was judged on {accuracy['n']:,} images: its accuracy may be anything from "
                f"{100 * low:.1f} to {100 * high:.1f} %."
            )
    if found.about.get("judged_on") == "validation":
        yield "There was no test part, so that its figures flatter it."
    weak = [
        f"{name} (it finds {said('recall', recall)} of {recall['n']:,} images)"
        for name, recall in (
            (one["class"], one["recall"]) for one in found.metrics.get("per_class", [])
        )
        if recall["value"] is not None and recall["ci"][1] < 0.5
    ]
    if weak:
        yield f"It misses more than half of: {', '.join(weak)}."
    if found.chosen:
        yield (
            f"{found.chosen:,} of the {found.sizes['train']:,} labels that it learned from are of "
            "images that rounds chose, and not at random: their shares of classes are not those of "
            "the whole."
        )
    if "robustness" not in found.about:
        yield "How it bears blur, noise and other light is not known."
    if not any(found.licenses):
        yield "No source of its images states a licence: for what it may be used is not known."


def commands(found: Facts) -> Iterator[Block]:
    """How to get answers out of it."""
    size = found.row["settings"].get("input-size")
    seen = f"{size} x {size} pixels, " if size else ""
    yield Paragraph(
        f"It looks at the middle square of a picture ({seen}the whole shorter side) and gives "
        "calibrated probabilities."
    )
    yield Grid(
        ("for", "command"),
        (
            ("a folder", f"labelloop predict FOLDER --run {found.run} --out predictions.csv"),
            ("one picture, explained", f"labelloop explain IMAGE --run {found.run} --out why.png"),
            (
                "use without labelloop",
                f"labelloop models export {found.run} --format onnx --out DIR",
            ),
        ),
        numbers=2,
    )


def again(found: Facts) -> Iterator[Block]:
    """What decides how the training comes out."""
    about = found.about
    if "material" in about:
        yield Paragraph(f"The same rows and settings: labelloop models reproduce {found.run}")
        yield Paragraph(f"From the labels as they are then: {_command(found)}")
    else:
        yield Paragraph(
            "It came with an import."
            if "imported" in about
            else "It is the head of a round, whose labels and settings lie beside it."
        )
    environment = about.get("environment", {})
    rows = [("seed", str(found.row["seed"]))]
    if "fingerprint" in about:
        rows.append(("embeddings", str(about["fingerprint"])))
    rows += [(name, _said(value)) for name, value in environment.items() if name != "packages"]
    rows += [(name, str(value)) for name, value in environment.get("packages", {}).items()]
    rows += [(f"{name} (SHA-256)", str(digest)) for name, digest in about.get("files", {}).items()]
    yield Grid(("", ""), tuple(rows), numbers=2)
    seconds = about.get("seconds", {})
    if seconds:
        steps = ", ".join(f"{name} {value:,.1f}" for name, value in seconds.items())
        yield Paragraph(f"Seconds that it took: {steps}.")


def _command(found: Facts) -> str:
    """`labelloop train` with what the user asked for."""
    asked = found.about.get("asked", {})
    words = ["labelloop", "train", "--kind", str(found.row["kind"])]
    for name, value in asked.get("settings", {}).items():
        words += ["--set", f"{name}={_word(value)}"]
    if asked.get("minutes"):
        words += ["--minutes", f"{asked['minutes']:g}"]
    return shlex.join([*words, "--seed", str(found.row["seed"])])


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
