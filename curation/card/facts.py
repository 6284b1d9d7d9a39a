"""What a data card tells, counted from one snapshot and the catalog."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from curation import snapshots
from curation.catalog import corrections, issues, provenance, rounds, runs
from curation.catalog.provenance import Agreement, Answers, Source
from curation.manifest import Entry
from curation.snapshots import Snapshot
from curation.workspace import Project

MOST_VALUES = 12
MOST_COLUMNS = 20
SAMPLES = 8
_TRACKED = 10_000
"""Values of one column that are counted; a column with more has no slices to show."""


@dataclass
class Facts:
    """One dataset in numbers.

    Attributes:
        snapshot: what was counted.
        states: images by state, excluded and quarantined ones included.
        labels: usable labeled images by class.
        labeled: usable images with a label; `empty` of them bear no class.
        boxes: boxes by class, where the task is boxes.
        parts: part of the split, then class, then usable labeled images; "" for no class.
        columns: by metadata column the images of each value, the most frequent first.
        groups: groups of two or more usable images, and how many images are in them.
        set_aside: reasons for which images are not usable, by how many.
        sizes: width and height of the smallest, the median and the largest usable image, by pixels.
        samples: names of a few usable images of each class, drawn at random but always the same.
    """

    project: Project
    snapshot: Snapshot
    states: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    labeled: int = 0
    empty: int = 0
    boxes: Counter[str] = field(default_factory=Counter)
    parts: dict[str, Counter[str]] = field(default_factory=dict)
    columns: dict[str, Counter[str]] = field(default_factory=dict)
    groups: tuple[int, int] = (0, 0)
    set_aside: Counter[str] = field(default_factory=Counter)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    samples: dict[str, list[str]] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    origins: dict[str, int] = field(default_factory=dict)
    answers: list[Answers] = field(default_factory=list)
    agreement: Agreement = field(default_factory=lambda: Agreement(0, 0))
    issues: dict[str, int] = field(default_factory=dict)
    looked: bool = False
    doubted: int = 0
    reviewed: int = 0
    rounds: list[dict[str, Any]] = field(default_factory=list)
    model: dict[str, Any] = field(default_factory=dict)
    versions: list[Snapshot] = field(default_factory=list)

    @property
    def usable(self) -> int:
        """Images that decode and are not excluded."""
        return self.states["ok"]


def gather(project: Project, snapshot: Snapshot) -> Facts:
    """Counts a snapshot's rows, and reads from the catalog what a snapshot does not hold."""
    found = Facts(project, snapshot)
    members: Counter[str] = Counter()
    shapes: Counter[tuple[int, int]] = Counter()
    draws: dict[str, list[tuple[str, str]]] = {name: [] for name in project.record.classes}
    found.labels.update(dict.fromkeys(project.record.classes, 0))
    for entry in snapshots.entries(project, snapshot):
        _count(entry, found, members, shapes)
        if entry.state == "ok":
            _draw(entry, draws)
    together = [n for n in members.values() if n > 1]
    found.groups = len(together), sum(together)
    found.sizes = _extremes(shapes)
    found.samples = {name: [image for _, image in sorted(few)] for name, few in draws.items()}
    with project.catalog.read() as connection:
        found.sources = provenance.of_images(connection, project.id)
        found.origins = provenance.of_labels(connection, project.id)
        found.answers = provenance.of_answers(connection, project.id)
        found.agreement = provenance.agreement(connection, project.id)
        found.looked = issues.was_looked(connection, project.id)
        found.issues = issues.count_by_kind(connection, project.id)
        found.doubted = provenance.count_doubted(connection, project.id)
        found.reviewed = len(corrections.reviewed(connection, project.id))
        held = rounds.every(connection, project.id)
        models = runs.every(connection, project.id)
    found.rounds = [{"round": one.number, **one.record} for one in held if one.record]
    found.model = next((run for run in reversed(models) if run["metrics"]), {})
    found.versions = snapshots.every(project)
    return found


def _count(
    entry: Entry, found: Facts, members: Counter[str], shapes: Counter[tuple[int, int]]
) -> None:
    found.states[entry.state] += 1
    if entry.state != "ok":
        found.set_aside[f"{entry.state}: {_kind(entry.reason)}"] += 1
        return
    members[entry.group] += 1
    shapes[entry.width, entry.height] += 1
    for column, value in entry.metadata.items():
        values = found.columns.setdefault(column, Counter())
        if len(values) <= _TRACKED:
            values[value] += 1
    if entry.classes is None:
        return
    found.labeled += 1
    found.empty += not entry.classes
    found.labels.update(entry.classes)
    found.boxes.update(box.label for box in entry.boxes)
    found.parts.setdefault(entry.split or "no part", Counter()).update(entry.classes or ("",))


def _draw(entry: Entry, draws: dict[str, list[tuple[str, str]]]) -> None:
    """Keeps the images whose hashes are lowest: a sample that is the same every time."""
    for name in entry.classes or ():
        few = draws[name]
        few.append((entry.sha256, entry.name))
        if len(few) > SAMPLES:
            few.remove(max(few))


def _kind(reason: str) -> str:
    """The kind of issue that a reason begins with, so that reasons with values can be counted."""
    return reason.split(":", 1)[0].strip() or "no reason given"


def _extremes(shapes: Counter[tuple[int, int]]) -> list[tuple[int, int]]:
    ordered = sorted(shapes, key=lambda shape: (shape[0] * shape[1], shape))
    if not ordered:
        return []
    half, seen = shapes.total() / 2, 0
    for shape in ordered:
        seen += shapes[shape]
        if seen >= half:
            return [ordered[0], shape, ordered[-1]]
    return [ordered[0], ordered[-1], ordered[-1]]


def slices(found: Facts) -> Iterator[tuple[str, Counter[str]]]:
    """The columns whose values make slices: more than one, and not one for each image."""
    shown = 0
    for column, values in found.columns.items():
        missing = found.usable - values.total()
        counts = values + Counter({"": missing}) if missing > 0 else values
        if 1 < len(counts) <= max(MOST_VALUES, found.usable // 10) and shown < MOST_COLUMNS:
            shown += 1
            yield column, counts
