"""Commands for trained models."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli import judging, session
from ui.cli.session import JsonOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    noun = typer.Typer(no_args_is_help=True, help="Trained models.")
    noun.command("list")(list_)
    noun.command("show")(show)
    noun.command("compare")(compare)
    noun.command("tag")(tag)
    noun.command("promote")(promote)
    noun.command("delete")(delete)
    noun.command("export")(export)
    noun.command("reproduce")(reproduce)
    noun.command("import")(import_)
    noun.command("card")(card)
    judging.register(noun)
    app.add_typer(noun, name="models")


RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Its id, a tag, or champion or newest.")
]


def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List all runs, oldest first, with what each of them reached.

    Example: labelloop models list
    """
    from ui import models

    result = models.every(session.project(workspace))
    lines = [_line(one) for one in result["models"]]
    session.show(
        result,
        as_json=as_json,
        lines=lines or ["There is no trained model yet. Train one: labelloop train"],
    )


def _line(one: dict[str, Any]) -> str:
    words = [f"{one['run']:<14} {one['kind']:<9} {one['state']:<7}"]
    if one["labels"] is not None:
        words.append(f"{one['labels']:>7,} labels")
    if one["snapshot"]:
        words.append(one["snapshot"])
    figure = one["metrics"].get("accuracy")
    words.append(f"accuracy {session.percent(figure)}" if figure else "not measured")
    marks = ["champion"] * one["champion"] + ["imported"] * one["imported"] + one["tags"]
    return "  ".join([*words, *([f"[{', '.join(marks)}]"] if marks else [])])


def show(run: RunArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Show one run: data, settings, figures, diagnosis, and whether its files are intact.

    Example: labelloop models show champion
    """
    from ui import models
    from ui.cli import train

    result = models.show(session.project(workspace), run)
    session.show(result, as_json=as_json, lines=[*train.lines(result), *_origin(result)])


def _origin(result: dict[str, Any]) -> list[str]:
    """Where a run comes from, and what has become of its files."""
    lines = []
    if result["tags"]:
        lines.append(f"  tags: {', '.join(result['tags'])}")
    if made := result["imported"]:
        lines.append(f"  imported from {made['file']}, where it was {made['run']}")
    lines += [
        f"  {name}: {', '.join(result[name])}" for name in ("parents", "children") if result[name]
    ]
    settings = ", ".join(f"{name} {value}" for name, value in result["settings"].items())
    lines.append(f"  settings: {settings}")
    if result["damaged"]:
        lines.append(
            f"  DAMAGED since it was trained: {', '.join(result['damaged'])}. Restore "
            f"{result['folder']} from a backup, or train again."
        )
    elif result["files"] and result["state"] == "done":
        lines.append(f"  files intact in {result['folder']}")
    return lines


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A run.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another run.")],
    metric: Annotated[
        str, typer.Option(help="That the sentence is about: accuracy or balanced-accuracy.")
    ] = "accuracy",
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether B is better than A, on labeled images that neither has learned from.

    Example: labelloop models compare champion newest
    """
    from ui import models

    project = session.project(workspace)
    with session.progress() as report:
        result = models.compare(project, first, second, metric=metric, report=report)
    lines = [result["says"]]
    for name in ("accuracy", "balanced_accuracy"):
        both = ", ".join(
            f"{run} {session.percent(result[name][key])}"
            for run, key in zip(result["models"], ("first", "second"), strict=True)
        )
        lines.append(f"  {name.replace('_', ' ')}: {both}")
    test = result["mcnemar"]
    lines.append(
        f"  only {result['models'][0]} right: {test['only_first']:,}, only {result['models'][1]} "
        f"right: {test['only_second']:,} (McNemar p = {test['p_value']:.3g})"
    )
    if result["left_out"]:
        lines.append(
            f"  {result['left_out']:,} images of the test part are left out: one of the two has "
            "learned from them, or from copies."
        )
    lines += [
        f"  {name}: {one} -> {other}"
        for name, (one, other) in result["settings"].items()
        if one is not None and other is not None  # what the other kind of training does not have
    ]
    lines += [f"  {note}" for note in result["notes"]]
    session.show(result, as_json=as_json, lines=lines)


def tag(
    run: RunArgument,
    word: Annotated[str, typer.Argument(metavar="WORD", help="Such as baseline.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the tag away.")] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a run a tag, by which it can be named.

    Example: labelloop models tag train-3 baseline
    """
    from ui import models

    result = models.tag(session.project(workspace), run, word, remove=remove)
    tags = ", ".join(result["tags"]) or "none"
    session.show(result, as_json=as_json, lines=[f"Tags of {result['run']}: {tags}"])


def promote(
    run: RunArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Make a run the champion, which `labelloop predict` uses. There is one a project.

    Example: labelloop models promote train-3
    """
    from ui import models

    result = models.promote(session.project(workspace), run)
    before = result["before"]
    former = f" It was {before} before." if before and before != result["champion"] else ""
    session.show(
        result, as_json=as_json, lines=[f"{result['champion']} is the champion now.{former}"]
    )


def delete(
    run: RunArgument,
    yes: Annotated[
        bool, typer.Option("--yes", help="Even if a round or predictions come from it.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a run's files; that there was such a run stays in the list.

    Example: labelloop models delete train-2
    """
    from ui import models

    result = models.delete(session.project(workspace), run, yes=yes)
    freed = f"{result['bytes'] / 1e6:,.1f} MB"
    session.show(result, as_json=as_json, lines=[f"Deleted {result['deleted']} ({freed})."])


def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write to.")],
    format: Annotated[
        str, typer.Option(help="onnx runs anywhere; safetensors comes back by models import.")
    ] = "onnx",
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a model for use elsewhere: classes, preprocessing and calibration are inside.

    The ONNX file is compared with torch on 200 images first; beside it lies a short script that
    runs it.

    Example: labelloop models export champion --format onnx --out model
    """
    from ui import models

    project = session.project(workspace)
    with session.progress() as report:
        result = models.export(project, run, out, format=format, report=report)
    lines = [f"Wrote {', '.join(result['files'])} to {result['folder']}."]
    if format == "onnx":
        lines += [
            f"Its probabilities differ from torch's by at most {result['largest_difference']:.1e} "
            f"on {result['images']:,} images, and from those of `labelloop predict` on this "
            f"machine by {result['largest_difference_to_predict']:.1e} "
            f"({100 * result['same_answers_as_predict']:.1f} % the same answers).",
            f"Run it: python {out / 'predict_onnx.py'} IMAGE...",
        ]
    else:
        lines.append(f"Elsewhere: labelloop models import {out / 'model.safetensors'}")
    session.show(result, as_json=as_json, lines=lines)


def reproduce(
    run: RunArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Train a run again from its stored rows and settings, and say whether it got the same.

    Example: labelloop models reproduce champion
    """
    from ui import models

    project = session.project(workspace)
    with session.progress() as report:
        result = models.reproduce(project, run, report=report)
    lines = [f"{result['run']}: {result['says']}"]
    if not result["same"]:
        lines += [
            f"  {name.replace('_', ' ')} then {session.percent(both['then'])}, now "
            f"{session.percent(both['now'])}"
            for name, both in result["metrics"].items()
        ]
        lines += [f"  {name}: {then} -> {now}" for name, (then, now) in result["changed"].items()]
    session.show(result, as_json=as_json, lines=lines)


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Of `models export --format safetensors`.")
    ],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in a model that was trained elsewhere, and judge it on this project's test part.

    Pickled files (.pt, .pth, .ckpt) are refused: opening one can run any code.

    Example: labelloop models import model/model.safetensors
    """
    from ui import models
    from ui.cli import train

    project = session.project(workspace)
    with session.progress() as report:
        result = models.bring(project, file, report=report)
    session.show(result, as_json=as_json, lines=[*train.lines(result), *_origin(result)])


def card(
    run: RunArgument,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="A .md or .html file, or a folder for both.")
    ],
    about: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="What the model is for, in your words.")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a model card: data, settings, figures with intervals, slices, diagnosis, limits, use.

    Example: labelloop models card champion --out card.html --about purpose.md
    """
    from ui import models

    result = models.card(session.project(workspace), run, out.expanduser(), about=about)
    session.show(result, as_json=as_json, lines=[f"Wrote {', '.join(result['files'])}"])
