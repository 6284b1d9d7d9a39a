"""Commands about whom to ask what: gold questions, second opinions, pausing and taking back."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The person's name.")]
ImagesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[IMAGE]...", help="Names, as imported.")
]


def register(app: typer.Typer) -> None:
    """Adds this noun's commands; those about answers and people join their own nouns."""
    nouns = typer.Typer(
        no_args_is_help=True,
        help="Gold questions: images whose answer is known, asked of everybody among all others.",
    )
    nouns.command("add")(add)
    nouns.command("list")(list_)
    nouns.command("remove")(remove)
    nouns.command("status")(status)
    app.add_typer(nouns, name="golds")


def add(
    images: ImagesArgument = None,
    answer: Annotated[
        str, typer.Option(help="The class that the images show; several are divided by |.")
    ] = "",
    from_csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A table of images and their classes.")
    ] = None,
    from_agreed: Annotated[
        int, typer.Option(metavar="N", help="Up to N images that several people answered alike.")
    ] = 0,
    people: Annotated[int, typer.Option(help="How many people that takes.")] = 3,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make images gold questions; the known answer becomes their label.

    Each round mixes some of them into its batch, and everybody is asked each of them once. Nothing
    in Label Studio tells them from others. Images of the reserve cannot be gold questions.

    Example: labelloop golds add photos/0001.jpg photos/0007.jpg --answer shirt
    """
    from ui.asking import add_golds

    result = add_golds(
        session.project(workspace),
        images or [],
        answer=answer,
        table=from_csv,
        from_agreed=from_agreed,
        people=people,
    )
    lines = [f"{result['added']:,} new or changed; {len(result['golds']):,} gold questions in all."]
    session.show(result, as_json=as_json, lines=lines)


def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the gold questions: the known answer, and how many people gave it.

    A question that most of three people or more answer otherwise counts for nobody until you have
    looked at it.

    Example: labelloop golds list
    """
    from ui.asking import list_golds

    result = list_golds(session.project(workspace))
    lines = [
        f"{row['image']}: {', '.join(row['answer']) or 'none of the classes'}; {row['right']:,} of "
        f"{row['answered']:,} people say so" + (f" ({row['says']})" if row["says"] else "")
        for row in result["golds"]
    ] or ["None yet. Example: labelloop golds add IMAGE --answer CLASS"]
    session.show(result, as_json=as_json, lines=lines)


def remove(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Names, as imported.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make gold questions ordinary images again, labeled by what people say.

    Example: labelloop golds remove photos/0001.jpg
    """
    from ui.asking import remove_golds

    result = remove_golds(session.project(workspace), images)
    lines = [f"{result['removed']:,} removed; {len(result['golds']):,} gold questions are left."]
    session.show(result, as_json=as_json, lines=lines)


def status(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Say how each annotator does in the gold questions.

    Brackets are 95 % intervals. Who is surely below the limit is paused: see `labelloop label
    settings`.

    Example: labelloop golds status
    """
    from ui.asking import gold_status

    result = gold_status(session.project(workspace))
    lines = [
        f"{result['in_use']:,} of {result['golds']:,} gold questions are in use, "
        f"{100 * result['rate']:.0f} % of each batch; the limit is {100 * result['limit']:.0f} %."
    ]
    lines += [
        f"{row['name']}: {session.percent(row['gold'])}, {row['gold_verdict']}"
        for row in result["annotators"]
    ]
    session.show(result, as_json=as_json, lines=lines)


def settings(
    confident: Annotated[
        float | None,
        typer.Option(help="Ask one person more where people disagree, until a label is so sure."),
    ] = None,
    most: Annotated[
        int | None, typer.Option(help="How many people look at an image at most.")
    ] = None,
    gold_rate: Annotated[
        float | None, typer.Option(help="Gold questions, as a share of a batch.")
    ] = None,
    gold_limit: Annotated[
        float | None,
        typer.Option(help="Share of right answers to them, below which people are paused."),
    ] = None,
    pause: Annotated[
        bool | None,
        typer.Option("--pause/--warn-only", help="Whether labelloop pauses people by itself."),
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show or change how many people are asked about an image, and how they are judged.

    Example: labelloop label settings --confident 0.95 --most 5
    """
    from ui.asking import change_settings

    result = change_settings(
        session.project(workspace),
        confident=confident,
        most=most,
        gold_rate=gold_rate,
        gold_limit=gold_limit,
        pause=pause,
    )
    pausing = "paused" if result["pause"] else "warned of, and not paused"
    lines = [
        "Where people disagree or are unsure, others are asked until the label is "
        f"{result['confident']:g} sure or {result['most']} have looked at the image.",
        f"Gold questions make up {100 * result['gold_rate']:g} % of a batch; who is surely below "
        f"{100 * result['gold_limit']:g} % is {pausing}.",
    ]
    session.show(result, as_json=as_json, lines=lines)


def ask_again(
    images: ImagesArgument = None,
    unsure: Annotated[
        bool, typer.Option("--unsure", help="All that somebody is unsure of, and nobody sure.")
    ] = False,
    disputed: Annotated[
        bool, typer.Option("--disputed", help="All that people disagree on, the worst first.")
    ] = False,
    count: Annotated[int | None, typer.Option(help="How many of them at most.")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have one person more look at images, who sees neither a pre-label nor what others said.

    They come before what is left of the batch, and go to nobody who has answered them.

    Example: labelloop label ask-again --disputed --count 20
    """
    from ui.asking import ask_again as ask

    project = session.project(workspace)
    with session.progress() as report:
        result = ask(
            project, images or [], unsure=unsure, disputed=disputed, count=count, report=report
        )
    lines = [f"{result['asked']:,} images are asked once more; {result['already']:,} were already."]
    if result["left_out"]:
        lines.append(
            f"{result['left_out']:,} were left out: they cannot be shown, are gold questions, or "
            "are in the reserve and not asked yet."
        )
    session.show(result, as_json=as_json, lines=[*lines, *_said(result["second_opinions"])])


def _said(opinions: dict[str, Any]) -> list[str]:
    return [opinions["says"]] if opinions["says"] else []


def disable(
    name: NameArgument,
    set_aside: Annotated[
        bool,
        typer.Option(
            "--set-aside", help="Count none of their answers, and ask others instead; pauses them."
        ),
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take an annotator's access away; what they answered stays, or is set aside.

    Example: labelloop annotators disable annotator-1
    """
    from ui.asking import disable as take_away

    result = take_away(session.project(workspace), name, set_aside=set_aside)
    lines = [f"{name} can no longer log in."]
    if set_aside:
        lines.append(
            f"Their answers to {result['set_aside']:,} images are set aside; `labelloop annotators "
            f"enable {name}` brings them back."
        )
    session.show(result, as_json=as_json, lines=lines)


def enable(
    name: NameArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Take an annotator back; answers that were set aside count again.

    Example: labelloop annotators enable annotator-1
    """
    from ui.asking import enable as take_back

    result = take_back(session.project(workspace), name)
    lines = [f"{name} is active again; answers to {result['images']:,} images count again."]
    if result["says"]:
        lines.append(result["says"])
    session.show(result, as_json=as_json, lines=lines)
