"""What can be said of a split: sizes, classes of each part, and what lies in two parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from curation.catalog import Connection
from curation.catalog import images as image_rows
from curation.catalog import issues as issue_rows
from curation.splits.division import Ints
from curation.splits.members import RESERVES, Members
from curation.splits.settings import Settings
from curation.workspace import Project

LISTED = 20
EXAMPLES = 5
NOTABLE = 0.05
"""How far a part's share may be from the one asked for before it is said."""


@dataclass(frozen=True)
class Finding:
    """Something about a split that its user should know.

    Attributes:
        kind: leak, reserve, chosen, no-part, share, copies, unlabeled or class-absent.
        says: one sentence.
        images: names of examples.
        counts: of images by part, where that is the point.
    """

    kind: str
    says: str
    images: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Split:
    """A split as it stands, or as it would be. Excluded images keep their part and do not count.

    Attributes:
        name: of the split.
        settings: by which later images join it.
        stored: whether the catalog holds it.
        images: how many have a part.
        joined: how many of them got it just now.
        components: how many sets of images that stay together they are.
        parts: images by part.
        labeled: labeled images by part.
        classes: labeled images by part and class.
        leaks: how many components lie in more than one part.
        left_out: how many images are therefore read as `left-out`.
        findings: the most serious first; of the leaks at most `LISTED`.
    """

    name: str
    settings: Settings
    stored: bool
    images: int
    joined: int
    components: int
    parts: Mapping[str, int]
    labeled: Mapping[str, int]
    classes: Mapping[str, Mapping[str, int]]
    leaks: int
    left_out: int
    findings: tuple[Finding, ...]


def describe(
    project: Project,
    connection: Connection,
    members: Members,
    labels: tuple[Ints, Ints],
    *,
    name: str,
    settings: Settings,
    stored: bool = True,
    joined: int = 0,
    said: Sequence[Finding] = (),
) -> Split:
    """Says what is in the parts that the images have.

    Args:
        project: whose images they are.
        connection: a transaction that sees one state.
        members: with their parts.
        labels: as `members.label_pairs` gives them.
        name: of the split.
        settings: of the split.
        stored: whether the catalog holds it.
        joined: how many images got their part just now.
        said: findings of whoever made it.
    """
    has = (members.part >= 0) & members.usable
    parts = _by_part(members, np.flatnonzero(has))
    parts = {part: n for part, n in parts.items() if n or settings.shares.get(part)}
    labeled = _by_part(members, np.unique(labels[0][has[labels[0]]]))
    table = {
        part: row for part, row in _classes(project, members, labels, has).items() if part in parts
    }
    left_out = members.left_out() & has
    leaking = np.unique(members.component[left_out])
    findings = (
        *_leaks(connection, members, leaking, settings),
        *_reserve(members),
        *said,
        *_shares(parts, settings),
        *_unsought(project, connection),
        *_unlabeled(parts, labeled),
        *_absent(project, {part: row for part, row in table.items() if labeled[part]}),
    )
    return Split(
        name=name,
        settings=settings,
        stored=stored,
        images=int(has.sum()),
        joined=joined,
        components=len(np.unique(members.component[has])),
        parts=parts,
        labeled={part: labeled[part] for part in parts},
        classes={
            part: dict(zip(project.record.classes, row, strict=True)) for part, row in table.items()
        },
        leaks=len(leaking),
        left_out=int(left_out.sum()),
        findings=findings,
    )


def _by_part(members: Members, rows: Ints) -> dict[str, int]:
    counts = np.bincount(members.part[rows], minlength=len(members.names))
    return dict(zip(members.names, counts.tolist(), strict=True))


def _classes(
    project: Project, members: Members, labels: tuple[Ints, Ints], has: npt.NDArray[np.bool_]
) -> dict[str, list[int]]:
    """Labeled images of each class by part, of those that count."""
    rows, numbers = labels
    here = has[rows] & (numbers < len(project.record.classes))
    table = np.zeros((len(members.names), len(project.record.classes)), np.int64)
    np.add.at(table, (members.part[rows[here]], numbers[here]), 1)
    return dict(zip(members.names, table.tolist(), strict=True))


def _leaks(
    connection: Connection, members: Members, leaking: Ints, settings: Settings
) -> list[Finding]:
    """Components in more than one part, those with most images first."""
    listed = leaking[np.argsort(-members.sizes()[leaking], kind="stable")][:LISTED]
    found = []
    for component in listed.tolist():
        rows = np.flatnonzero((members.component == component) & (members.part >= 0))
        counts = {part: n for part, n in _by_part(members, rows).items() if n}
        stays = members.names[members.staying()[component]]
        examples = image_rows.names_by_id(connection, _examples(members, rows))
        where = " and ".join(f"{n:,} in {part}" for part, n in counts.items())
        out = sum(n for part, n in counts.items() if part != stays)
        why = _tie(members, rows, settings)
        says = f"{why} lie in several parts: {where}; the {out:,} outside {stays} are left out."
        found.append(Finding("leak", says, tuple(examples.values()), counts))
    return found


def _examples(members: Members, rows: Ints) -> list[int]:
    """Ids of a few of these images, from each part the first ones."""
    each = [rows[members.part[rows] == part] for part in np.unique(members.part[rows])]
    most = max(EXAMPLES // len(each), 1)
    found = np.concatenate([members.ids[some[:most]] for some in each])[:EXAMPLES]
    return [int(key) for key in found]


def _tie(members: Members, rows: Ints, settings: Settings) -> str:
    alike = len(np.unique(members.groups[rows])) == 1
    return "Copies of one picture" if alike else f"Images with the same {' or '.join(settings.by)}"


def _reserve(members: Members) -> list[Finding]:
    """Images of the reserve that share a component with the other half, or lie elsewhere."""
    if "test" not in members.names:
        return []
    halves = [np.unique(members.component[members.reserve == n]) for n in range(len(RESERVES))]
    both = np.intersect1d(*halves)
    if not len(both):
        return []
    says = (
        f"{len(both):,} sets of images that stay together hold both halves of the reserve, and "
        "are in test as a whole."
    )
    return [Finding("reserve", says)]


def _shares(parts: Mapping[str, int], settings: Settings) -> list[Finding]:
    """Parts whose share is not what was asked for."""
    total = sum(parts.values())
    found = []
    for part, wanted in settings.shares.items():
        share = parts.get(part, 0) / total if total else wanted
        if abs(share - wanted) > NOTABLE:
            says = (
                f"{part} holds {100 * share:.1f} % of the images, not {100 * wanted:.1f} %: images "
                "that stay together, the reserve or the numbers did not allow more."
            )
            found.append(Finding("share", says, counts={part: parts.get(part, 0)}))
    return found


def _unsought(project: Project, connection: Connection) -> list[Finding]:
    """Whether only exact copies could be kept together."""
    if "near-duplicate" in issue_rows.count_by_kind(connection, project.id):
        return []
    says = (
        "Nobody has looked for near-duplicates, so only exact copies stay together. Run "
        "`labelloop issues --kind near-duplicate` before the split."
    )
    return [Finding("copies", says)]


def _unlabeled(parts: Mapping[str, int], labeled: Mapping[str, int]) -> list[Finding]:
    """Parts in which no classes could be looked at."""
    bare = [part for part in parts if not labeled[part]]
    if not bare:
        return []
    return [Finding("unlabeled", f"No image in {' or '.join(bare)} is labeled yet.")]


def _absent(project: Project, table: Mapping[str, Sequence[int]]) -> list[Finding]:
    """Classes that are labeled, but not in every part."""
    found = []
    for number, name in enumerate(project.record.classes):
        counts = {part: row[number] for part, row in table.items()}
        missing = [part for part, n in counts.items() if not n]
        if missing and any(counts.values()):
            where = ", ".join(f"{n:,} in {part}" for part, n in counts.items() if n)
            says = f"No image of class {name} is in {' or '.join(missing)}; it has {where}."
            found.append(Finding("class-absent", says, counts=counts))
    return found
