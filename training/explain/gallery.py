"""The worst mistakes of a model as one HTML page that holds its pictures."""

import base64
from collections.abc import Iterator
from pathlib import Path

from curation.card import blocks
from curation.card.blocks import Block, Grid, Paragraph, Picture, Section
from curation.catalog import images as image_rows
from curation.intervals import wilson
from curation.workspace import Project
from training.explain import pictures
from training.explain.mistakes import Found, Mistake

MOST_PICTURES = 2_000
"""On one page: about 40 kB each, which a browser still opens."""


def page(project: Project, run_id: str, part: str, found: Found) -> str:
    """The page: a section a class, the class with the most mistakes first.

    It ends with the class that would take it beyond `MOST_PICTURES`, and says so.
    """
    with project.catalog.read() as connection:
        places = image_rows.places(connection, [one.image_id for one in found.worst])
        names = image_rows.names_by_id(connection, [one.image_id for one in found.worst])
    shown = {key: (Path(place.location), names[key]) for key, place in places.items()}
    order = sorted(found.of_class, key=lambda name: -found.of_class[name][0])
    sections = [Section("All classes", (Paragraph(_summary(run_id, part, found)),))]
    of_class: dict[str, list[Mistake]] = {name: [] for name in order}
    for one in found.worst:
        if one.image_id in shown:
            of_class[one.of].append(one)
    room = MOST_PICTURES
    held = [name for name in order if of_class[name]]
    for number, name in enumerate(held):
        room -= len(of_class[name])
        if room < 0:
            left = _n(len(held) - number, "class")
            says = f"{left} more would be too long a page: name one with --class, or lower --count."
            sections.append(Section("Not shown", (Paragraph(says),)))
            break
        sections.append(Section(name, tuple(_blocks(name, of_class[name], found, shown))))
    return blocks.page(f"Worst mistakes of {run_id}", sections)


def _summary(run_id: str, part: str, found: Found) -> str:
    low, high = wilson(found.wrong, found.images)
    steers = (
        " Whoever mends what is found here steers by the test part, whose figures then flatter."
        if part == "test"
        else ""
    )
    return (
        f"{run_id} is wrong about {found.wrong:,} of {found.images:,} images of {part} "
        f"({100 * found.wrong / max(1, found.images):.1f} %, {100 * low:.1f} to {100 * high:.1f}). "
        f"Shown are those that it is surest of. A wrong label looks the same: look at it, "
        f"too.{steers}"
    )


def _blocks(
    name: str, own: list[Mistake], found: Found, shown: dict[int, tuple[Path, str]]
) -> Iterator[Block]:
    wrong, labels = found.of_class[name]
    yield Paragraph(f"{_n(wrong, 'mistake')}; {_n(labels, 'image')} labeled {name}.")
    strip = pictures.strip(
        [(shown[one.image_id][0], (f"{_said(one.predicted)} {one.confidence:.2f}",)) for one in own]
    )
    data = base64.b64encode(strip).decode()
    yield Picture(f"data:image/png;base64,{data}", "Each with what the model says, and how sure.")
    rows = [
        (
            shown[one.image_id][1],
            _said(one.labels),
            _said(one.predicted),
            f"{one.confidence:.3f}",
        )
        for one in own
    ]
    yield Grid(("image", "labeled", "predicted", "confidence"), tuple(rows), numbers=3)


def _n(count: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def _said(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
