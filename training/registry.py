"""The runs of a project: which is meant, which is used, what may become of one."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curation.catalog import Connection, audit
from curation.catalog import runs as run_rows
from curation.errors import InputError, NotFound, TrainingError
from curation.workspace import Project
from training import runs

CHAMPION, NEWEST = "champion", "newest"
"""Words that mean a run beside its id and its tags."""

_TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")

Run = dict[str, Any]


@dataclass(frozen=True)
class Chosen:
    """The run that is used where none was named.

    Attributes:
        run: its row.
        says: why this one, in a sentence.
    """

    run: Run
    says: str


def find(project: Project, word: str) -> Run:
    """The run that a word means: its id with or without the project's part, a tag, or `champion`.

    Raises:
        NotFound: there is none.
        InputError: several bear this tag.
    """
    if word == NEWEST:
        return choose(project).run
    with project.catalog.read() as connection:
        if word == CHAMPION:
            return _champion(connection, project)
        rows = run_rows.brief(connection, project.id)
        named = [row for row in rows if word in (row["id"], _short(project, row["id"]))]
        found = named or [row for row in rows if word in row["tags"] and row["state"] != "deleted"]
        if len(found) > 1:
            raise InputError(
                f"{len(found)} runs are tagged {word!r}: {_listed(found)}. Name one of them."
            )
        if not found:
            raise NotFound(f"No run {word!r}. `labelloop models list` shows them.")
        return run_rows.get(connection, found[0]["id"])


def _champion(connection: Connection, project: Project) -> Run:
    found = run_rows.champion(connection, project.id)
    if found is None:
        raise NotFound(
            f"{project.record.name!r} has no champion yet. `labelloop models promote RUN` makes "
            "one."
        )
    return found


def choose(project: Project) -> Chosen:
    """The champion, else the newest finished run.

    Raises:
        NotFound: no run is finished.
    """
    with project.catalog.read() as connection:
        rows = run_rows.brief(connection, project.id)
        finished = [row for row in rows if row["state"] == "done"]
        if not finished:
            raise NotFound("There is no trained model yet. Train one with `labelloop train`.")
        best = next((row for row in finished if row["champion"]), None)
        run = run_rows.get(connection, (best or finished[-1])["id"])
    if best:
        return Chosen(run, f"{run['id']}, the champion.")
    return Chosen(
        run,
        f"{run['id']}, the newest run; there is no champion. `labelloop models promote RUN` makes "
        "one.",
    )


def tag(project: Project, run_id: str, word: str, *, remove: bool = False) -> list[str]:
    """Gives a run a tag, or takes it away; returns the tags that it has now.

    Raises:
        InputError: the word is no tag, or the run has none such to take away.
    """
    if not _TAG.fullmatch(word):
        raise InputError(
            f"{word!r} is no tag. Write small letters, digits, dots, dashes and underscores, at "
            "most 40."
        )
    with project.catalog.write() as connection:
        rows = run_rows.brief(connection, project.id)
        names = {name for row in rows for name in (row["id"], _short(project, row["id"]))}
        if word in names | {CHAMPION, NEWEST}:
            raise InputError(f"{word!r} means a run already. Take another word.")
        before = run_rows.get(connection, run_id)["tags"]
        if remove and word not in before:
            raise InputError(
                f"{run_id} has no tag {word!r}. It has: {', '.join(before) or 'none'}."
            )
        tags = [one for one in before if one != word] + ([] if remove else [word])
        if tags != before:
            run_rows.set_tags(connection, run_id, tags)
            _note(connection, project, "run-untagged" if remove else "run-tagged", run_id, tag=word)
    return tags


def promote(project: Project, run_id: str) -> str | None:
    """Makes a run the only champion; returns the one before.

    Raises:
        TrainingError: it is not finished, not measured, answers with one class, or is damaged.
    """
    with project.catalog.read() as connection:
        row = run_rows.get(connection, run_id)
    why = _unfit(row)
    if not why and (broken := damage(project, row)):
        why = f"its files changed since it was trained ({', '.join(broken)})"
    if why:
        raise TrainingError(
            f"{run_id} cannot be the champion: {why}. `labelloop models list` shows the others."
        )
    with project.catalog.write() as connection:
        if run_rows.get(connection, run_id)["state"] != "done":
            raise TrainingError(f"{run_id} was deleted just now. Choose another run.")
        before = run_rows.champion(connection, project.id)
        if before is None or before["id"] != run_id:
            run_rows.promote(connection, project.id, run_id)
            former = before["id"] if before else None
            _note(connection, project, "run-promoted", run_id, before=former)
    return before["id"] if before else None


def damage(project: Project, row: Run) -> list[str]:
    """The files of a run that are missing or changed; empty where no hashes were kept."""
    if row["state"] != "done":
        return []
    return runs.damaged(project, row["id"], row["about"].get("files", {}))


def delete(project: Project, run_id: str, *, yes: bool = False) -> int:
    """Deletes a run's files and keeps its row as history; returns the bytes that became free.

    Raises:
        InputError: it is the champion, or a round or the catalog's predictions rest on it and
            `yes` is false.
        TrainingError: it is being trained.
    """
    with project.catalog.read() as connection:
        _check_deletable(connection, run_id, yes=yes)
    # Held to the end, so that no training begins with what is about to go.
    with runs.alone(project, run_id):
        with project.catalog.write() as connection:
            _check_deletable(connection, run_id, yes=yes)
            home = runs.folder(project, run_id)
            freed = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
            run_rows.update_run(connection, run_id, state="deleted")
            _note(connection, project, "run-deleted", run_id, bytes=freed)
        # After the row: a kill in between leaves files that nobody names, not a run without files.
        runs.remove(project, run_id)
    return freed


def _check_deletable(connection: Connection, run_id: str, *, yes: bool) -> None:
    row = run_rows.get(connection, run_id)
    if row["state"] == "deleted":
        raise InputError(f"{run_id} was deleted before.")
    if row["champion"]:
        raise InputError(
            f"{run_id} is the champion. Promote another run first: labelloop models promote RUN"
        )
    if not yes and run_rows.rests_on(connection, run_id):
        raise InputError(
            f"A round or the predictions in the catalog come from {run_id}: without its files "
            "they cannot be made again. Say --yes to delete it all the same."
        )


def _unfit(row: Run) -> str:
    """Why a run cannot be used for good; empty if it can."""
    if row["state"] != "done":
        return f"it is {row['state']}"
    metrics = row["metrics"]
    figures = {
        name: figure["value"]
        for name, figure in metrics.items()
        if isinstance(figure, dict) and "value" in figure
    }
    if not figures:
        return "it has not been measured, for lack of labels that it had not seen"
    broken = [name for name in figures if _is_nan(figures[name])]
    if broken or figures.get("accuracy") is None:
        return f"{', '.join(broken) or 'accuracy'} is not a number"
    per_class = metrics.get("per_class")
    if metrics.get("task") == "single-label" and per_class:
        if sum(one["support"] > 0 for one in per_class) < 2:
            return "it was measured on images of one class, which tells nothing"
        # A class that is never answered has no precision.
        answered = [one["class"] for one in per_class if one["precision"]["value"] is not None]
        if len(answered) < 2:
            return f"it answers {''.join(answered)!r} whatever it sees"
    return ""


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _short(project: Project, run_id: str) -> str:
    return run_id.removeprefix(f"p{project.id}-")


def _listed(rows: Sequence[Run]) -> str:
    return ", ".join(row["id"] for row in rows)


def _note(connection: Connection, project: Project, act: str, run_id: str, **facts: Any) -> None:
    audit.append(connection, project.id, act=act, subject={"run": run_id, **facts})
