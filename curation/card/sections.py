"""The sections of a card, in the order of "Datasheets for Datasets" (Gebru et al. 2021)."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePath
from typing import Any

from curation.balance import census
from curation.card.blocks import Block, Bullets, Grid, Own, Paragraph, Picture, Section
from curation.card.facts import MOST_VALUES, Facts, slices
from curation.card.pictures import Pictures
from curation.intervals import wilson
from curation.tables import CONSENT_COLUMNS

FEW = 30
"""Labels below which a class is said to be too small to learn from or to judge by."""
SKEWED = 10
"""Times that the largest class has to be the smallest before it is said to be a limit."""


def every(found: Facts, pictures: Pictures, about: str) -> list[Section]:
    """All sections.

    Args:
        found: what was counted.
        pictures: what was drawn.
        about: what the user wrote on the purpose, in Markdown; may be empty.
    """
    made = {
        "Motivation": _motivation(found, about),
        "Composition": _composition(found, pictures),
        "Collection": _collection(found),
        "Cleaning": _cleaning(found),
        "Labeling": _labeling(found),
        "Splits": _splits(found),
        "Uses and known limits": _limits(found),
        "Distribution": _distribution(found),
        "Versions": _versions(found),
    }
    return [Section(title, tuple(blocks)) for title, blocks in made.items()]


def _n(count: float, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"


def _figure(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return f"{100 * hits / n:.1f} % ({100 * low:.1f} to {100 * high:.1f}, n = {n:,})"


def _motivation(found: Facts, about: str) -> Iterator[Block]:
    record = found.project.record
    if about.strip():
        yield Own(about)
    else:
        yield Paragraph(
            "Nobody has described yet what this dataset is for and who made it. Give a text with "
            "`labelloop card --about FILE.md`."
        )
    task = {
        "single-label": "each image bears one class",
        "multi-label": "each image bears any number of classes",
        "boxes": "things in the images are marked with boxes",
    }[record.task]
    yield Paragraph(f"Task: {task}. Classes: {', '.join(record.classes)}.")
    if record.target:
        yield Paragraph(
            f"The goal written down before the first label: {record.target.metric} of "
            f"{record.target.value:g}."
        )


def _composition(found: Facts, pictures: Pictures) -> Iterator[Block]:
    total = found.states.total()
    others = [f"{n:,} {state}" for state, n in found.states.items() if state != "ok"]
    aside = f"; not part of the dataset: {', '.join(others)}" if others else ""
    yield Paragraph(
        f"{_n(total, 'image')} known, {found.usable:,} usable, {found.labeled:,} of them labeled "
        f"({_share(found.labeled, found.usable)}){aside}."
    )
    if found.empty:
        yield Paragraph(
            f"{_n(found.empty, 'image')} were looked at and bear none of the classes; that is not "
            "the same as unlabeled."
        )
    if found.sizes:
        small, median, large = (f"{w} x {h}" for w, h in found.sizes)
        yield Paragraph(
            f"Size in pixels: {small} (smallest), {median} (median), {large} (largest)."
        )
    if found.labeled:
        yield from _balance(found)
    for file, says in pictures.shown():
        yield Picture(file, says)
    for column, values in slices(found):
        yield _slice_table(column, values, found.usable)


def _balance(found: Facts) -> Iterator[Block]:
    counts = found.labels
    head = ("class", "labeled images", "share", *(("boxes",) if found.boxes else ()))
    rows = [
        (
            name,
            f"{n:,}",
            _share(n, found.labeled),
            *((f"{found.boxes[name]:,}",) if found.boxes else ()),
        )
        for name, n in counts.most_common()
    ]
    yield Grid(head, tuple(rows))
    ratio = census.imbalance_ratio(counts)
    if ratio is not None:
        yield Paragraph(
            f"The largest class has {ratio:.1f} times the images of the smallest that has any; the "
            f"classes are as even as {census.effective_classes(counts):.1f} equal ones would be "
            "(exponential of the entropy)."
        )


def _slice_table(column: str, values: Counter[str], usable: int) -> Block:
    rows = [
        (value or "(none)", f"{n:,}", _share(n, usable))
        for value, n in values.most_common(MOST_VALUES)
    ]
    if rest := values.most_common()[MOST_VALUES:]:
        others = sum(n for _, n in rest)
        rows.append((f"({len(rest):,} more values)", f"{others:,}", _share(others, usable)))
    return Grid((column, "images", "share"), tuple(rows))


def _collection(found: Facts) -> Iterator[Block]:
    if not found.sources:
        yield Paragraph("No image has been imported.")
        return
    # The folder's name only: where it lies on the maker's machine is nobody's business.
    rows = [
        (
            PurePath(source.uri).name or source.uri,
            f"{source.first:%Y-%m-%d}",
            source.license or "not stated",
            f"{source.images:,}",
        )
        for source in found.sources
    ]
    yield Grid(("source", "first imported", "licence", "images"), tuple(rows), numbers=3)
    if columns := sorted(found.columns):
        yield Paragraph(f"Known of each image: {', '.join(columns)}.")


def _cleaning(found: Facts) -> Iterator[Block]:
    if found.looked:
        open_ = {kind: n for kind, n in found.issues.items() if n}
        said = ", ".join(f"{kind} {n:,}" for kind, n in open_.items())
        yield Paragraph(
            f"labelloop looked for copies, bad images, outliers, wrong labels and leaks. Found and "
            f"still in the dataset: {said or 'nothing'}."
        )
    else:
        yield Paragraph(
            "Nobody has looked for copies, bad images or wrong labels (`labelloop issues`)."
        )
    groups, members = found.groups
    if groups:
        yield Paragraph(
            f"{_n(groups, 'group')} of copies with {members:,} usable images; a group is never "
            "divided between two parts of a split."
        )
    if found.set_aside:
        rows = [(why, f"{n:,}") for why, n in found.set_aside.most_common(MOST_VALUES)]
        yield Grid(("not part of the dataset, and why", "images"), tuple(rows))


_KINDS = {
    "person": "people",
    "oracle": "a program that knew the truth",
    "import": "labels that came with the images",
}
_ORIGINS = {
    "people": "answered by people",
    "import": "imported, not confirmed by people",
    "propagated": "taken over from a copy of the image",
    "machine": "given by a model or by words, accepted in bulk, not looked at one by one",
}


def _labeling(found: Facts) -> Iterator[Block]:
    if not found.labeled:
        yield Paragraph("No image is labeled yet.")
        return
    rows = [(_ORIGINS[key], f"{n:,}", _share(n, found.labeled)) for key, n in found.origins.items()]
    yield Grid(("label", "images", "share"), tuple(rows))
    given = [
        (
            _KINDS[one.kind],
            f"{one.annotators:,}",
            f"{one.answers:,}",
            f"{one.median_seconds:.1f}" if one.median_seconds is not None else "",
            f"{one.accepted:,} of {shown:,}" if (shown := one.accepted + one.corrected) else "",
        )
        for one in found.answers
    ]
    if given:
        head = ("answers by", "annotators", "answers", "median seconds", "guesses accepted")
        yield Grid(head, tuple(given))
    agreed = found.agreement
    if agreed.images:
        yield Paragraph(
            "Several answers to one image were all the same for "
            f"{_figure(agreed.unanimous, agreed.images)}."
        )
    else:
        yield Paragraph("No image has answers of several people, so agreement is not known.")
    if found.doubted:
        yield Paragraph(
            f"{_n(found.doubted, 'label')} looked wrong to a model and were put before a reviewer; "
            f"{found.reviewed:,} have been judged."
        )
    if found.rounds:
        yield from _how_chosen(found)
    if guidelines := found.project.record.guidelines.strip():
        yield Paragraph("What annotators were told:")
        yield Own(guidelines)


def _how_chosen(found: Facts) -> Iterator[Block]:
    strategies = Counter(str(one.get("strategy") or "none yet") for one in found.rounds)
    said = ", ".join(f"{name} {_n(n, 'time')}" for name, n in strategies.items())
    yield Paragraph(
        f"Which images people were asked about was decided in {_n(len(found.rounds), 'round')} of "
        f"active learning ({said}), and at random for the reserve, of which one half judges models."
    )


def _splits(found: Facts) -> Iterator[Block]:
    if not found.parts:
        yield Paragraph("No image is labeled yet.")
        return
    names = list(found.project.record.classes)
    if any(parts[""] for parts in found.parts.values()):
        names.append("")
    rows = [
        (part, f"{sum(counts.values()):,}", *(f"{counts[name]:,}" for name in names))
        for part, counts in sorted(found.parts.items())
    ]
    yield Grid(("part", "labels", *(name or "(none of them)" for name in names)), tuple(rows))
    if {"calibration", "holdout"} & set(found.parts):
        yield Paragraph(
            "Calibration and holdout are the two halves of a random reserve that no model chose "
            "from. Left out of training are images with a copy in the reserve."
        )


def _limits(found: Facts) -> Iterator[Block]:
    if found.model:
        yield from _model(found.model)
    said = list(_known_limits(found))
    yield Bullets(tuple(said) or ("None that labelloop can see.",))


def _model(run: dict[str, Any]) -> Iterator[Block]:
    figure = run["metrics"].get("balanced_accuracy")
    if figure and figure.get("value") is not None:
        low, high = figure["ci"]
        yield Paragraph(
            f"What a model made of these labels reaches on the holdout: balanced accuracy "
            f"{100 * figure['value']:.1f} % ({100 * low:.1f} to {100 * high:.1f}, "
            f"n = {figure['n']:,}), run {run['id']}."
        )


def _known_limits(found: Facts) -> Iterator[str]:
    if found.usable > found.labeled:
        yield f"{_n(found.usable - found.labeled, 'usable image')} have no label."
    small = [f"{name} ({n:,})" for name, n in found.labels.items() if n < FEW]
    if small and found.labeled:
        yield f"Fewer than {FEW} labels: {', '.join(small)}. Figures for these classes are wide."
    ratio = census.imbalance_ratio(found.labels)
    if ratio is not None and ratio > SKEWED:
        yield (
            f"The classes are uneven ({ratio:.0f} to 1): a model trained without a remedy will "
            "favour the large ones."
        )
    if unconfirmed := found.origins.get("import", 0):
        yield f"{_n(unconfirmed, 'label')} came with an import and were not confirmed by people."
    if wrong := found.issues.get("wrong-label", 0):
        yield f"{_n(wrong, 'label')} look wrong and have not been settled."
    if found.rounds:
        yield (
            "Images outside the reserve were chosen by a model: their shares of classes and slices "
            "are not those of the whole, and models must not be judged on them."
        )
    if not found.looked:
        yield "Copies were not looked for, so the parts of a split may share pictures."
    if not any(source.license for source in found.sources):
        yield "No source states a licence: who may use the images is not known."
    if not {column.lower() for column in found.columns} & set(CONSENT_COLUMNS):
        yield "No consent of depicted people is recorded."


def _distribution(found: Facts) -> Iterator[Block]:
    licenses = sorted({source.license or "not stated" for source in found.sources})
    yield Paragraph(f"Licence of the images: {', '.join(licenses) or 'not stated'}.")
    yield Paragraph(
        "Exports leave out EXIF data, GPS positions and comments unless they were asked for. "
        "Annotators are counted here and not named."
    )


def _versions(found: Facts) -> Iterator[Block]:
    header = found.snapshot.header
    yield Paragraph(
        f"This card describes snapshot {found.snapshot.id} (SHA-256 {header['sha256']}), written "
        f"by labelloop {header['labelloop']}."
    )
    rows = [
        (
            one.id,
            f"{datetime.fromisoformat(one.header['created_at']):%Y-%m-%d %H:%M}",
            one.header["parent"] or "",
            f"{one.header['images']:,}",
            f"{one.header.get('labels', one.header['images']):,}",
        )
        for one in found.versions[-10:]
    ]
    head = ("snapshot", "made (UTC)", "from", "images", "labels")
    yield Grid(head, tuple(rows), numbers=3)
