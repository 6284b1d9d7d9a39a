"""Commands of the active-learning round."""

from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("round")(round_)
    nouns = typer.Typer(no_args_is_help=True, help="The rounds of a project.")
    nouns.command("list")(list_)
    nouns.command("show")(show)
    app.add_typer(nouns, name="rounds")


def round_(
    strategy: Annotated[
        str, typer.Option(help="How images are chosen; auto takes the one that suits the round.")
    ] = "auto",
    budget: Annotated[int, typer.Option(help="How many images to send to people.")] = 50,
    reserve: Annotated[
        int, typer.Option(help="How many random images round 0 sends for judging models.")
    ] = 150,
    unaided_share: Annotated[
        float,
        typer.Option(
            help="Share of the images whose pre-label is held back, at random, so that "
            "`labelloop label prelabels` can say what pre-labels do."
        ),
    ] = 0.1,
    answers: Annotated[
        int, typer.Option(help="How many people answer each image of the batch.")
    ] = 1,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pull the answers, train, judge, choose the next images and send them to people.

    A round that was interrupted goes on where it stopped.

    Example: labelloop round --budget 100
    """
    from ui import wiring

    project = session.project(workspace)
    with session.progress() as report:
        result = wiring.run_round(
            project,
            strategy=strategy,
            budget=budget,
            reserve=reserve,
            unaided_share=unaided_share,
            answers=answers,
            report=report,
        )
    lines = _lines(result)
    lines += [f"{link['queue']} queue: {link['url']}" for link in wiring.queue_links(project)]
    session.show(result, as_json=as_json, lines=lines)


def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the rounds with what each of them reached.

    Example: labelloop rounds list
    """
    from ui import wiring

    found = wiring.status(session.project(workspace))["rounds"]
    lines = [
        f"round {row['round']}: {row['labels']:,} labels, {row['strategy']}, balanced accuracy "
        f"{session.percent(row['metrics'].get('balanced_accuracy'))}"
        for row in found
    ] or ["No round yet. Start one with `labelloop round --budget 50`."]
    session.show({"rounds": found}, as_json=as_json, lines=lines)


def show(
    number: Annotated[str, typer.Argument(metavar="N", help="A round's number, or latest.")] = (
        "latest"
    ),
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one round: what it learned, chose and sent.

    Example: labelloop rounds show latest
    """
    from ui import wiring

    if number != "latest" and not number.isdigit():
        raise typer.BadParameter(f"{number!r} is neither a round's number nor latest.")
    result = wiring.show_round(
        session.project(workspace), None if number == "latest" else int(number)
    )
    session.show(result, as_json=as_json, lines=_lines(result))


def _lines(result: dict[str, Any]) -> list[str]:
    lines = [f"Round {result['round']} ({result['state']})"]
    if result["labels"]:
        lines.append(f"  learned from {result['labels']:,} labels")
    metrics = result["metrics"]
    lines += [
        f"  {name.replace('_', ' ')} {session.percent(metrics[name])}"
        for name in ("accuracy", "balanced_accuracy", "macro_f1")
        if metrics.get(name)
    ]
    lines += [
        f"    {one['class']:<16} recall {session.percent(one.get('recall'))}"
        for one in metrics.get("per_class", [])
    ]
    if result["strategy"]:
        rule = f", because: {result['rule']}" if result["rule"] else ""
        lines.append(f"  strategy {result['strategy']}{rule}")
        lines.append(
            f"  sent {result['selected']:,} chosen and {result['control']:,} random images"
            + (f"; {result['carried']:,} more still wait" if result["carried"] else "")
        )
    for queue, counts in result["queues"].items():
        lines.append(f"  {queue} queue: {counts['labeled']:,} of {counts['sent']:,} labeled")
    seconds = ", ".join(f"{name} {value:.1f}" for name, value in result["seconds"].items())
    if seconds:
        lines.append(f"  seconds: {seconds}")
    if result["advice"]:
        lines.append(f"  {result['advice']}")
    return lines
