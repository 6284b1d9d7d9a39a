"""The reserve: drawn at random by group, in a fixed order, never chosen by a model.

Its order is that of `images.draw`, a hash of the project's seed and the group; what people have
answered is always a prefix of that order, and therefore a random sample of the whole.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    func,
    or_,
    select,
    true,
    union,
    update,
)

from curation.catalog import asking, labels, splits
from curation.catalog.annotations import settles
from curation.catalog.bulk import batched
from curation.catalog.schema import (
    annotations,
    annotators,
    golds,
    images,
    projects,
    round_images,
)
from curation.catalog.schema import label_classes as classes_of
from curation.records import LabelRow, Reserve, ReserveProgress, ReserveRow

SHARE = 0.2
AT_LEAST = 200
AT_MOST_SHARE = 0.5  # of a dataset too small to give 200 away
_HALVES = ("calibration", "holdout")


def freeze(connection: Connection, project_id: int) -> int:
    """Draws the reserve at its first call; later calls only let new images join it.

    An image joins if its draw is below the mark set at the first call and no member of its group is
    in the reserve, has been sent to people as part of a batch, is a gold question, or is in `train`
    of the split `default`. A split that was made before the reserve feeds it: only what it holds
    out can join, `holdout` from test and `calibration` from validation. Images without a part wait
    for one then.

    Returns:
        How many images joined.
    """
    fed = splits.feeds_reserve(connection, project_id)
    below = connection.scalar(select(projects.c.reserve_below).where(projects.c.id == project_id))
    if below is None:
        below = _mark(connection, project_id, fed=fed)
        if below is None:
            return 0
        connection.execute(
            update(projects).where(projects.c.id == project_id).values(reserve_below=below)
        )
    here = images.c.project_id == project_id
    closed = union(
        select(images.c.group_id).where(here, images.c.reserve.is_not(None)),
        select(images.c.group_id)
        .join(round_images, round_images.c.image_id == images.c.id)
        .where(here),
        splits.trained_on(project_id),
        # Everybody is asked these, in the batch, and somebody chose them.
        select(images.c.group_id).join(golds, golds.c.image_id == images.c.id).where(here),
    ).subquery()
    joining = (
        select(
            func.min(images.c.id).label("id"),
            func.min(images.c.draw).label("draw"),
            images.c.group_id,
        )
        .outerjoin(closed, closed.c.group_id == images.c.group_id)
        .where(here, images.c.state == "ok", images.c.draw < below, closed.c.group_id.is_(None))
        .group_by(images.c.group_id)
    )
    if fed:
        joining = joining.where(images.c.group_id.in_(splits.held_out(project_id)))
    rows = connection.execute(joining).all()
    half_of = _halves(connection, project_id, rows)
    for half in _HALVES:
        ids = [row.id for row in rows if half_of[row.id] == half]
        for batch in batched(ids):
            connection.execute(update(images).where(images.c.id.in_(batch)).values(reserve=half))
            labels.mend(connection, batch)  # nothing is propagated into or out of the reserve
    labels.give_way(connection, project_id)  # the reserve's labels come from people alone
    return len(rows)


def _halves(connection: Connection, project_id: int, rows: Sequence[Any]) -> dict[int, str]:
    """The half that each joining image belongs to: by its part, where that decides, or its draw."""
    part_of: dict[int, str] = {}
    if splits.halves(connection, project_id):
        groups = [row.group_id for row in rows]
        part_of = splits.part_of_groups(connection, project_id, groups)
    by_part = {splits.VALIDATION: "calibration", splits.TEST: "holdout"}
    return {
        row.id: by_part.get(part_of.get(row.group_id, ""), _HALVES[row.draw % 2]) for row in rows
    }


def _mark(connection: Connection, project_id: int, *, fed: bool) -> int | None:
    """The draw below which images join; none where there are too few.

    Args:
        fed: whether only what the split holds out can join.
    """
    draws = (
        select(func.min(images.c.draw).label("draw"))
        .where(images.c.project_id == project_id, images.c.state == "ok")
        .group_by(images.c.group_id)
    )
    total = connection.scalar(select(func.count()).select_from(draws.subquery())) or 0
    wanted = min(max(round(SHARE * total), AT_LEAST), int(AT_MOST_SHARE * total))
    if fed:
        draws = draws.where(
            images.c.group_id.in_(splits.held_out(project_id)),
            images.c.group_id.not_in(splits.trained_on(project_id)),
        )
        open_groups = connection.scalar(select(func.count()).select_from(draws.subquery())) or 0
        wanted = min(wanted, open_groups)
    group_draws = draws.subquery()
    if not wanted:
        return None
    last = connection.scalar(
        select(group_draws.c.draw).order_by(group_draws.c.draw).offset(wanted - 1).limit(1)
    )
    return int(last) + 1 if last is not None else None


def rows(connection: Connection, project_id: int) -> list[ReserveRow]:
    """The reserve in its order, one image of a group.

    Imported labels do not settle an image: people confirm them.
    """
    settled = _settled(connection, project_id)
    found = connection.execute(
        select(
            images.c.id,
            images.c.reserve,
            images.c.draw,
            settled.label("settled"),
            _offered().label("offered"),
        )
        .where(_member(project_id))
        .order_by(images.c.draw, images.c.id)
    ).all()
    labeled: dict[int, list[int]] = {}
    for image_id, class_id in connection.execute(
        select(classes_of.c.image_id, classes_of.c.class_id)
        .join(images, images.c.id == classes_of.c.image_id)
        .where(images.c.project_id == project_id, images.c.reserve.is_not(None))
        .order_by(classes_of.c.class_id)
    ):
        labeled.setdefault(image_id, []).append(class_id)
    return [
        ReserveRow(
            image_id=row.id,
            half=row.reserve,
            draw=row.draw,
            settled=bool(row.settled),
            offered=bool(row.offered),
            classes=tuple(labeled[row.id]) if row.id in labeled else None,
        )
        for row in found
    ]


def _member(project_id: int) -> ColumnElement[bool]:
    """Usable images of the reserve: the first of its group, where groups were merged later."""
    other = images.alias()
    same_draw = and_(other.c.draw == images.c.draw, other.c.id < images.c.id)
    earlier = (
        select(other.c.id)
        .where(
            other.c.group_id == images.c.group_id,
            other.c.reserve.is_not(None),
            other.c.state == "ok",
            or_(other.c.draw < images.c.draw, same_draw),
        )
        .exists()
    )
    return and_(
        images.c.project_id == project_id,
        images.c.reserve.is_not(None),
        images.c.state == "ok",
        ~earlier,
    )


def _settled(connection: Connection, project_id: int) -> ColumnElement[bool]:
    """Whether people answered or skipped an image, or nobody is left who could be surer of it.

    The latter counts as a skip, until somebody comes who can still be asked: one image that all
    are unsure of must not hold up the figures for good.
    """
    said = (
        select(annotations.c.image_id)
        .join(annotators, annotators.c.id == annotations.c.annotator_id)
        .where(
            annotations.c.image_id == images.c.id,
            settles(),
            annotators.c.kind != "import",
        )
        .exists()
    )
    most = asking.settings(connection, project_id).most
    return or_(said, asking.nobody_left(images.c.id, project_id, most=most))


def _offered() -> ColumnElement[bool]:
    # By project as well, since that is what the index begins with.
    sent = (
        round_images.c.project_id == images.c.project_id,
        round_images.c.image_id == images.c.id,
    )
    return select(round_images.c.image_id).where(*sent).exists()


def progress(connection: Connection, project_id: int) -> ReserveProgress:
    """How far the reserve has come, counted by the database: for pages, of any project's size."""
    settled = _settled(connection, project_id)

    def count(*conditions: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(images).where(_member(project_id), *conditions)
        return connection.scalar(query) or 0

    first = connection.execute(
        select(images.c.draw, images.c.id)
        .where(_member(project_id), ~settled)
        .order_by(images.c.draw, images.c.id)
        .limit(1)
    ).first()
    before: Any = true()
    if first is not None:
        same = and_(images.c.draw == first.draw, images.c.id < first.id)
        before = or_(images.c.draw < first.draw, same)
    return ReserveProgress(
        images=count(), offered=count(_offered()), answered=count(settled), prefix=count(before)
    )


def answered(connection: Connection, project_id: int, half: Reserve) -> list[LabelRow]:
    """The labels of people in a half of the reserve's settled beginning: a random sample."""
    settled = [
        row.image_id for row in settled_prefix(rows(connection, project_id)) if row.half == half
    ]
    found = labels.get(connection, settled)
    # An imported label counts once people have confirmed it.
    return [found[key] for key in settled if key in found and found[key].origin == "people"]


def settled_prefix(ordered: list[ReserveRow]) -> list[ReserveRow]:
    """The rows before the first one that people have not settled: a random sample, by its order."""
    for position, row in enumerate(ordered):
        if not row.settled:
            return ordered[:position]
    return ordered
