"""Commands about the classes of a project."""

from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    nouns = typer.Typer(
        no_args_is_help=True, help="The classes of a project: add, rename, merge, order."
    )
    nouns.command("list")(list_)
    nouns.command("add")(add)
    nouns.command("rename")(rename)
    nouns.command("merge")(merge)
    nouns.command("move")(move)
    app.add_typer(nouns, name="classes")


def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the classes in the order that annotators see, with how many labels name each.

    Example: labelloop classes list
    """
    from ui import classes

    result = classes.show(session.project(workspace))
    lines = []
    for place, row in enumerate(result["classes"], 1):
        notes = ["none of the others"] if row["kind"] == "none" else []
        if row["former_names"]:
            notes.append(f"formerly {', '.join(row['former_names'])}")
        said = f" ({'; '.join(notes)})" if notes else ""
        lines.append(f"{place}. {row['class']}: {row['labels']:,} labels{said}")
    session.show(result, as_json=as_json, lines=lines)


def add(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="The new classes.")
    ] = None,
    none: Annotated[
        bool,
        typer.Option(
            "--none", help="It stands for none of the others, and is called so without a NAME."
        ),
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add classes behind those there are; annotators can choose them from the next pull on.

    Images labeled before are not asked about again: go through those that may be of a new class,
    for example with `labelloop similar`.

    Example: labelloop classes add dent "deep scratch"
    """
    from ui import classes

    result = classes.add(session.project(workspace), names or [], none=none)
    lines = [f"Added {', '.join(result['added'])}."] if result["added"] else []
    if result["already"]:
        lines.append(f"There already: {', '.join(result['already'])}.")
    _show(result, as_json, lines)


def rename(
    old: Annotated[str, typer.Argument(metavar="OLD", help="What the class is called.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="What it is to be called.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a class another name; labels, answers and models stay.

    Example: labelloop classes rename dent dented
    """
    from ui import classes

    result = classes.rename(session.project(workspace), old, new)
    _show(result, as_json, [f"{old!r} is called {new!r} now."])


def merge(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="The classes that go.")],
    into: Annotated[str, typer.Option(metavar="NAME", help="The class that stays.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make several classes one. It cannot be undone, so make a snapshot first.

    Labels and answers follow. What was said before keeps its name in each image's history.

    Example: labelloop classes merge t-shirt pullover --into top
    """
    from ui import classes

    result = classes.merge(session.project(workspace), names, into=into)
    lines = [
        f"{', '.join(names)}: {into!r} now. {result['labels']:,} labels and "
        f"{result['annotations']:,} answers follow."
    ]
    if result["plans_taken_back"]:
        lines.append(
            f"Taken back, since they counted on these classes: "
            f"{', '.join(result['plans_taken_back'])}. Make them anew with `labelloop balance`."
        )
    _show(result, as_json, lines)


def move(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The class.")],
    place: Annotated[int, typer.Argument(metavar="PLACE", help="Its place, counted from 1.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a class at another place of the order; the first nine have the keys 1 to 9.

    Example: labelloop classes move scratch 1
    """
    from ui import classes

    result = classes.move(session.project(workspace), name, place)
    _show(result, as_json, [f"{name!r} is number {place} now."])


def _show(result: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    lines = [*lines, f"The classes: {', '.join(result['classes'])}."]
    session.show(result, as_json=as_json, lines=lines)
