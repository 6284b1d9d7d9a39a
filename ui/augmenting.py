"""What people ask of augmentation: recipes, a sheet to look at, a check, copies on disk.

Functions return what the command line prints with `--json`, as those of `ui/wiring.py` do.
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.augmentation import recipes
from curation.augmentation.recipes import Recipe
from curation.catalog import plans, runs
from curation.errors import InputError
from curation.intervals import Figure
from curation.progress import Report, silent
from curation.workspace import Project

if TYPE_CHECKING:
    from curation.augmentation.checks import View
    from curation.augmentation.output import Written
    from curation.augmentation.verdicts import Learn

FOLDER = "recipes"
"""Of the workspace: people's own recipes, NAME.toml each."""
MANY = 20
"""Copies of one image above which they say little new."""


def list_recipes(project: Project | None = None) -> dict[str, Any]:
    """The recipes that come with labelloop, and those of the workspace."""
    found = recipes.every(_folder(project))
    return {"recipes": [{**recipe.as_json(), "origin": recipe.origin} for recipe in found]}


def show_recipe(name: str, project: Project | None = None) -> dict[str, Any]:
    """One recipe, with its file as `toml`: a start for one of one's own."""
    recipe = recipes.find(name, folder=_folder(project))
    return {**recipe.as_json(), "origin": recipe.origin, "toml": recipes.text(recipe)}


def preview(
    project: Project,
    name: str,
    target: Path,
    *,
    images: int = 6,
    seed: int | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Draws the same images as they are and as the recipe changes them."""
    from curation.augmentation import sheet

    seed = project.record.seed if seed is None else seed
    recipe = _find(project, name)
    shown = sheet.draw(project, recipe, target.expanduser(), count=images, seed=seed, report=report)
    return {
        **_about(recipe),
        "preview": str(target),
        "images": shown,
        "variants": sheet.VARIANTS,
        "seed": seed,
    }


def check(
    project: Project,
    name: str,
    *,
    images: int = 0,
    seed: int | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Measures how far a recipe moves images, and which of its steps break labels.

    Args:
        project: whose labeled images they are.
        name: of the recipe.
        images: how many to look at; the usual number for 0.
        seed: of the choice and of the changes; the project's if none.
        report: told of the progress.
    """
    from curation.augmentation import candidates, checks

    seed = project.record.seed if seed is None else seed
    recipe = _find(project, name)
    rows = candidates.find(project).rows
    learn, judge = _judge(project)
    found = checks.check(
        project,
        recipe,
        rows=rows,
        learn=learn,
        count=images or checks.IMAGES,
        seed=seed,
        report=report,
    )
    return {
        **_about(recipe),
        "images": found.images,
        "left_out": found.left_out,
        "judge": f"{judge}, with the layout of the pictures" if found.layout else judge,
        "steps": [_view(view) for view in found.views[:-1]],
        "whole": _view(found.views[-1]),
        "says": list(found.says),
        "seed": seed,
    }


def write(
    project: Project,
    name: str,
    target: Path,
    *,
    per_image: int = 1,
    quotas: bool = False,
    format: str = "png",
    seed: int | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Writes augmented copies of labeled images, none of what models are judged by.

    Args:
        project: whose images they are.
        name: of the recipe; with quotas it may be empty, for the one that the plan names.
        target: a new or empty folder, or one that an interrupted call has left.
        per_image: copies of each image.
        quotas: only as many of each class as the balance plan in force wants.
        format: `png` or `jpeg`.
        seed: of the changes; the project's if none, with which training changes images too.
        report: told of the progress.

    Raises:
        InputError: there is no plan that wants copies, or the folder cannot be used.
    """
    from curation.augmentation import candidates, output

    seed = project.record.seed if seed is None else seed
    plan = _plan(project) if quotas else {}
    recipe = _find(project, name or str(plan.get("recipe", "")))
    found = candidates.find(project)
    if quotas:
        wanted = _wanted(project, plan)
        names = dict(zip(project.record.class_ids, project.record.classes, strict=True))
        copies = candidates.by_class(found.rows, wanted, names=names, seed=seed)
    else:
        copies = candidates.per_image(found.rows, per_image)
    done = output.write(
        project,
        recipe,
        target.expanduser(),
        rows=found.rows,
        copies=copies,
        format=format,
        seed=seed,
        report=report,
    )
    left_out = {**found.left_out, **done.left_out}
    return {**_about(recipe), **_written(done), "left_out": left_out, "seed": seed} | {
        "says": _warnings(int(copies.max(initial=0)))
    }


def _folder(project: Project | None) -> Path | None:
    return project.workspace.path / FOLDER if project else None


def _find(project: Project, name: str) -> Recipe:
    if not name:
        raise InputError(
            f"Name a recipe, as in --recipe standard. There are: {', '.join(recipes.shipped())}."
        )
    return recipes.find(name, folder=_folder(project))


def _about(recipe: Recipe) -> dict[str, Any]:
    return {"recipe": recipe.name, "version": recipe.version, "digest": recipe.digest}


def _judge(project: Project) -> "tuple[Learn | None, str]":
    """What judges the copies, and how that is said.

    The newest run gives the settings. Its weights do not judge: they know the originals by heart,
    so that even the mildest change would seem to break labels.
    """
    if project.record.task == "boxes":
        return None, "none: models of whole images do not judge boxes"
    from functools import partial

    from training import runs as run_files
    from training.heads import judge
    from training.settings import HeadSettings

    with project.catalog.read() as connection:
        heads = [run for run in runs.brief(connection, project.id) if run["kind"] == "head"]
    if not heads:
        return judge.learn, "heads fitted to the labels out of fold"
    newest = heads[-1]["id"]
    path = run_files.folder(project, newest) / "settings.json"
    known = HeadSettings().as_json()
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {path}: {error}. Restore the run from a backup.") from error
    settings = HeadSettings.from_json({key: stored.get(key, known[key]) for key in known})
    return (
        partial(judge.learn, settings=settings),
        f"heads with the settings of run {newest}, fitted to the labels out of fold",
    )


def _view(view: "View") -> dict[str, Any]:
    return {
        "transform": view.name,
        "p": view.p,
        "drift": _json(view.drift),
        "drift_to_same_class": _json(view.to_same_class),
        "drift_to_other_class": _json(view.to_other_class),
        "unchanged": _json(view.unchanged),
        "agreement": _json(view.agreement),
        "difference": _json(view.difference),
        "p_adjusted": round(view.p_adjusted, 6),
        "breaks": [
            {
                "class": one.name,
                "share": _json(one.share),
                "changed": one.changed,
                "restored": one.restored,
                "into": one.into or None,
                "p_adjusted": round(one.p_adjusted, 6),
            }
            for one in view.broken
        ],
    }


def _json(figure: Figure) -> dict[str, Any]:
    """A figure; an end without a bound is null, since JSON has no infinity."""
    value = None if figure.value is None else round(figure.value, 4)
    ends = [round(end, 4) if math.isfinite(end) else None for end in figure.ci]
    return {"value": value, "n": figure.n, "ci": ends}


def _plan(project: Project) -> dict[str, Any]:
    """The settings of the balance plan in force.

    Raises:
        InputError: there is none that wants copies.
    """
    with project.catalog.read() as connection:
        plan = plans.in_force(connection, project.id).get("balance", {})
    if not any(plan.get("augmentation", {}).values()):
        raise InputError(
            "No balance plan in force wants augmented copies. Make one with `labelloop balance "
            "--remedy augmentation --apply`, or give --per-image N."
        )
    return plan


def _wanted(project: Project, plan: dict[str, Any]) -> dict[int, int]:
    """Copies by class id."""
    ids = dict(zip(project.record.classes, project.record.class_ids, strict=True))
    unknown = sorted(set(plan["augmentation"]) - set(ids))
    if unknown:
        raise InputError(
            f"The balance plan names classes that the project no longer has: "
            f"{', '.join(unknown)}. Apply it again with `labelloop balance`."
        )
    return {ids[name]: int(count) for name, count in plan["augmentation"].items()}


def _written(done: "Written") -> dict[str, Any]:
    from curation.augmentation import output

    return {
        "folder": str(done.folder),
        "table": str(done.folder / output.TABLE),
        "images": done.images,
        "copies": done.copies,
        "already": done.already,
        "boxes": done.boxes,
        "boxes_dropped": done.boxes_dropped,
        "seconds": round(done.seconds, 2),
    }


def _warnings(most: int) -> list[str]:
    if most <= MANY:
        return []
    return [
        f"Some images have {most:,} copies each, which say little new of their class: more labels "
        "of it would say more."
    ]
