"""Which part each image is to have: new splits, imported ones, and images that come later."""

import zlib
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from curation import imported_split
from curation.catalog import Connection
from curation.catalog.splits import PARTS, TEST, TRAIN, VALIDATION
from curation.errors import InputError
from curation.progress import Report
from curation.splits import members as member_rows
from curation.splits.check import Finding
from curation.splits.division import Ints, Parts, divide, drawn
from curation.splits.members import Members
from curation.splits.settings import Settings
from curation.workspace import Project

_ADOPTED = {
    "train": TRAIN,
    "val": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
    "eval": TEST,
    "holdout": TEST,
}


def reserved(found: Members, settings: Settings) -> Parts:
    """(N,) the parts of the reserve's images: test of holdout, validation of calibration."""
    part = np.full(len(found.ids), -1, np.int16)
    if not settings.folds:
        for half, name in enumerate((VALIDATION, TEST)):
            if name in found.names:
                part[found.reserve == half] = found.names.index(name)
    return part


def forced(found: Members, settings: Settings, reserve: Parts, chosen: Ints) -> Parts:
    """(N,) the parts that do not depend on the shares, -1 where they do.

    What a strategy has chosen was trained on, and would make a test set that is no random sample:
    it belongs to train.
    """
    part = reserve.copy()
    if not settings.folds and TRAIN in found.names:
        part[chosen[part[chosen] < 0]] = found.names.index(TRAIN)
    return part


def waiting(found: Members, settings: Settings) -> tuple[Finding, ...]:
    """The images that have no part although they could have one."""
    count = int(((found.part < 0) & ~_out_of_folds(found, settings)).sum())
    if not count:
        return ()
    return (Finding("no-part", f"{count:,} images have no part yet; `labelloop split` adds them."),)


def _out_of_folds(found: Members, settings: Settings) -> npt.NDArray[np.bool_]:
    """(N,) the images that stay outside the folds: the reserve and what hangs together with it."""
    if not settings.folds or settings.with_reserve:
        return np.zeros(len(found.ids), bool)
    return np.isin(found.component, np.unique(found.component[found.reserve >= 0]))


def divided(
    project: Project,
    connection: Connection,
    found: Members,
    settings: Settings,
    labels: tuple[Ints, Ints],
    decided: Parts,
    name: str,
) -> tuple[Parts, tuple[Finding, ...]]:
    """The parts (N,) of a new split, and what is to be said of them.

    Args:
        project: whose images they are.
        connection: a transaction that sees one state.
        found: N images without parts.
        settings: of the split.
        labels: as `members.label_pairs` gives them.
        decided: (N,) parts that do not depend on the shares, -1 where they do; the foremost one of
            a component decides for all of it.
        name: of the split.

    Raises:
        InputError: too little hangs loosely enough to be divided.
    """
    shares = np.array([settings.shares[part] for part in found.names])
    wanted = int((shares > 0).sum())
    out = _out_of_folds(found, settings)
    here = np.unique(found.component[~out])
    if len(here) < wanted:
        raise InputError(_too_few(found, settings, wanted, len(here), int((~out).sum())))
    strata = member_rows.strata(
        project, connection, found, labels, by=settings.stratify, parts=wanted
    )
    fixed = member_rows.foremost(found.component, found.components, decided, found.names)
    fixed[np.unique(found.component[out])] = len(shares)  # no part's number
    seeds = [project.record.seed, zlib.crc32(name.encode())]
    given = divide(
        strata.components(found, ~out), shares, fixed=fixed, rng=np.random.default_rng(seeds)
    )
    part = np.where(out, -1, given[found.component]).astype(np.int16)
    empty = [part_name for n, part_name in enumerate(found.names) if shares[n] and n not in part]
    if empty:
        raise InputError(
            f"Nothing is left for {' or '.join(empty)}: images of the reserve stay out of train, "
            "chosen ones in it, and each takes along all that must stay together with it. Name "
            "fewer columns with --by, or make the split before the first round."
        )
    return part, _forced_findings(found, fixed, settings)


def _too_few(found: Members, settings: Settings, wanted: int, there: int, images: int) -> str:
    ties = ["copies", *(f"images with the same {column}" for column in settings.by)]
    what = f"{wanted} folds" if settings.folds else f"{wanted} parts"
    sets = "one set" if there == 1 else f"{there} sets"
    ways = "Name fewer columns with --by" if settings.by else "Import more images"
    lower = ", or lower --folds" if settings.folds and there > 1 else ""
    return (
        f"{what} need {wanted} sets of images that stay together ({' and '.join(ties)} do); the "
        f"{images:,} images are {sets}. {ways}{lower}."
    )


def _forced_findings(found: Members, fixed: Parts, settings: Settings) -> tuple[Finding, ...]:
    """What the reserve and the chosen images bring with them."""
    if settings.folds:
        return ()
    says = []
    count = int((found.reserve >= 0).sum())
    if count:
        held = [number for number, name in enumerate(found.names) if name != TRAIN]
        together = int(np.isin(fixed[found.component], held).sum())
        says.append(
            Finding(
                "reserve",
                f"The reserve's {count:,} images, {together:,} with all that stay together with "
                "them, are in test (holdout) and validation (calibration).",
            )
        )
    train = found.names.index(TRAIN)
    count = int((fixed[found.component] == train).sum())
    if count:
        says.append(
            Finding(
                "chosen",
                f"{count:,} images were chosen by rounds, or stay together with such ones, and "
                "are in train: a test set of them would be no random sample.",
            )
        )
    return tuple(says)


def imported_parts(
    project: Project, found: Members, settings: Settings, *, report: Report
) -> tuple[Parts, Members, Settings]:
    """The parts (N,) that the images were imported with, -1 for none, under our names.

    Raises:
        InputError: they were imported without a split.
    """
    codes, names = imported_split.read(project, found.ids, report=report)
    ours = [_ADOPTED.get(name, name.replace(" ", "-")) for name in names]
    if not ours:
        raise InputError(
            "The images came without a split: neither a column split, subset, fold or partition "
            "nor folders such as train and test name two parts. Leave out --from-imported."
        )
    usual = {part: number for number, part in enumerate(PARTS)}
    ours_ordered = sorted(ours, key=lambda part: (usual.get(part, len(usual)), len(part), part))
    known = list(dict.fromkeys([*found.names, *ours_ordered]))
    place = np.array([*(known.index(name) for name in ours), -1], np.int16)
    part = place[codes]
    found = replace(found, names=tuple(known))
    if not settings.shares:
        counts = np.bincount(part[part >= 0], minlength=len(known))
        shares = dict(zip(known, (counts / counts.sum()).tolist(), strict=True))
        folds = len(known) if all(name.startswith("fold-") for name in known) else 0
        settings = replace(settings, shares=shares, folds=folds)
    return part, found, settings


def following(found: Members, own: Parts, shared: Parts) -> Parts:
    """(N,) the parts of old images, and of new ones their own, or that of their component.

    Args:
        found: the images with the parts they have.
        own: (N,) parts that new images have whatever their component, -1 for none.
        shared: (N,) parts that decide for a component of which no image has a part yet.
    """
    old = found.staying()[found.component]
    part: Parts = np.full(len(found.ids), -1, np.int16)
    for parts in (found.part, own, old, _of_components(found, shared)):
        part = np.where(part < 0, parts, part)
    return part


def _of_components(found: Members, part: Parts) -> Parts:
    foremost = member_rows.foremost(found.component, found.components, part, found.names)
    return foremost[found.component]


def hashed(project: Project, found: Members, part: Parts, settings: Settings, name: str) -> Parts:
    """The parts (N,), with those of components that have none yet: by a hash of their group."""
    free = (part < 0) & ~_out_of_folds(found, settings)
    components = np.unique(found.component[free])
    if not len(components):
        return part
    shares = np.array([settings.shares.get(known, 0.0) for known in found.names])
    numbers = found.least_draw()[components]
    given = np.full(found.components, -1, np.int16)
    given[components] = drawn(numbers, shares, seed=project.record.seed, name=name)
    return np.where(free, given[found.component], part)
