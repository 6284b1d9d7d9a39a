"""Splits: train, validation and test, or folds, that resemble each other and do not leak.

Near-duplicates and images with the same value of chosen columns stay together. A split is frozen:
images keep their part, later ones join by the part of what they belong to, or else by a hash.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from curation.catalog import splits as split_rows
from curation.catalog.splits import DEFAULT
from curation.errors import InputError, NotFound
from curation.progress import Report, silent
from curation.splits import making, placing
from curation.splits import members as member_rows
from curation.splits.check import Finding, Split, describe
from curation.splits.division import Ints
from curation.splits.making import assign, join, remove
from curation.splits.settings import Asked, Settings, from_json, parse_shares
from curation.workspace import Project

__all__ = [
    "Finding",
    "Fold",
    "Settings",
    "Split",
    "assign",
    "check",
    "folds",
    "join",
    "parse_shares",
    "parts",
    "remove",
]


@dataclass(frozen=True)
class Fold:
    """One fold of a cross-validation.

    Attributes:
        name: of the fold, such as `fold-1`.
        train: (n,) ids of the images to learn from.
        test: (m,) ids of those to be judged by.
    """

    name: str
    train: Ints
    test: Ints


def parts(project: Project, name: str = DEFAULT) -> Iterator[tuple[int, str]]:
    """Every usable image of a split with its part, in the order of ids, read page by page.

    An image is `left-out` where what it belongs together with lies in a part that is held out more.

    Raises:
        NotFound: there is no split of this name.
    """
    with project.catalog.read() as connection:
        if split_rows.find(connection, project.id, name) is None:
            raise NotFound(f"There is no split {name!r}. {making.there_are(connection, project)}")
        for page in split_rows.pages(connection, project.id, name):
            yield from page


def folds(project: Project, name: str = DEFAULT) -> Iterator[Fold]:
    """The folds of a split one by one, each with the images of all others to learn from.

    Raises:
        NotFound: there is no split of this name.
        InputError: it has no folds.
    """
    with project.catalog.read() as connection:
        split = split_rows.find(connection, project.id, name)
    if split is not None and not from_json(split.settings).folds:
        raise InputError(
            f"The split {name!r} has train, validation and test, no folds. Make one of folds with "
            "`labelloop split --folds 5 --name folds`."
        )
    numbers: dict[str, int] = {}
    pairs = (
        (key, numbers.setdefault(part, len(numbers)))
        for key, part in parts(project, name)
        if part != split_rows.LEFT_OUT
    )
    table = np.fromiter(pairs, np.dtype([("id", np.int64), ("fold", np.int16)]))
    for part in sorted(numbers, key=split_rows.rank):
        held = table["fold"] == numbers[part]
        yield Fold(part, table["id"][~held], table["id"][held])


def check(
    project: Project,
    *,
    name: str = DEFAULT,
    by: Sequence[str] | None = None,
    imported: bool = False,
    report: Report = silent,
) -> Split:
    """Says of a split what is in its parts, which classes are absent, and what leaks.

    Args:
        project: whose images they are.
        name: of the split; where there is no `default` one, the imported split is looked at.
        by: metadata columns whose values should not lie in two parts; those of the split if none.
        imported: look at the imported split in any case.
        report: told of the progress.

    Raises:
        NotFound: there is neither such a split nor an imported one.
        InputError: there is no column of such a name.
    """
    with project.catalog.read() as connection:
        split = None if imported else split_rows.find(connection, project.id, name)
        if split is None and name != DEFAULT and not imported:
            raise NotFound(f"There is no split {name!r}. {making.there_are(connection, project)}")
        settings = Asked(imported=True).settings() if split is None else from_json(split.settings)
        if by is not None:
            settings = replace(settings, by=tuple(by))
        found = member_rows.read(
            project,
            connection,
            split.id if split else None,
            by=settings.by,
            parts=tuple(settings.shares),
            report=report,
        )
        if split is None:
            try:
                part, found, settings = placing.imported_parts(
                    project, found, settings, report=report
                )
            except InputError as error:
                if imported:
                    raise
                raise NotFound(
                    f"There is no split {name!r} yet, nor did the images come with one. Make one "
                    "with `labelloop split`."
                ) from error
            found = replace(found, part=part)
        return describe(
            project,
            connection,
            found,
            member_rows.label_pairs(project, connection, found),
            name="imported" if split is None else name,
            settings=settings,
            stored=split is not None,
            said=placing.waiting(found, settings),
        )
