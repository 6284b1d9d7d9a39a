"""The command that hands a dataset on."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("export")(export)


def export(
    to: Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder.")],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="folder, csv, coco, yolo, voc, label-studio, webdataset, huggingface or "
            "croissant.",
        ),
    ],
    snapshot: Annotated[
        str, typer.Option(metavar="ID", help="A version; the dataset as it is now if left out.")
    ] = "",
    images: Annotated[
        str,
        typer.Option(
            metavar="copy|link|none", help="Copy images, link them, or write labels alone."
        ),
    ] = "",
    keep_metadata: Annotated[
        bool,
        typer.Option("--keep-metadata", help="Copies keep EXIF, GPS positions and comments."),
    ] = False,
    unlabeled: Annotated[
        bool, typer.Option("--unlabeled", help="Also images that nobody has labeled.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write images and labels for another tool; the same command goes on if it was interrupted.

    Copies are without EXIF, GPS and comments, their pixels untouched. What is left out is counted
    by reason, and named in OUT/export.json.

    Example: labelloop export --format coco ~/parts-coco
    """
    from ui import exporting

    project = session.project(workspace)
    with session.progress() as report:
        result = exporting.export(
            project,
            to,
            format=format,
            snapshot=snapshot,
            images=images,
            keep_metadata=keep_metadata,
            unlabeled=unlabeled,
            report=report,
        )
    session.show(result, as_json=as_json, lines=_lines(result))


def _lines(result: dict[str, Any]) -> list[str]:
    """Where everything went: in = out + left out."""
    begun = "Was there already" if result["already"] else "Exported"
    lines = [
        f"{begun}: {result['out']:,} of {result['in']:,} images of {result['snapshot']} as "
        f"{result['format']}, {result['files']:,} files in {result['folder']}."
    ]
    if result["left_out"]:
        left = result["in"] - result["out"]
        lines.append(f"Left out {left:,} (each is named in export.json):")
        lines += [f"  {count:,} {reason}" for reason, count in result["left_out"].items()]
    return lines
