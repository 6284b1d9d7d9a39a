"""Commands that make projects, fill them and say where they stand."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("init")(init)
    app.command("import")(import_)
    app.command("status")(status)
    app.command("embed")(embed)
    nouns = typer.Typer(no_args_is_help=True, help="The projects of a workspace.")
    nouns.command("list")(list_)
    nouns.command("switch")(switch)
    nouns.command("archive")(archive)
    nouns.command("delete")(delete)
    nouns.command("restore")(restore)
    app.add_typer(nouns, name="projects")


def init(
    classes: Annotated[str, typer.Option(help="The classes, separated by commas.")],
    workspace: WorkspaceOption = None,
    name: Annotated[str, typer.Option(help="The project's name in the workspace.")] = "default",
    task: Annotated[str, typer.Option(help="single-label, multi-label or boxes.")] = "single-label",
    target: Annotated[
        str, typer.Option(metavar="METRIC=VALUE", help="The goal, e.g. balanced-accuracy=0.92.")
    ] = "",
    seconds_per_label: Annotated[float, typer.Option(help="What one label costs, for advice.")] = 4,
    guidelines: Annotated[
        Path | None, typer.Option(help="A Markdown file that annotators are shown.")
    ] = None,
    none_of_these: Annotated[
        bool,
        typer.Option("--none-of-these", help="Add a class for none of the others, with the key 0."),
    ] = False,
    none_name: Annotated[
        str, typer.Option(metavar="NAME", help="What --none-of-these is called.")
    ] = "none of these",
    as_json: JsonOption = False,
) -> None:
    """Make a workspace and a project in it.

    Example: labelloop init --workspace ~/parts --classes ok,scratch,dent --target
    balanced-accuracy=0.92
    """
    from ui import wiring

    made = wiring.create_project(
        session.chosen(workspace) or Path.cwd(),
        name=name,
        classes=classes,
        task=task,
        target=target,
        seconds_per_label=seconds_per_label,
        guidelines=guidelines,
        none_of_these=none_name if none_of_these else "",
    )
    result = {
        "workspace": str(made.workspace.path),
        "project": made.record.name,
        "classes": list(made.record.classes),
    }
    lines = [
        f"Made the project {made.record.name!r} in {made.workspace.path}.",
        f"Classes: {', '.join(made.record.classes)}.",
        "Next: labelloop import FOLDER",
    ]
    session.show(result, as_json=as_json, lines=lines)


def import_(
    source: Annotated[
        Path,
        typer.Argument(metavar="SRC", help="A folder, or the file that lists the dataset."),
    ],
    format: Annotated[
        str,
        typer.Option(help="auto, folder, csv, coco, yolo, voc or label-studio."),
    ] = "auto",
    labels: Annotated[
        Path | None,
        typer.Option(help="The labels, if not in SRC: a CSV (more columns are metadata) or JSON."),
    ] = None,
    labels_from: Annotated[
        str, typer.Option(help="folder, csv or none; decided by what is there if left out.")
    ] = "auto",
    copy: Annotated[bool, typer.Option("--copy", help="Keep copies in the workspace.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first bad row or image.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add images with their labels, boxes and split; what is there already is passed over.

    A label that was corrected in SRC since the last import takes the old one's place, unless people
    have answered.

    Example: labelloop import ~/photos --labels ~/labels.csv
    """
    from ui import wiring

    project = session.project(workspace)
    plan = wiring.understand_import(
        project, source, format=format, table=labels, labels_from=labels_from
    )
    for sentence in plan.sentences():
        session.tell(f"  {sentence}")
    with session.progress() as report:
        result = wiring.import_images(project, plan, copy=copy, strict=strict, report=report)
    lines = [
        f"Added {result['added']:,} images in {result['seconds']:.1f} s"
        f" ({result['already']:,} were there already, {result['labeled']:,} came with a label)."
    ]
    if result["relabeled"]:
        lines.append(f"{result['relabeled']:,} labels are others than before.")
    quarantined = result["quarantined"]
    if quarantined:
        lines.append(f"Set aside {len(quarantined):,}:")
        lines += [f"  {row['image']}: {row['reason']}" for row in quarantined[:20]]
        if len(quarantined) > 20:
            lines.append(f"  ... and {len(quarantined) - 20:,} more (--json lists all)")
    lines.append(f"Next: {wiring.status(project)['next']}")
    session.show(result, as_json=as_json, lines=lines)


def status(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Say where the project stands.

    Example: labelloop status --json
    """
    from ui import wiring

    result = wiring.status(session.project(workspace))
    images = result["images"]
    lines = [
        f"Project {result['project']!r} in {result['workspace']}",
        "Images: "
        + ", ".join(f"{images[key]:,} {key}" for key in images if images[key] or key == "total"),
        "Labels: " + ", ".join(f"{name} {n:,}" for name, n in result["classes"].items()),
    ]
    lines += [_round_line(found) for found in result["rounds"]]
    lines.append(f"Next: {result['next']}")
    session.show(result, as_json=as_json, lines=lines)


def _round_line(found: dict[str, Any]) -> str:
    said = f"Round {found['round']}: {found['strategy'] or 'not chosen yet'}, {found['state']}"
    figure = found["metrics"].get("balanced_accuracy")
    return said + (f", balanced accuracy {session.percent(figure)}" if figure else "")


def embed(
    backbone: Annotated[
        str, typer.Option(help="Any timm model; the bundled one if left out.")
    ] = "",
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Embed the images that have no embedding yet. Other commands do this by themselves.

    Example: labelloop embed
    """
    from ui import wiring

    project = session.project(workspace)
    with session.progress() as report:
        result = wiring.embed(project, backbone=backbone, report=report)
    lines = [
        f"Embedded {result['embedded']:,} images, {result['images_per_second']:,.0f} a second "
        f"({result['fingerprint']})."
    ]
    session.show(result, as_json=as_json, lines=lines)


def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the projects of the workspace.

    Example: labelloop projects list
    """
    from ui import wiring

    result = wiring.list_projects(session.workspace(workspace))
    lines = [
        f"{'*' if found['current'] else ' '} {found['project']} ({found['state']}): "
        f"{', '.join(found['classes'])}"
        for found in result["projects"]
    ]
    session.show(result, as_json=as_json, lines=lines)


NameArgument = Annotated[str, typer.Argument(metavar="PROJECT", help="The project's name.")]


def switch(
    name: NameArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Make another project the current one.

    Example: labelloop projects switch parts-2027
    """
    from ui import wiring

    wiring.switch_project(session.workspace(workspace), name)
    session.show({"project": name}, as_json=as_json, lines=[f"The current project is {name!r}."])


def archive(
    name: NameArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Put a finished project away; `projects restore` brings it back.

    Example: labelloop projects archive parts-2025
    """
    _set_state(name, "archived", workspace, as_json)


def delete(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a project; for 30 days `projects restore` brings it back. Images stay on disk.

    Example: labelloop projects delete trial --yes
    """
    if not yes:
        typer.confirm(f"Delete the project {name!r}? It can be restored for 30 days.", abort=True)
    _set_state(name, "deleted", workspace, as_json)


def restore(
    name: NameArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Bring an archived or deleted project back.

    Example: labelloop projects restore trial
    """
    _set_state(name, "active", workspace, as_json)


def _set_state(name: str, state: str, workspace: Path | None, as_json: bool) -> None:
    from ui import wiring

    wiring.set_project_state(session.workspace(workspace), name, state)
    session.show(
        {"project": name, "state": state}, as_json=as_json, lines=[f"{name!r} is now {state}."]
    )
