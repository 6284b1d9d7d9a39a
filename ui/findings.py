"""What curators ask of a project: issues, copies, neighbours. Joins curation with the rest.

Functions return what the command line prints with `--json`, as those of `ui/wiring.py` do.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from curation import acts
from curation.catalog import images as image_rows
from curation.catalog import issues as issue_rows
from curation.catalog import labels
from curation.catalog.issues import IssueRow
from curation.progress import Report, silent
from curation.workspace import Project


def split_kinds(text: str) -> list[str]:
    """The kinds in `a,b`."""
    return [name.strip() for name in text.split(",") if name.strip()]


def find_issues(
    project: Project,
    kinds: Sequence[str] = (),
    *,
    everything: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Runs the detectors and returns what they found, the worst of each kind first."""
    from curation import issues
    from training.heads import out_of_fold

    looked = issues.detect(
        project,
        kinds,
        out_of_fold=out_of_fold.probabilities,
        everything=everything,
        report=report,
    )
    return {"images": looked.images, **list_issues(project, looked.kinds, everything=everything)}


def list_issues(
    project: Project, kinds: Sequence[str] = (), *, everything: bool = False
) -> dict[str, Any]:
    """What the detectors found when they last ran."""
    from curation import issues

    kinds = issues.check_kinds(kinds)
    names = dict(zip(project.record.class_ids, project.record.classes, strict=True))
    with project.catalog.read() as connection:
        rows = list(
            issue_rows.find(connection, project.id, kinds=kinds, only_issues=not everything)
        )
        related = image_rows.names_by_id(
            connection, sorted({key for row in rows for key in row.related})
        )
    found = [
        {
            "image": row.name,
            "kind": row.kind,
            "score": round(row.score, 4),
            "is_issue": row.is_issue,
            "reason": row.reason,
            "related": [related[key] for key in row.related if key in related],
            "suggested_label": names.get(row.suggested_class_id or 0),
        }
        for row in rows
    ]
    counts = dict.fromkeys(kinds, 0)
    for row in rows:
        counts[row.kind] += row.is_issue
    listed = {"counts": counts, "issues": found}
    if "wrong-label" in kinds:
        listed["confusions"] = _confusions(project, rows)
    return listed


def _confusions(project: Project, rows: Sequence[IssueRow]) -> list[dict[str, Any]]:
    """How often each class is likely taken for each other one, the most frequent first."""
    names = dict(zip(project.record.class_ids, project.record.classes, strict=True))
    suspects = {
        row.image_id: row.suggested_class_id
        for row in rows
        if row.kind == "wrong-label" and row.is_issue and row.suggested_class_id is not None
    }
    with project.catalog.read() as connection:
        labeled = labels.get(connection, list(suspects))
        totals = labels.count_by_class(connection, project.id)
    pairs = Counter(
        (names[labeled[key].classes[0]], names[suggested])
        for key, suggested in suspects.items()
        if key in labeled and len(labeled[key].classes) == 1
    )
    return [
        {"label": given, "suggested_label": suggested, "count": n, "of": totals[given]}
        for (given, suggested), n in pairs.most_common()
    ]


def review_wrong_labels(
    project: Project, *, most: int | None = None, report: Report = silent
) -> dict[str, Any]:
    """Puts the images whose label is likely wrong before people, the worst first.

    Args:
        project: whose detectors have looked.
        most: so many may wait for a review in all.
        report: told of the progress.

    Raises:
        LabelStudioUnreachable: it does not run.
    """
    from curation.catalog.corrections import Doubt
    from labeling import corrections
    from ui import wiring

    with project.catalog.read() as connection:
        rows = list(issue_rows.find(connection, project.id, kinds=["wrong-label"]))
        labeled = labels.get(connection, [row.image_id for row in rows])
    doubts = [
        Doubt(
            row.image_id,
            row.score,
            labeled[row.image_id].classes,
            row.suggested_class_id,
            row.reason,
        )
        for row in rows
        if row.image_id in labeled
    ]
    with wiring.people(project) as annotator:
        connection_to_server, shelf = annotator.connected()
        found = corrections.offer(
            project, connection_to_server, doubts, most=most, shelf=shelf, report=report
        )
    links = {link["queue"]: link["url"] for link in wiring.queue_links(project)}
    return {**found, "url": links.get("correction", found["url"])}


def calibrate_duplicates(
    project: Project, *, precision: float = 0.99, report: Report = silent
) -> dict[str, Any]:
    """Plants copies of the project's own images and sets the threshold by what is found of them."""
    from curation.copies import calibration

    return calibration.as_json(calibration.calibrate(project, precision=precision, report=report))


def exclude(
    project: Project,
    *,
    kinds: Sequence[str] = (),
    images: Sequence[str] = (),
    reason: str = "",
    dry_run: bool = False,
) -> dict[str, Any]:
    """Takes images out of the dataset, as one act."""
    done = acts.exclude(project, kinds=kinds, images=images, reason=reason, dry_run=dry_run)
    return {
        "excluded": done.count,
        "act": done.act,
        "images": list(done.images),
        "kept": done.kept,
    }


def restore(
    project: Project, *, act: int | None = None, images: Sequence[str] = ()
) -> dict[str, Any]:
    """Undoes an act, or brings images back."""
    done = acts.restore(project, act=act, images=images)
    return {
        "restored": done.count,
        "act": done.act,
        "kind": done.kind,
        "images": list(done.images),
        "passed_over": done.passed_over,
    }


def propagate(
    project: Project, *, images: Sequence[str] = (), dry_run: bool = False
) -> dict[str, Any]:
    """Gives copies of labeled images the same label."""
    done = acts.propagate(project, images=images, dry_run=dry_run)
    return {
        "propagated": done.count,
        "act": done.act,
        "images": list(done.images),
        "conflicts": done.conflicts,
    }
