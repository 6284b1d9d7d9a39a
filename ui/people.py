"""What each annotator did, how fast, and how far the others agree.

Functions return what the command line prints with `--json`, as those of `ui/wiring.py` do.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from curation.catalog import annotations
from curation.errors import NotFound
from curation.intervals import Figure, median_ranks, unknown, wilson
from curation.workspace import Project
from labeling import peers

if TYPE_CHECKING:
    from labeling.golds import Judged


def list_people(project: Project) -> dict[str, Any]:
    """Everybody with counts and figures, busiest first; see `labelloop annotators list`."""
    from labeling import golds as questions

    with project.catalog.read() as connection:
        rows = annotations.list_annotators(connection, project.id)
        seconds = {
            name: _median(values) for name, values in annotations.seconds(connection, project.id)
        }
        gold = questions.judged(project)
        same = peers.agreeing(
            annotations.co_answered(connection, project.id),
            single=project.record.task == "single-label",
        )
    return {
        "annotators": [
            {
                **row,
                "seconds": seconds.get(row["name"]) or _median(()),
                "agreement": _share(*same.get(row["name"], (0, 0))),
                "acceptance": _share(row["prelabels_accepted"], row["prelabels_shown"]),
                **_gold(gold.get(row["name"])),
            }
            for row in rows
        ]
    }


def show_person(project: Project, name: str) -> dict[str, Any]:
    """The same of one, and how they find each class; see `labelloop annotators show`.

    Raises:
        NotFound: nobody bears this name.
    """
    found = {row["name"]: row for row in list_people(project)["annotators"]}
    if name not in found:
        known = ", ".join(list(found)[:20]) or "none yet"
        raise NotFound(f"No annotator {name!r}. There are: {known}.")
    record = project.record
    with project.catalog.read() as connection:
        recalls = peers.found_again(annotations.against_labels(connection, project.id, name))
    return {
        **found[name],
        "per_class": {
            name: _share(*recalls.get(class_id, (0, 0)))
            for class_id, name in zip(record.class_ids, record.classes, strict=True)
        },
    }


def _gold(judged: "Judged | None") -> dict[str, Any]:
    """How somebody does in gold questions, and what that says of them."""
    if judged is None:
        return {"gold": _share(0, 0), "gold_verdict": "too few"}
    return {"gold": _share(judged.right, judged.n), "gold_verdict": judged.verdict}


def _share(hits: int, n: int) -> dict[str, Any]:
    figure = Figure(hits / n, n, wilson(hits, n)) if n else unknown()
    return figure.as_json()


def _median(values: Sequence[float]) -> dict[str, Any]:
    """The median of ascending values; both ends of the interval are null where n is below 6."""
    n = len(values)
    ranks = median_ranks(n)
    return {
        "value": values[n // 2] if n else None,
        "n": n,
        "ci": [None, None] if ranks is None else [values[at] for at in ranks],
    }
