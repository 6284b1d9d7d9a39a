"""What curators ask about bias: an audit, and plans against it.

Functions return what the command line prints with `--json`.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from curation.errors import InputError
from curation.progress import Report, silent
from curation.workspace import Project

if TYPE_CHECKING:
    from curation.bias.audit import Audit
    from curation.bias.evidence import Evidence
    from curation.bias.slices import Slices
    from curation.bias.standing import Table
    from curation.bias.table import Finding

MOST_COLUMNS = 2
DIGITS = 4


def split_columns(text: str) -> list[str]:
    """The columns in `a,b`."""
    return [name.strip() for name in text.split(",") if name.strip()]


def audit(
    project: Project, by: Sequence[str] = (), *, discover: bool = False, report: Report = silent
) -> dict[str, Any]:
    """Tests whom the dataset and its model fail, by one or two columns.

    Args:
        project: whose images they are.
        by: names of metadata columns; two are also crossed.
        discover: also look for slices that no column names.
        report: told of the progress.

    Raises:
        InputError: no such column, or one that makes no slices.
    """
    from curation.bias import audit as audits

    evidence, columns = _gather(project, by, discover=discover, report=report)
    done = audits.examine(
        evidence, columns, seed=project.record.seed, discover=discover, report=report
    )
    return {"by": list(by), "discover": discover, **_as_json(project, done)}


def plan(
    project: Project,
    by: Sequence[str],
    remedy: str,
    *,
    budget: int = 50,
    apply: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Works out a remedy for the labels that a model may learn from.

    Args:
        project: whose labels they are.
        by: names of metadata columns; two are crossed.
        remedy: `reweigh`, `group-balanced` or `quota`.
        budget: of the quota: images of the next batch.
        apply: put it in force; the next rounds follow it.
        report: told of the progress.

    Raises:
        InputError: no such remedy or column, no labels, or a plan that cannot be put in force.
    """
    from curation.bias import remedies
    from curation.bias.slices import cross

    name = remedies.check(remedy)
    if not by:
        raise InputError(f"{name} needs slices: labelloop audit --by COLUMN --remedy {name}")
    if apply and name == "quota" and len(by) != 1:
        raise InputError(
            "A quota can be put in force by one column: "
            "labelloop audit --by COLUMN --remedy quota --apply"
        )
    evidence, columns = _gather(project, by, training_only=True, report=report)
    slices = columns[0] if len(columns) == 1 else cross(*columns)
    found: dict[str, Any] = {
        "remedy": name,
        "by": list(by),
        "does": remedies.REMEDIES[name],
        "applied": False,
    }
    if name == "quota":
        return found | _quota(project, evidence, columns, slices, budget=budget, apply=apply)
    if not evidence.single:
        raise InputError(
            f"{name} weighs images by their one class, and this is a multi-label project. "
            "Use --remedy quota."
        )
    if not len(evidence.labeled):
        raise InputError(
            "No label outside the reserve yet, so there is nothing to weigh. Have a batch labeled: "
            "labelloop round"
        )
    cells = remedies.plan_weights(
        name,
        slices,
        slices.codes[evidence.labeled],
        evidence.truth.argmax(axis=1),
        evidence.classes,
    )
    found["cells"] = [_rounded(asdict(cell)) for cell in cells]
    if apply:
        settings = {"remedy": name, "by": list(by), "cells": found["cells"]}
        found |= {"applied": True, "plan": _put(project, "balance", settings)}
    return found


def _gather(
    project: Project,
    by: Sequence[str],
    *,
    discover: bool = False,
    training_only: bool = False,
    report: Report,
) -> tuple["Evidence", list["Slices"]]:
    """The columns first, which are cheap: a wrong name must not cost an embedding."""
    import numpy as np

    from curation.bias import evidence, slices
    from curation.catalog import images as image_rows
    from training.heads import out_of_fold

    if len(by) > MOST_COLUMNS or len(set(by)) < len(by):
        raise InputError(
            f"--by takes one column, or two different ones to be crossed; got {', '.join(by)}."
        )
    with project.catalog.read() as connection:
        ids = np.array([key for key, _ in image_rows.usable(connection, project.id)], np.int64)
        if not len(ids):
            raise InputError(
                "The project has no usable images yet. Add some with `labelloop import FOLDER`."
            )
        if not by and not discover:
            there = ", ".join(image_rows.metadata_values(connection, project.id, most=1))
            raise InputError(
                f"Name a metadata column with --by (there are: {there or 'none'}), or look for "
                "slices without a name with --discover."
            )
    columns = slices.read(project, ids, by, report=report)
    found = evidence.gather(
        project, out_of_fold=out_of_fold.probabilities, training_only=training_only, report=report
    )
    if len(found.ids) != len(ids):  # an image turned out to be unreadable meanwhile
        columns = slices.read(project, found.ids, by, report=report)
    return found, columns


def _quota(
    project: Project,
    evidence: "Evidence",
    columns: Sequence["Slices"],
    slices: "Slices",
    *,
    budget: int,
    apply: bool,
) -> dict[str, Any]:
    import numpy as np

    from curation.bias import audit as audits
    from curation.bias import remedies, standing
    from curation.bias.evidence import answers
    from curation.catalog import pool

    with project.catalog.read() as connection:
        left = np.array([row.id for row in pool.find(connection, project.id)], np.int64)
    count = len(slices.values)
    judged = audits.examine(evidence, columns, seed=project.record.seed)
    failed = [
        dict(one.tested.slice)
        for one in judged.settled.findings
        if one.tested.metric in ("accuracy", "labeled-share")
    ]
    given = answers(evidence)
    shares = remedies.plan_quota(
        slices,
        np.bincount(slices.codes[evidence.labeled], minlength=count).tolist(),
        np.bincount(slices.codes[np.isin(evidence.ids, left)], minlength=count).tolist(),
        budget=budget,
        rate=standing.UNKNOWN_RATE if given is None else float(given.right.mean()),
        failing=[slices.named(code) in failed for code in range(count)],
    )
    found: dict[str, Any] = {
        "budget": budget,
        "slices": [_rounded(asdict(share)) for share in shares],
    }
    if apply:
        settings = _as_quota(slices.columns[0], shares, budget)
        found |= {"applied": True, "plan": _put(project, "labeling-quota", settings)}
    return found


def _as_quota(column: str, shares: Sequence[Any], budget: int) -> dict[str, Any]:
    from curation.balance.census import NO_VALUE

    wanted = {
        share.slice[column] or NO_VALUE: round(share.given / budget, 6)
        for share in shares
        if share.given
    }
    return {
        "remedy": "bias-quota",
        "by": column,
        "column": column,
        "share": round(sum(wanted.values()), 6),
        "budget": budget,
        "quota": wanted,
    }


def _put(project: Project, kind: str, settings: dict[str, Any]) -> int | None:
    """Puts a plan in force in the form that rounds read."""
    from curation import balance

    return balance.apply(project, balance.Plan(kind, settings, {}, {}, ())).id


def _as_json(project: Project, done: "Audit") -> dict[str, Any]:
    from curation.catalog import images as image_rows

    shown = sorted({key for one in done.settled.findings for key in one.tested.examples})
    with project.catalog.read() as connection:
        names = image_rows.names_by_id(connection, shown)
    return {
        "findings": [_finding(one, names) for one in done.settled.findings],
        "slices": [row for table in done.tables for row in _rows(table, done)],
        "largest_gaps": [gap for table in done.tables for gap in _largest(table)],
        "too_small": [_rounded(asdict(one)) for one in done.small],
        "properties": {name: _rounded(asdict(one)) for name, one in done.properties.items()},
        "tested": len(done.settled.tested),
        "notes": list(done.notes),
    }


def _finding(one: "Finding", names: dict[int, str]) -> dict[str, Any]:
    tested = one.tested
    found: dict[str, Any] = {
        "kind": tested.kind,
        "slice": dict(tested.slice),
        "metric": tested.metric,
        "gap": tested.gap,
        "ci": list(tested.ci),
        "p": tested.p,
        "p_adjusted": one.p_adjusted,
        "n": tested.n,
        "says": tested.says,
    }
    if tested.examples:
        found["images"] = [names[key] for key in tested.examples if key in names]
    return {key: _rounded(value) for key, value in found.items()}


def _rows(table: "Table", done: "Audit") -> list[dict[str, Any]]:
    """One object for each slice."""
    total = int(table.images.sum())
    adjusted = {
        tuple(one.tested.slice.items()): one
        for one in done.settled.tested
        if one.tested.kind == "quality"
    }
    rows = []
    for code in range(len(table.slices.values)):
        named = table.slices.named(code)
        row: dict[str, Any] = {
            "slice": named,
            "images": int(table.images[code]),
            "share": int(table.images[code]) / total,
            "labeled": int(table.labeled[code]),
            "labels": dict(zip(done.classes, table.labels[code].tolist(), strict=True)),
        }
        if table.quality:
            one = table.quality[code]
            row |= {name: figure.as_json() for name, figure in one.figures.items()}
            row["recall_by_class"] = {key: value.as_json() for key, value in one.recall.items()}
            row["needed"] = one.needed
            if one.gap is not None:
                row["gap"] = {"value": one.gap.value, "n": one.gap.n, "ci": list(one.gap.ci)}
            if tested := adjusted.get(tuple(named.items())):
                row["p_adjusted"] = tested.p_adjusted
        rows.append(_rounded(row))
    return rows


def _largest(table: "Table") -> list[dict[str, Any]]:
    """The two slices of a column that lie furthest apart."""
    if table.widest is None:
        return []
    gap = table.widest.gap
    return [
        _rounded(
            {
                "columns": list(table.slices.columns),
                "metric": "accuracy",
                "worst": table.slices.named(table.widest.worst),
                "best": table.slices.named(table.widest.best),
                "gap": {"value": gap.value, "n": gap.n, "ci": list(gap.ci)},
            }
        )
    ]


def _rounded(value: Any) -> Any:
    """With every fraction to `DIGITS` digits, and plain lists and objects."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value
