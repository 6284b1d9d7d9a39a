"""The images of a project as arrays: what they are in, what ties them together, what they bear."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curation.catalog import Connection
from curation.catalog import splits as split_rows
from curation.errors import InputError
from curation.progress import Report, silent
from curation.splits.division import Components, Ints, Parts
from curation.splits.settings import BY_LABEL, BY_NOTHING
from curation.workspace import Project

RESERVES = ("calibration", "holdout")
_NONE = -1
_REPORTED = 50_000


@dataclass(frozen=True)
class Members:
    """N images that have a part or may get one, in the order of their ids.

    Attributes:
        ids: (N,) image ids.
        groups: (N,) groups of near-duplicates.
        draws: (N,) the groups' random numbers.
        reserve: (N,) number in `RESERVES`, -1 for none.
        part: (N,) number in `names`, -1 for none.
        noted: (N,) whether the catalog notes the image as left out of its part.
        usable: (N,) whether the image is neither excluded nor unreadable.
        names: of the parts.
        component: (N,) which images hang together, numbers below `components`.
        components: how many there are.
    """

    ids: Ints
    groups: Ints
    draws: Ints
    reserve: npt.NDArray[np.int8]
    part: Parts
    noted: npt.NDArray[np.bool_]
    usable: npt.NDArray[np.bool_]
    names: tuple[str, ...]
    component: Ints
    components: int

    def rows_of(self, ids: Ints) -> Ints:
        """(n,) rows of these images, -1 for those that are not here."""
        if not len(self.ids):
            return np.full(len(ids), _NONE, np.int64)
        rows = np.searchsorted(self.ids, ids).clip(max=len(self.ids) - 1)
        return np.where(self.ids[rows] == ids, rows, _NONE)

    def sizes(self) -> Ints:
        """(K,) images of each component."""
        return np.bincount(self.component, minlength=self.components)

    def least_draw(self) -> Ints:
        """(K,) the smallest random number of each component."""
        found = np.full(self.components, np.iinfo(np.int64).max)
        np.minimum.at(found, self.component, self.draws)
        return found

    def staying(self) -> Parts:
        """(K,) the most held-out part of each component, -1 where no image has one yet."""
        return foremost(self.component, self.components, self.part, self.names)

    def left_out(self) -> npt.NDArray[np.bool_]:
        """(N,) images whose component also lies in a part that is held out more."""
        elsewhere = self.part != self.staying()[self.component]
        return np.asarray((self.part >= 0) & elsewhere)


def foremost(keys: Ints, count: int, part: Parts, names: Sequence[str]) -> Parts:
    """(count,) the most held-out part among the images of each key, -1 for none.

    Args:
        keys: (N,) numbers below `count`.
        count: how many keys there are.
        part: (N,) numbers in `names`, -1 for none.
        names: of the parts.
    """
    order = sorted(range(len(names)), key=lambda number: split_rows.rank(names[number]))
    place_of = np.empty(len(names) + 1, np.int16)
    place_of[order] = np.arange(len(names))
    place_of[_NONE] = len(names)
    places = np.full(count, len(names), np.int16)
    np.minimum.at(places, keys, place_of[part])
    return np.array([*order, _NONE], np.int16)[places]


def read(
    project: Project,
    connection: Connection,
    split_id: int | None,
    *,
    by: Sequence[str] = (),
    parts: Sequence[str] = (),
    report: Report = silent,
) -> Members:
    """Reads them.

    Args:
        project: whose images they are.
        connection: a transaction that sees one state.
        split_id: of the split; none for one that is not there yet.
        by: metadata columns whose values tie images together.
        parts: names that come first among the parts.
        report: told of the progress.

    Raises:
        InputError: there is no column of such a name.
    """
    check_columns(project, connection, by)
    ids, groups, draws = array("q"), array("q"), array("q")
    reserve, part, noted, usable = array("b"), array("h"), array("b"), array("b")
    numbers: dict[str, int] = {name: number for number, name in enumerate(parts)}
    for done, row in enumerate(split_rows.members(connection, project.id, split_id), 1):
        ids.append(row.image_id)
        groups.append(row.group_id)
        draws.append(row.draw)
        reserve.append(RESERVES.index(row.reserve) if row.reserve else _NONE)
        part.append(numbers.setdefault(row.part, len(numbers)) if row.part else _NONE)
        noted.append(row.left_out)
        usable.append(row.usable)
        if not done % _REPORTED:
            report(done, 0, "images")
    found = Members(
        ids=np.frombuffer(ids, np.int64),
        groups=np.frombuffer(groups, np.int64),
        draws=np.frombuffer(draws, np.int64),
        reserve=np.frombuffer(reserve, np.int8),
        part=np.frombuffer(part, np.int16),
        noted=np.frombuffer(noted, np.int8).astype(bool),
        usable=np.frombuffer(usable, np.int8).astype(bool),
        names=tuple(numbers),
        component=np.zeros(len(ids), np.int64),
        components=0,
    )
    ties = [found.groups] + [_codes(found, connection, project.id, key) for key in by]
    count, component = _tied_together(ties)
    return replace(found, component=component, components=count)


def check_columns(project: Project, connection: Connection, columns: Sequence[str]) -> None:
    """Whether the images have metadata of these names.

    Raises:
        InputError: there is no column of such a name.
    """
    known = split_rows.columns(connection, project.id) if columns else []
    for column in columns:
        if column not in known:
            there = f"The columns are {', '.join(known)}." if known else "There is none at all."
            raise InputError(f"No image has the column {column!r}. {there}")


def _codes(found: Members, connection: Connection, project_id: int, key: str) -> Ints:
    """(N,) a number for each value of a column, -1 for none."""
    codes = np.full(len(found.ids), _NONE, np.int64)
    ids, numbers = array("q"), array("q")
    before, number = "", 0
    for image_id, value in split_rows.values_of(connection, project_id, key):
        number += value != before
        before = value
        ids.append(image_id)
        numbers.append(number)
    rows = found.rows_of(np.frombuffer(ids, np.int64))
    codes[rows[rows >= 0]] = np.frombuffer(numbers, np.int64)[rows >= 0]
    return codes


def _tied_together(ties: Sequence[Ints]) -> tuple[int, Ints]:
    """How many components there are, and that of each image (N,): those with a code in common.

    Args:
        ties: of each kind of tie (N,) codes, below 0 for none; the first has one for all images.
    """
    _, first = np.unique(ties[0], return_inverse=True)
    nodes = int(first.max(initial=-1)) + 1
    if len(ties) == 1 or not nodes:
        return nodes, first.astype(np.int64)
    starts: list[Ints] = [np.arange(nodes)]
    ends: list[Ints] = [np.arange(nodes)]
    total = nodes
    for codes in ties[1:]:
        rows = np.flatnonzero(codes >= 0)
        values, value = np.unique(codes[rows], return_inverse=True)
        starts.append(first[rows])
        ends.append(total + value)
        total += len(values)
    start, end = np.concatenate(starts), np.concatenate(ends)
    edges = coo_array((np.ones(len(start), bool), (start, end)), shape=(total, total))
    _, labels = connected_components(edges, directed=False)
    _, labels = np.unique(labels[:nodes], return_inverse=True)
    return int(labels.max()) + 1, labels[first].astype(np.int64)


@dataclass(frozen=True)
class Strata:
    """What the parts are to resemble each other in.

    Attributes:
        rows: (M,) rows of `Members`; an image of several classes has several.
        strata: (M,) number of its stratum.
        count: S, how many there are.
    """

    rows: Ints
    strata: Ints
    count: int

    def components(self, members: Members, among: npt.NDArray[np.bool_]) -> Components:
        """The components of some images (N,) with what they hold, as they are divided."""
        here = among[self.rows]
        keys = members.component[self.rows[here]], self.strata[here]
        shape = (members.components, max(self.count, 1))
        counts: Any = coo_array((np.ones(len(keys[0]), np.int64), keys), shape=shape).tocsr()
        counts.sum_duplicates()
        sizes = np.bincount(members.component[among], minlength=members.components)
        return Components(sizes, counts)


def label_pairs(project: Project, connection: Connection, members: Members) -> tuple[Ints, Ints]:
    """Rows and class numbers of all labels; the number behind the last class is a label of none."""
    numbers: dict[int | None, int] = {
        key: number for number, key in enumerate(project.record.class_ids)
    }
    nothing = len(numbers)
    ids, classes = array("q"), array("q")
    for image_id, class_id in split_rows.classes_of(connection, project.id):
        ids.append(image_id)
        classes.append(numbers.get(class_id, nothing))
    rows = members.rows_of(np.frombuffer(ids, np.int64))
    return rows[rows >= 0], np.frombuffer(classes, np.int64)[rows >= 0]


def strata(
    project: Project,
    connection: Connection,
    members: Members,
    labels: tuple[Ints, Ints],
    *,
    by: str,
    parts: int,
) -> Strata:
    """The strata of all images; those without a label, or a value, are one of their own.

    Args:
        project: whose images they are.
        connection: a transaction that sees one state.
        members: N images.
        labels: as `label_pairs` gives them.
        by: `label`, `none` or a metadata column.
        parts: how many there will be.

    Raises:
        InputError: there is no such column, or it has nearly as many values as there are images.
    """
    everybody = np.arange(len(members.ids))
    if by == BY_NOTHING:
        return Strata(everybody, np.zeros(len(everybody), np.int64), 1)
    if by == BY_LABEL:
        rows, numbers = labels
        count = len(project.record.classes) + 2
        bare = np.setdiff1d(everybody, rows)
        without = np.full(len(bare), count - 1)
        return Strata(np.concatenate([rows, bare]), np.concatenate([numbers, without]), count)
    check_columns(project, connection, [by])
    codes = _codes(members, connection, project.id, by)
    values, numbers = np.unique(codes, return_inverse=True)
    if len(values) * parts > len(codes):
        raise InputError(
            f"The column {by!r} has {len(values):,} values in {len(codes):,} images: too many to "
            f"have each in {parts} parts. Name another one, or --stratify none."
        )
    return Strata(everybody, numbers.astype(np.int64), len(values))


def as_rows(members: Members, ids: Iterable[int]) -> Ints:
    """Rows of those of these images that are here."""
    rows = members.rows_of(np.fromiter(ids, np.int64))
    return rows[rows >= 0]
