"""Splits as the command line and the app show them: made, joined, checked, removed.

Functions return what `labelloop split --json` prints.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curation import splits
from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.progress import Report, silent
from curation.splits import Split
from curation.workspace import Project


def split(
    project: Project,
    *,
    shares: Mapping[str, float] | None = None,
    folds: int | None = None,
    by: Sequence[str] | None = None,
    stratify: str | None = None,
    name: str = "default",
    from_imported: bool = False,
    with_reserve: bool = False,
    dry_run: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Makes a split, or lets new images join it."""
    made = splits.assign(
        project,
        shares=shares,
        folds=folds,
        by=by,
        stratify=stratify,
        name=name,
        from_imported=from_imported,
        with_reserve=with_reserve,
        dry_run=dry_run,
        report=report,
    )
    return {**_as_json(made), "dry_run": dry_run}


def check(
    project: Project,
    *,
    name: str = "default",
    by: Sequence[str] | None = None,
    from_imported: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Says what is in the parts of a split, which classes are absent and what leaks."""
    return _as_json(splits.check(project, name=name, by=by, imported=from_imported, report=report))


def parts(project: Project, name: str = "default") -> Iterator[tuple[str, str]]:
    """Every image of a split, by name, with its part; read page by page."""
    for batch in batched(splits.parts(project, name)):
        with project.catalog.read() as connection:
            names = image_rows.names_by_id(connection, [key for key, _ in batch])
        yield from ((names[key], part) for key, part in batch)


def remove(project: Project, name: str) -> dict[str, Any]:
    """Removes a split; its images stay in the project."""
    return {"removed": name, "images": splits.remove(project, name)}


def _as_json(found: Split) -> dict[str, Any]:
    total = max(found.images, 1)
    return {
        "split": found.name,
        "stored": found.stored,
        "images": found.images,
        "joined": found.joined,
        "components": found.components,
        "parts": dict(found.parts),
        "shares": {part: round(n / total, 4) for part, n in found.parts.items()},
        "labeled": dict(found.labeled),
        "classes": {part: dict(row) for part, row in found.classes.items()},
        "class_shares": {
            part: {name: round(n / max(found.labeled[part], 1), 4) for name, n in row.items()}
            for part, row in found.classes.items()
        },
        "leaks": found.leaks,
        "left_out": found.left_out,
        "findings": [
            {
                "kind": finding.kind,
                "says": finding.says,
                "images": list(finding.images),
                "counts": dict(finding.counts),
            }
            for finding in found.findings
        ],
        "settings": {
            "shares": found.settings.shares,
            "folds": found.settings.folds,
            "by": list(found.settings.by),
            "stratify": found.settings.stratify,
            "imported": found.settings.imported,
            "with_reserve": found.settings.with_reserve,
        },
    }
