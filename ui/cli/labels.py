"""Commands about people and what they answer."""

from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    nouns = typer.Typer(no_args_is_help=True, help="Answers: pull them, see how far they are.")
    nouns.command("pull")(pull)
    nouns.command("status")(status)
    nouns.command("agreement")(agreement)
    nouns.command("rebuild")(rebuild)
    app.add_typer(nouns, name="label")
    people = typer.Typer(no_args_is_help=True, help="The people who label.")
    people.command("add")(add)
    people.command("list")(list_)
    people.command("disable")(disable)
    app.add_typer(people, name="annotators")
    app.command("adopt")(adopt)


def pull(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Bring in what people have answered since the last time.

    Example: labelloop label pull
    """
    from ui import wiring

    project = session.project(workspace)
    with session.progress() as report:
        result = wiring.pull(project, report=report)
    lines = [
        f"{result['images']:,} images have new or changed answers; {result['annotations']:,} "
        "answers in all."
    ]
    session.show(result, as_json=as_json, lines=lines)


def status(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Say what waits for people and what each of them has done.

    Example: labelloop label status
    """
    from ui import wiring

    result = wiring.label_status(session.project(workspace))
    lines = [f"{queue} queue: {n:,} images wait" for queue, n in result["waiting"].items()]
    lines += [
        f"{row['name']}: {row['answered']:,} answered, {row['skipped']:,} skipped"
        + (f", {row['median_seconds']:.1f} s each (median)" if row["median_seconds"] else "")
        for row in result["annotators"]
    ]
    session.show(result, as_json=as_json, lines=lines)


def agreement(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Say how far people agree beyond chance, in all, two by two, and class by class.

    1 is full agreement and 0 what chance gives; 0.8 is often asked for. Brackets are 95 %
    intervals. Only images that two people have answered count.

    Example: labelloop label agreement
    """
    from ui.agreement import agree

    result = agree(session.project(workspace))
    session.show(result, as_json=as_json, lines=_agreement_lines(result))


def _agreement_lines(result: dict[str, Any]) -> list[str]:
    if not result["images_with_two"]:
        return [
            "No image has answers of two people yet. Every fifth image of the reserve is asked of "
            "two; invite a second person with `labelloop annotators add NAME`."
        ]
    lines = [
        f"{result['annotators']} people, {result['images_with_two']:,} of {result['images']:,} "
        "images answered by two or more",
        f"Krippendorff's alpha: {_coefficient(result['krippendorff_alpha'])}",
        f"Fleiss' kappa: {_coefficient(result['fleiss_kappa'])}",
    ]
    if result["cohen_kappa"]:
        lines += ["", "Cohen's kappa of two people:"]
        lines += [f"  {who}: {_coefficient(found)}" for who, found in result["cohen_kappa"].items()]
    lines += ["", "Alpha of each class against all others:"]
    lines += [f"  {name}: {_coefficient(found)}" for name, found in result["per_class"].items()]
    if result["disputes"]:
        lines += ["", "Said of the same image, most often first; better guidelines may help:"]
        lines += [
            f"  {' / '.join(', '.join(said) or 'none' for said in row['answers'])}: "
            f"{row['images']:,} images, such as {', '.join(row['examples'][:3])}"
            for row in result["disputes"]
        ]
    return lines


def _coefficient(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return f"cannot be told (n = {found['n']:,})"
    low, high = found["ci"]
    return f"{found['value']:.2f} ({low:.2f} to {high:.2f}, n = {found['n']:,})"


def rebuild(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Make a project that was deleted in Label Studio anew; all answers stay.

    Tasks that were deleted there are sent again where they still wait for an answer.

    Example: labelloop label rebuild
    """
    from ui import wiring

    project = session.project(workspace)
    with session.progress() as report:
        result = wiring.rebuild(project, report=report)
    lines = [
        f"Made {result['projects']} projects anew and sent {result['images']:,} images again."
        if result["projects"] or result["images"]
        else "Nothing is missing in Label Studio."
    ]
    session.show(result, as_json=as_json, lines=lines)


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The person's name.")]


def add(name: NameArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Invite an annotator: prints the link with which they choose their own password.

    Example: labelloop annotators add annotator-1
    """
    from ui import wiring

    result = wiring.add_annotator(session.project(workspace), name)
    lines = [
        f"Send {name} this link; it lets them make their own log-in:",
        result["invitation"],
        f"Their answers count as {name}'s if the e-mail address they choose begins with that name "
        "(spaces and punctuation aside), and otherwise stand under the address.",
    ]
    session.show(result, as_json=as_json, lines=lines)


def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the annotators with what they have done.

    Example: labelloop annotators list
    """
    from ui import wiring

    found = wiring.label_status(session.project(workspace))["annotators"]
    lines = [f"{row['name']} ({row['state']}): {row['answered']:,} answered" for row in found]
    session.show(
        {"annotators": found},
        as_json=as_json,
        lines=lines or ["Nobody yet. Invite people with `labelloop annotators add NAME`."],
    )


def disable(
    name: NameArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Take an annotator's access away; what they answered stays.

    Example: labelloop annotators disable annotator-1
    """
    from ui import wiring

    result = wiring.disable_annotator(session.project(workspace), name)
    session.show(result, as_json=as_json, lines=[f"{name} can no longer log in."])


def adopt(
    project: Annotated[int, typer.Option(help="The number of the project in Label Studio.")],
    name: Annotated[str, typer.Option(help="What the project is called here.")] = "",
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take over a project that already lives in Label Studio, with its annotations.

    Example: labelloop adopt --project 12
    """
    from ui import wiring

    with session.progress() as report:
        result = wiring.adopt(session.workspace(workspace), project, name=name, report=report)
    lines = [
        f"Took over {result['project']!r}: {result['images']:,} images, "
        f"{result['annotations']:,} answers, classes {', '.join(result['classes'])}."
    ]
    if result["quarantined"]:
        lines.append(f"Set aside {len(result['quarantined']):,}:")
        lines += [f"  {row['image']}: {row['reason']}" for row in result["quarantined"][:20]]
    session.show(result, as_json=as_json, lines=lines)
