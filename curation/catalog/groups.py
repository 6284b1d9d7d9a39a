"""Pairs of images of which one was made from the other, and the groups that follow from them.

A group is that of its images' pixels, until it is merged into another: `group_merges` says where
the images of such pixels belong, also those that are added later.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    delete,
    insert,
    or_,
    select,
    update,
)

from curation.catalog import labels
from curation.catalog.bulk import batched, insert_new
from curation.catalog.images import draw
from curation.catalog.schema import group_merges, groups, image_pairs, images, projects

Verdict = Literal["copy", "not-copy"]
Origin = Literal["detector", "person"]

_AT_ONCE = 10_000


@dataclass(frozen=True)
class Pair:
    """Two images that were compared.

    Attributes:
        first_id: the smaller of the two image ids.
        second_id: the larger one.
        score: 0 to 1, how surely one is a copy of the other.
        change: what was done to the one to get the other, such as `mirrored, cropped to 90 %`.
        verdict: a person's outranks the detector's.
        origin: who said so.
    """

    first_id: int
    second_id: int
    score: float
    change: str = ""
    verdict: Verdict = "copy"
    origin: Origin = "detector"


def replace_pairs(connection: Connection, project_id: int, pairs: Iterable[Pair]) -> int:
    """Writes what the detector found in place of what it found before.

    Pairs that a person has judged stay as they are.

    Returns:
        How many pairs were given.
    """
    connection.execute(
        delete(image_pairs).where(
            image_pairs.c.project_id == project_id, image_pairs.c.origin == "detector"
        )
    )
    given = 0
    for batch in batched(pairs):
        insert_new(
            connection,
            image_pairs,
            [
                {
                    "project_id": project_id,
                    "first_id": min(int(pair.first_id), int(pair.second_id)),
                    "second_id": max(int(pair.first_id), int(pair.second_id)),
                    "score": float(pair.score),
                    "change": pair.change,
                    "verdict": pair.verdict,
                    "origin": "detector",
                }
                for pair in batch
            ],
        )
        given += len(batch)
    return given


def judge(
    connection: Connection, project_id: int, first: int, second: int, verdict: Verdict
) -> None:
    """Writes down what a person says of two images; it outlives every later look.

    The groups follow when they are made the next time.

    Args:
        first: one image's id.
        second: the other's.
        verdict: `copy` or `not-copy`.
    """
    first, second = sorted((first, second))
    here = and_(image_pairs.c.first_id == first, image_pairs.c.second_id == second)
    said = {"verdict": verdict, "origin": "person"}
    if connection.execute(update(image_pairs).where(here).values(**said)).rowcount:
        return
    connection.execute(
        insert(image_pairs).values(
            project_id=project_id,
            first_id=first,
            second_id=second,
            score=1.0 if verdict == "copy" else 0.0,
            **said,
        )
    )


def pairs(
    connection: Connection,
    project_id: int,
    *,
    verdict: Verdict | None = "copy",
    origin: Origin | None = None,
    image_id: int | None = None,
) -> Iterator[Pair]:
    """Pairs in the order of their ids, read as they are asked for.

    Args:
        verdict: `None` for both.
        origin: `None` for both.
        image_id: only pairs that this image is one of.
    """
    names = tuple(Pair.__dataclass_fields__)
    query = select(*(image_pairs.c[name] for name in names)).where(
        image_pairs.c.project_id == project_id
    )
    if verdict is not None:
        query = query.where(image_pairs.c.verdict == verdict)
    if origin is not None:
        query = query.where(image_pairs.c.origin == origin)
    if image_id is not None:
        here = or_(image_pairs.c.first_id == image_id, image_pairs.c.second_id == image_id)
        query = query.where(here)
    last = (0, 0)
    while True:
        beyond = or_(
            image_pairs.c.first_id > last[0],
            and_(image_pairs.c.first_id == last[0], image_pairs.c.second_id > last[1]),
        )
        rows = connection.execute(
            query.where(beyond)
            .order_by(image_pairs.c.first_id, image_pairs.c.second_id)
            .limit(_AT_ONCE)
        ).all()
        for row in rows:
            yield Pair(**row._mapping)
        if len(rows) < _AT_ONCE:
            return
        last = (rows[-1].first_id, rows[-1].second_id)


def regroup(connection: Connection, project_id: int, components: Sequence[Sequence[int]]) -> int:
    """Makes each component one group; every other image goes back to the group of its own pixels.

    Images with the same pixels always stay together, so components that share pixels become one.
    The group of the image with the smallest id is the one the others join. Its random number is
    theirs too, so that a group's chance to join the reserve does not grow with its size; members
    of the reserve keep their number, which is their place in its order.

    Args:
        components: image ids; nothing at all undoes every merge.

    Returns:
        How many images are in another group than before.
    """
    wanted = _merges(_own_groups(connection, components), components)
    known = {
        row.group_id: row.into_id
        for row in connection.execute(
            select(group_merges.c.group_id, group_merges.c.into_id).where(
                group_merges.c.project_id == project_id
            )
        )
    }
    changed = [key for key in known.keys() | wanted.keys() if known.get(key) != wanted.get(key)]
    for batch in batched(changed):
        connection.execute(delete(group_merges).where(group_merges.c.group_id.in_(batch)))
        rows = [
            {"project_id": project_id, "group_id": key, "into_id": wanted[key]}
            for key in batch
            if key in wanted
        ]
        if rows:
            connection.execute(insert(group_merges), rows)
    return _move(connection, project_id, sorted({known.get(key, key) for key in changed}), wanted)


def _own_groups(connection: Connection, components: Sequence[Sequence[int]]) -> dict[int, int]:
    """The groups of the images' own pixels; none for images that could never be decoded."""
    found: dict[int, int] = {}
    for batch in batched(key for members in components for key in members):
        rows = connection.execute(
            select(images.c.id, groups.c.id.label("group_id"))
            .join(groups, _of_its_pixels())
            .where(images.c.id.in_([int(key) for key in batch]))
        )
        found.update({row.id: row.group_id for row in rows})
    return found


def _of_its_pixels() -> ColumnElement[bool]:
    return and_(groups.c.project_id == images.c.project_id, groups.c.key == images.c.pixel_hash)


def _merges(own: dict[int, int], components: Sequence[Sequence[int]]) -> dict[int, int]:
    """Which groups go into which other ones."""
    parents: dict[int, int] = {}

    def root(key: int) -> int:
        while (parent := parents.setdefault(key, key)) != key:
            parents[key] = parents[parent]
            key = parent
        return key

    first: dict[int, int] = {}  # the smallest id of the images that each group was named by
    for members in components:
        known = [int(key) for key in members if int(key) in own]
        for key in known:
            first[own[key]] = min(first.get(own[key], key), key)
            parents[root(own[key])] = root(own[known[0]])
    leaders: dict[int, int] = {}
    for key, image_id in first.items():
        top = root(key)
        if top not in leaders or image_id < first[leaders[top]]:
            leaders[top] = key
    return {key: leaders[root(key)] for key in first if leaders[root(key)] != key}


def _move(
    connection: Connection, project_id: int, affected: Sequence[int], merges: dict[int, int]
) -> int:
    """Puts the images of the affected groups where the merges say."""
    seed = connection.scalar(select(projects.c.seed).where(projects.c.id == project_id)) or 0
    keys: dict[int, str] = {}
    for batch in batched({*affected, *merges.values()}):
        found = connection.execute(select(groups.c.id, groups.c.key).where(groups.c.id.in_(batch)))
        keys.update({row.id: row.key for row in found})
    moved: list[int] = []
    for batch in batched(affected):
        rows = connection.execute(
            select(
                images.c.id,
                images.c.group_id,
                groups.c.id.label("own"),
                groups.c.key,
            )
            .join(groups, _of_its_pixels())
            .where(images.c.group_id.in_(batch))
        ).all()
        targets = {row.id: merges.get(row.own, row.own) for row in rows}
        keys.update({row.own: row.key for row in rows})
        news = [
            {
                "image": row.id,
                "target": targets[row.id],
                "number": draw(seed, keys[targets[row.id]]),
            }
            for row in rows
            if targets[row.id] != row.group_id
        ]
        for part in batched(news):
            connection.execute(_SET_GROUP, part)
        moved += [one["image"] for one in news]
    labels.mend(connection, moved)
    return len(moved)


_SET_GROUP = (
    update(images)
    .where(images.c.id == bindparam("image"))
    .values(
        group_id=bindparam("target"),
        draw=case((images.c.reserve.is_(None), bindparam("number")), else_=images.c.draw),
    )
)
