"""Searches for settings as the command line and the app show them.

Functions return what `labelloop tune --json` prints.
"""

import shlex
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from curation import files
from curation.catalog import labels
from curation.progress import Report, silent
from curation.workspace import Project

if TYPE_CHECKING:
    from training.tuning.study import Study


def tune(
    project: Project,
    *,
    kind: str = "",
    sampler: str = "",
    metric: str = "",
    trials: int | None = None,
    minutes: float | None = None,
    workers: int = 1,
    study: str = "",
    backbones: Sequence[str] = (),
    seed: int | None = None,
    storage: str = "",
    open_test: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Searches for settings, or goes on with a search, and shows what it came to."""
    from training.tuning import results, studies
    from training.tuning.search import Budget, search

    budget = Budget(trials=trials, minutes=minutes, workers=workers)
    budget.check()
    asked = studies.Asked(
        kind=kind,
        sampler=sampler,
        metric=metric,
        study=study,
        backbones=tuple(backbones),
        seed=seed,
        storage=storage,
        minutes=minutes,
    )
    begun = time.monotonic()
    with closing(studies.begin(project, asked, report=report)) as searched:
        notes = []
        if trials != 0:
            notes = search(project, searched, budget, report=report)
        if open_test:
            report(0, 0, "open the test part")
            results.open_test(project, searched)
        found = show(project, searched, notes=notes)
    return {**found, "seconds": round(time.monotonic() - begun, 1)}


def show(project: Project, study: "Study", *, notes: Sequence[str] = ()) -> dict[str, Any]:
    """A study: its best settings, all trials, what mattered; pictures are drawn beside it."""
    from training.tuning import plots, results

    facts, material = study.facts, study.bench.material
    entries = results.history(study)
    shares = results.importance(study)
    title = f"Search {study.name!r} ({facts['sampler']})"
    pictures = {
        "history": study.home / "history.png",
        "importance": study.home / "importance.png",
    }
    drawn = plots.draw_history(entries, title=title, metric=facts["metric"])
    files.write_bytes(pictures["history"], drawn)
    drawn = plots.draw_importance(shares, title=f"{title}: which settings mattered")
    files.write_bytes(pictures["importance"], drawn)
    states = [entry.state for entry in entries]
    best = study.best()
    settings = study.write_best()
    tested = results.openings(study)
    return {
        "study": study.name,
        "kinds": list(study.kinds),
        "sampler": facts["sampler"],
        "metric": facts["metric"],
        "seed": facts["seed"],
        "backbone": facts["backbone"],
        "snapshot": material.snapshot,
        "images": material.as_json()["images"],
        "origins": material.origins,
        "trials": {
            state: states.count(state)
            for state in ("done", "pruned", "failed", "running", "waiting")
        },
        "best": None
        if best is None
        else {
            "kind": best[0],
            "trial": best[1].number,
            "value": best[1].value,
            "settings": study.settings(best[0], best[1].params).as_json(),
        },
        "validation": results.judge(study),
        "history": [asdict(entry) for entry in entries],
        "importance": shares,
        "test": tested[-1] if tested else None,
        "files": {
            **{name: str(path) for name, path in pictures.items()},
            **({"settings": str(settings)} if settings else {}),
        },
        "next": f"labelloop train --settings {shlex.quote(str(settings))}" if settings else "",
        "reasons": facts["reasons"],
        "notes": [*notes, *_notes(project, study, entries, tested)],
    }


def _notes(
    project: Project, study: "Study", entries: Sequence[Any], tested: Sequence[dict[str, Any]]
) -> list[str]:
    notes = list(study.bench.material.notes)
    done = sum(entry.state == "done" for entry in entries)
    if not done:
        notes.append("No trial has ended yet: give more --minutes or --trials.")
    elif done > 1:
        notes.append(
            f"The validation figure is that of the best of {done} trials, and so too kind. "
            "--open-test judges it by images that none was chosen on."
        )
    with project.catalog.read() as connection:
        count = labels.count(connection, project.id)
    if count != study.facts["labels"]:
        notes.append(
            f"There were {study.facts['labels']:,} labels when this study began and are "
            f"{count:,} now. Begin another with --study NAME to use them."
        )
    if tested and tested[-1]["opened"] > 1:
        notes.append(
            f"The test part has now been opened {tested[-1]['opened']} times: the more often, the "
            "less its figure is worth."
        )
    return notes
