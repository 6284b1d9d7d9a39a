"""The command about augmentation: recipes, a preview, a check, and copies on disk."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("augment")(augment)


def augment(
    recipe: Annotated[
        str, typer.Option(metavar="NAME", help="A recipe's name, or the path of a .toml file.")
    ] = "",
    list_recipes: Annotated[bool, typer.Option("--list", help="List the recipes.")] = False,
    show: Annotated[str, typer.Option(metavar="NAME", help="Print a recipe's file.")] = "",
    preview: Annotated[
        Path | None,
        typer.Option(metavar="OUT.png", help="Draw images as they are and as the recipe has them."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Measure drift, and find steps that break labels.")
    ] = False,
    write: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write copies and their table to a folder.")
    ] = None,
    images: Annotated[
        int | None, typer.Option(help="With --preview or --check: on how many images.")
    ] = None,
    per_image: Annotated[
        int | None, typer.Option(help="With --write: copies of each image (1 if left out).")
    ] = None,
    quotas: Annotated[
        bool, typer.Option("--quotas", help="With --write: what the balance plan wants, no more.")
    ] = False,
    format: Annotated[str, typer.Option(help="With --write: png or jpeg.")] = "png",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the changes; the project's if left out.")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change images a little, in ways that leave their labels as they are.

    Recipes come with labelloop (light, standard, strong, documents, industrial, medical-safe) or
    from recipes/NAME.toml in the workspace. Images of the reserve and of test parts are never
    copied.

    Example: labelloop augment --recipe standard --preview sheet.png
    """
    from curation.errors import InputError
    from ui import augmenting

    asked = {
        "--list": list_recipes,
        "--show": bool(show),
        "--preview": preview is not None,
        "--check": check,
        "--write": write is not None,
    }
    named = [option for option, given in asked.items() if given]
    if len(named) != 1:
        raise InputError(
            f"Give exactly one of {', '.join(asked)}"
            + (f"; there are {' and '.join(named)}." if named else ".")
        )
    _check_fit(named[0], images=images, per_image=per_image, quotas=quotas)
    if list_recipes:
        found = augmenting.list_recipes(_project_here(workspace))
        session.show(found, as_json=as_json, lines=_listed(found))
        return
    if show:
        found = augmenting.show_recipe(show, _project_here(workspace))
        session.show(found, as_json=as_json, lines=found["toml"].splitlines())
        return
    project = session.project(workspace)
    with session.progress() as report:
        if preview is not None:
            count = 6 if images is None else images
            found = augmenting.preview(
                project, recipe, preview, images=count, seed=seed, report=report
            )
            lines = [f"Wrote {found['preview']}: {len(found['images'])} images, 4 copies of each."]
        elif write is not None:
            found = augmenting.write(
                project,
                recipe,
                write,
                per_image=1 if per_image is None else per_image,
                quotas=quotas,
                format=format,
                seed=seed,
                report=report,
            )
            lines = _written(found)
        else:
            if images is not None and images < 1:
                raise InputError(f"--images is {images}; give 1 or more.")
            found = augmenting.check(project, recipe, images=images or 0, seed=seed, report=report)
            lines = _checked(found)
    session.show(found, as_json=as_json, lines=lines)


def _check_fit(act: str, *, images: int | None, per_image: int | None, quotas: bool) -> None:
    """Refuses options of another act, which would be left unheard."""
    from curation.errors import InputError

    if images is not None and act not in ("--preview", "--check"):
        raise InputError("--images goes with --preview or --check.")
    if (per_image is not None or quotas) and act != "--write":
        raise InputError("--per-image and --quotas go with --write.")
    if per_image is not None and quotas:
        raise InputError("Give either --per-image or --quotas, not both.")


def _project_here(workspace: Path | None) -> Any:
    """The project, for its own recipes; none outside of a workspace, unless one was named."""
    from curation.errors import WorkspaceError

    try:
        return session.project(workspace)
    except WorkspaceError:
        if session.chosen(workspace):
            raise
        return None


def _listed(found: dict[str, Any]) -> list[str]:
    lines = []
    for recipe in found["recipes"]:
        steps = ", ".join(step["transform"] for step in recipe["steps"])
        origin = "" if recipe["origin"] == "shipped" else f" ({recipe['origin']})"
        lines.append(f"{recipe['name']:14} version {recipe['version']}{origin}")
        lines += [f"    {recipe['description']}"] if recipe["description"] else []
        lines.append(f"    {steps}")
    return lines


def _written(found: dict[str, Any]) -> list[str]:
    lines = [
        f"Wrote {found['copies']:,} copies of {found['images']:,} images to {found['folder']} "
        f"in {found['seconds']:.1f} s"
        + (f"; {found['already']:,} were there already." if found["already"] else ".")
    ]
    lines += [f"  left out: {count:,} {reason}" for reason, count in found["left_out"].items()]
    if found["boxes"] or found["boxes_dropped"]:
        lines.append(
            f"  {found['boxes']:,} boxes; {found['boxes_dropped']:,} left the picture and are gone."
        )
    return [*lines, *found["says"], f"What each one is: {found['table']}"]


def _checked(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{found['recipe']}, version {found['version']}, on {found['images']:,} images "
        f"(judge: {found['judge']}).",
        f"{'':26}{'drift':>8}{'/ other class':>15}{'label kept':>13}{'unchanged':>12}",
    ]
    for view in [*found["steps"], found["whole"]]:
        name = "whole recipe" if view is found["whole"] else view["transform"]
        lines.append(
            f"{name:26}{_number(view['drift'])}{_number(view['drift_to_other_class'], 15)}"
            f"{_share(view['agreement'], 13)}{_share(view['unchanged'], 12)}"
        )
    return [*lines, *found["says"]]


def _number(figure: dict[str, Any], width: int = 8) -> str:
    return f"{'-' if figure['value'] is None else format(figure['value'], '.3f'):>{width}}"


def _share(figure: dict[str, Any], width: int) -> str:
    shown = "-" if figure["value"] is None else f"{100 * figure['value']:.1f} %"
    return f"{shown:>{width}}"
