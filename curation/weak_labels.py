"""Probabilistic labels of rules: written once, beside the catalog, and never changed.

    rules/<name>/votes.npy     (N, R) what each rule says of each image, -1 where it abstains
    rules/<name>/ids.npy       (N,) of images, ascending
    rules/<name>/pattern.npy   (N,) which row of chances is an image's
    rules/<name>/chances.npy   (P, C) probabilities of the classes for each pattern of votes
    rules/<name>/learned.npy   (n,) of labeled images that the rules and their weighing looked at
    rules/<name>/rules.json    names of rules and classes, and the rules themselves

They are no labels of the catalog: an image that has them is as unlabeled as before. The plan
`rules` names the folder that is in force; training learns from it where that is asked for.
"""

import json
import os
import shutil
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from curation import files
from curation.catalog import Connection, plans
from curation.catalog import pool as pool_rows
from curation.errors import InputError
from curation.workspace import Project

PLAN = "rules"
FOLDER = "rules"
ABSTAIN = -1
_PARTS = ("votes", "ids", "pattern", "chances", "learned")


@dataclass(frozen=True, eq=False)
class WeakLabels:
    """What a folder holds.

    Attributes:
        rules: R of them, as JSON; each has a `name`.
        classes: C names, as they were then.
        ids: (N,) of images, ascending.
        votes: (N, R) index of the class, -1 where a rule abstains.
        pattern: (N,) row of `chances`.
        chances: (P, C) probabilities.
        learned: (n,) ids of labeled images that the rules looked at: they cannot judge what is
            learned from the rules.
    """

    rules: tuple[dict[str, Any], ...]
    classes: tuple[str, ...]
    ids: NDArray[np.int64]
    votes: NDArray[Any]
    pattern: NDArray[np.int32]
    chances: NDArray[np.float32]
    learned: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Soft:
    """Images that nobody labeled, and how likely rules make each class.

    Attributes:
        ids: (M,).
        groups: (M,).
        chances: (M, C) in the order of the project's classes now.
        plan: id of the plan in force.
        weight: how much one image counts beside one that a person labeled; to be measured if None.
        learned: (n,) labeled images that the rules looked at.
    """

    ids: NDArray[np.int64]
    groups: NDArray[np.int64]
    chances: NDArray[np.float64]
    plan: int
    weight: float | None
    learned: NDArray[np.int64]


def write(project: Project, found: WeakLabels) -> str:
    """Writes a folder, all of it or nothing; returns its name.

    Raises:
        LabelloopError: it cannot be written.
    """
    home = project.workspace.folder(FOLDER)
    name = f"p{project.id}-{uuid4().hex[:12]}"
    making = home / f".{name}"
    try:
        making.mkdir()
        for part in _PARTS:
            with (making / f"{part}.npy").open("wb") as file:
                np.save(file, getattr(found, part), allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        about = {"rules": list(found.rules), "classes": list(found.classes)}
        files.write_json(making / "rules.json", about)
        making.rename(home / name)
        files.sync_folder(home)
    except OSError as error:
        raise files.unwritable(error, home / name) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return name


def tidy(project: Project, *, keep: str) -> None:
    """Removes the folders of plans that were replaced, and what a kill left behind."""
    home = project.workspace.folder(FOLDER)
    for path in (*home.glob(f"p{project.id}-*"), *home.glob(f".p{project.id}-*")):
        if path.name != keep:
            shutil.rmtree(path, ignore_errors=True)


def read(project: Project, name: str) -> WeakLabels:
    """What `write` wrote; the tables stay on disk and are read where they are looked at.

    Raises:
        InputError: the folder is missing or damaged.
    """
    home = project.workspace.path / FOLDER / name
    try:
        about = json.loads((home / "rules.json").read_text(encoding="utf-8"))
        votes, ids, pattern, chances, learned = (
            np.load(home / f"{part}.npy", mmap_mode="r", allow_pickle=False) for part in _PARTS
        )
        rules, classes = tuple(about["rules"]), tuple(about["classes"])
        fits = len(votes) == len(ids) == len(pattern) and chances.shape[1] == len(classes)
        if not fits or votes.shape[1] != len(rules):
            raise ValueError("the parts do not fit together")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"What the rules said cannot be read from {home} ({error}). Run `labelloop rules apply "
            "FILE` again."
        ) from error
    return WeakLabels(rules, classes, ids, votes, pattern, chances, learned)


@dataclass(frozen=True)
class OfImage:
    """What rules say of one image.

    Attributes:
        votes: (rule, class) of each that votes.
        chances: by class what they make of it together.
    """

    votes: tuple[tuple[str, str], ...]
    chances: dict[str, float]


def of_image(project: Project, name: str, image_id: int) -> OfImage | None:
    """What a folder holds of one image; none if it was not there, or not usable, then.

    Raises:
        InputError: the folder is missing or damaged.
    """
    held = read(project, name)
    place = int(np.searchsorted(held.ids, image_id))
    if place == len(held.ids) or held.ids[place] != image_id:
        return None
    said = zip(held.rules, held.votes[place].tolist(), strict=True)
    votes = tuple((rule["name"], held.classes[vote]) for rule, vote in said if vote != ABSTAIN)
    likely = held.chances[held.pattern[place]].tolist()
    return OfImage(votes, dict(zip(held.classes, likely, strict=True)))


def in_force(connection: Connection, project: Project) -> dict[str, Any] | None:
    """Settings of the plan `rules`, with its `id`; none if no rules are applied."""
    return plans.in_force(connection, project.id).get(PLAN)


def soft(project: Project, *, most: int) -> Soft | None:
    """What the rules in force say of images of the pool as it is now; none if none are in force.

    Never of an image that is labeled, in the reserve, held out, or a copy of such a one.

    Args:
        project: whose images they are.
        most: so many at most, a random share of all, alike at every call.

    Raises:
        InputError: the folder of the plan is missing or damaged.
    """
    with project.catalog.read() as connection:
        plan = in_force(connection, project)
        if plan is None:
            return None
        groups = {row.id: row.group_id for row in pool_rows.find(connection, project.id)}
    held = read(project, plan["folder"])
    voted = (held.votes != ABSTAIN).any(axis=1)
    free = np.isin(held.ids, np.fromiter(groups, dtype=np.int64, count=len(groups)))
    places = np.flatnonzero(voted & free)
    if len(places) > most:
        rng = np.random.default_rng([project.record.seed, *b"rules"])
        places = np.sort(rng.permutation(places)[:most])
    chances = np.zeros((len(places), len(project.record.classes)))
    now = project.record.ids_by_name
    said = held.chances[held.pattern[places]].astype(np.float64)
    for column, name in enumerate(held.classes):
        if name in now:  # classes that were merged since count as the one that they are now
            chances[:, project.record.class_ids.index(now[name])] += said[:, column]
    ids = np.asarray(held.ids[places], dtype=np.int64)
    return Soft(
        ids,
        np.array([groups[key] for key in ids.tolist()], dtype=np.int64),
        chances / np.maximum(chances.sum(axis=1, keepdims=True), 1e-12),
        int(plan["id"]),
        plan["weight"],
        np.asarray(held.learned, dtype=np.int64),
    )
