"""The demonstration command."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("demo")(demo)


def demo(
    oracle: Annotated[
        bool, typer.Option("--oracle", help="Let the truth answer in people's place.")
    ] = False,
    rounds: Annotated[int, typer.Option(help="Rounds to run, with --oracle.")] = 3,
    exit_: Annotated[
        bool, typer.Option("--exit", help="End after the rounds, with --oracle.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try labelloop on the sample data: a real project, all servers up, the first batch chosen.

    Example: labelloop demo
    """
    if rounds < 1:
        raise typer.BadParameter(f"--rounds {rounds} must be at least 1.")
    chosen = session.chosen(workspace)
    if not oracle:
        _by_hand(chosen or Path("demo"))
        return
    if not exit_:
        _with_oracle(chosen or Path("demo"), rounds, as_json=as_json)
        _by_hand(chosen or Path("demo"))
        return
    if chosen is not None:
        _with_oracle(chosen, rounds, as_json=as_json)
        return
    with tempfile.TemporaryDirectory(prefix="labelloop-demo-") as folder:
        _with_oracle(Path(folder) / "demo", rounds, as_json=as_json)


def _by_hand(folder: Path) -> None:
    from ui import demo as demonstration
    from ui import servers, wiring
    from ui.cli import servers as server_commands

    with session.progress() as report:
        project = demonstration.sample_project(folder, report=report)
    new = servers.log_in(project.workspace) is None
    try:
        with (
            servers.interruptible(),
            servers.start(project.workspace, tell=session.tell) as running,
        ):
            with session.progress() as report:
                found = demonstration.first_round(project, report=report)
            session.tell(
                f"Round {found['round']} has chosen {found['selected']} images, and "
                f"{found['control']} at random to judge the model by."
            )
            for link in wiring.queue_links(project):
                session.tell(f"Label the {link['queue']} queue: {link['url']}")
            found_up = servers.up(project.workspace)
            server_commands.show_up(
                project.workspace,
                found_up,
                as_json=False,
                first_line="Ready. Ctrl-C stops.",
                new=new,
            )
            running.watch()
    except KeyboardInterrupt:
        session.tell("Stopped. The same command goes on from here.")


def _with_oracle(folder: Path, rounds: int, *, as_json: bool) -> None:
    from ui import demo as demonstration
    from ui import servers

    with servers.interruptible(), session.progress() as report:
        found = list(
            demonstration.with_oracle(folder, rounds=rounds, tell=session.tell, report=report)
        )
    result: dict[str, Any] = {"rounds": found[:-1], "label_studio": found[-1]}
    lines = [
        f"round {row['round']}: {row['labels']:,} labels, accuracy "
        f"{session.percent(row['accuracy'])}"
        for row in found[:-1]
    ]
    held = found[-1]
    lines.append(
        f"Label Studio {held['version']}: {held['tasks']:,} tasks, {held['annotations']:,} answers"
    )
    # The demonstration promises one JSON object; people see the lines beside it.
    session.show(result, as_json=True, lines=[])
    if not as_json:
        for line in lines:
            session.tell(line)
