"""A labeling quota: what a round chooses first, so that the rarest get labels sooner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curation.balance import census
from curation.balance.census import NO_VALUE
from curation.balance.plan import LABELING_QUOTA, Options, Plan
from curation.catalog import counts, plans
from curation.catalog import images as image_rows
from curation.errors import InputError
from curation.progress import Report
from curation.workspace import Project


@dataclass(frozen=True)
class Quota:
    """What a round chooses first.

    Attributes:
        plan: its id.
        column: a metadata column; empty where it is the predicted class that counts.
        shares: of the batch, by value of the column or name of the class, as they were planned.
        poured: part of the batch that each round pours anew, by the labels there are then; none
            where the shares are fixed.
    """

    plan: int
    column: str
    shares: dict[str, float]
    poured: float | None

    def of_batch(
        self, count: int, *, now: Mapping[str, int], room: Mapping[str, int]
    ) -> dict[str, int]:
        """How many of a batch of `count` each name gets, as far as the pool holds them.

        Args:
            count: size of the batch.
            now: labels by name.
            room: images of the pool by name.
        """
        if self.poured is not None:
            here = {name: n for name, n in now.items() if room.get(name)}
            return pour(here, round(self.poured * count), room)
        wanted = apportion(self.shares, count, now=now)
        return {name: min(n, room.get(name, 0)) for name, n in wanted.items()}


def apportion(shares: Mapping[str, float], count: int, *, now: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers of `count` by largest remainder: small shares are not all rounded away.

    Args:
        shares: of the count, summing to at most 1.
        count: how many there are to give.
        now: labels by name; of equal remainders the name with fewest comes first.

    >>> apportion({"a": 0.25, "b": 0.25, "c": 0.25}, 2, now={"a": 5})
    {'a': 0, 'b': 1, 'c': 1}
    """
    exact = {name: round(share * count, 3) for name, share in shares.items()}
    given = {name: int(n) for name, n in exact.items()}
    rest = round(sum(exact.values())) - sum(given.values())
    nearest = sorted(
        exact, key=lambda name: (round(given[name] - exact[name], 3), now.get(name, 0))
    )
    for name in nearest[:rest]:
        given[name] += 1
    return given


def labeling_quota(project: Project, options: Options, _report: Report) -> Plan:
    """A part of each batch is chosen among images of the classes, or slices, with fewest labels.

    The part is poured over the least labeled ones, so that each image goes to whichever has the
    fewest by then. Classes are those that the round's model predicts; each round pours anew.
    """
    if not 0 < options.share <= 1:
        raise InputError(f"--share is {options.share:g}; give a part of the batch, such as 0.5.")
    count = round(options.share * options.budget)
    if options.budget < 1 or count < 1:
        raise InputError(
            f"--share {options.share:g} of a batch of {options.budget} is not one image. Raise one "
            "of them."
        )
    now, left = _slices(project, options.by) if options.by else _classes(project)
    open_to = {name: now[name] for name in now if left.get(name)}
    if not open_to:
        raise InputError(
            "The pool is empty, so there is nothing to choose from. Import more images."
        )
    most = max(now.values())
    lacking = [name for name in now if not left.get(name) and now[name] < most]
    if lacking and min(open_to.values()) == most:
        raise InputError(
            f"The pool holds no images of {', '.join(lacking)}, only of those that have the most "
            "labels. Import more of these."
        )
    given = pour(open_to, count, left)
    noun = f"slices of {options.by}" if options.by else "predicted classes"
    says = [
        f"About {sum(given.values()):,} of {options.budget:,} images of a batch come from "
        f"{noun}: " + ", ".join(f"{name} {n}" for name, n in given.items()) + "."
    ]
    if sum(given.values()) < count:
        says.append(f"The pool holds no more of them: {count:,} were asked for.")
    if lacking:
        says.append(f"None is left in the pool of: {', '.join(lacking)}. Import more of these.")
    says.append("Each round does so anew, by the labels there are then, until it is cleared.")
    settings = {
        "remedy": "labeling-quota",
        "by": options.by or "class",
        "column": options.by or None,
        "share": options.share,
        "poured": True,
        "budget": options.budget,
        "quota": {name: round(n / options.budget, 6) for name, n in given.items()},
    }
    before = {name: float(n) for name, n in now.items()}
    after = {name: n + given.get(name, 0) for name, n in before.items()}
    return Plan(LABELING_QUOTA, settings, before, after, tuple(says))


def pour(levels: Mapping[str, int], count: int, room: Mapping[str, int]) -> dict[str, int]:
    """Gives `count` one after the other to whichever level is lowest and has room.

    Args:
        levels: what each holds now.
        count: how many there are to give.
        room: how many more each can take.

    >>> pour({"a": 1, "b": 4, "c": 9}, 5, {"a": 9, "b": 9, "c": 9})
    {'a': 4, 'b': 1}
    """
    level, given = dict(levels), dict.fromkeys(levels, 0)
    for _ in range(count):
        takers = [name for name in level if given[name] < room[name]]
        if not takers:
            break
        lowest = min(takers, key=lambda name: level[name])
        level[lowest] += 1
        given[lowest] += 1
    return {name: n for name, n in given.items() if n}


def _classes(project: Project) -> tuple[dict[str, int], dict[str, int]]:
    """Labels by class, and images of the pool by predicted class."""
    names = dict(zip(project.record.class_ids, project.record.classes, strict=True))
    with project.catalog.read() as connection:
        now = census.take(connection, project).training
        seen = counts.predicted(connection, project.id)
    if not seen:
        raise InputError(
            "A quota by class needs a model that predicts the pool, and there is none yet. Run "
            "`labelloop round`, or give a quota by slice: --by COLUMN."
        )
    return now, {names[key]: n for (key, _), n in seen.items()}


def _slices(project: Project, column: str) -> tuple[dict[str, int], dict[str, int]]:
    """Labels and images of the pool by slice."""
    with project.catalog.read() as connection:
        census.check_column(connection, project, column)
        now = dict.fromkeys(counts.usable(connection, project.id, column=column), 0)
        now |= counts.in_slices(connection, project.id, column=column)
        left = counts.pool_slices(connection, project.id, column=column)
    return (
        {value or NO_VALUE: n for value, n in now.items()},
        {value or NO_VALUE: n for value, n in left.items()},
    )


def in_force(project: Project) -> Quota | None:
    """The labeling quota in force, or none."""
    with project.catalog.read() as connection:
        found = plans.in_force(connection, project.id).get(LABELING_QUOTA)
    if not found:
        return None
    poured = found["share"] if found.get("poured") else None
    return Quota(found["id"], found.get("column") or "", dict(found["quota"]), poured)


def slices_of(project: Project, column: str, image_ids: Sequence[int]) -> list[str]:
    """The slice of each of these images, named as a quota names it."""
    with project.catalog.read() as connection:
        known = image_rows.metadata_of_many(connection, image_ids)
    return [known.get(key, {}).get(column, "") or NO_VALUE for key in image_ids]
