"""The command line: one file per noun, each command a thin mirror of a Python call.

Heavy imports stand inside the commands, so that `labelloop --help` answers at once.
"""

import logging
import os
import sys

import typer

from curation.errors import LabelloopError
from ui.cli import session
from ui.cli.session import WorkspaceOption

app = typer.Typer(
    name="labelloop",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a pile of unlabeled images to a trustworthy dataset and a trained model.",
)


@app.callback()
def _root(
    workspace: WorkspaceOption = None,
    verbose: bool = typer.Option(False, "--verbose", help="Log more, on stderr."),
) -> None:
    session.named_first.set(workspace)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


def _register() -> None:
    from ui.cli import (
        acts,
        asking,
        audit,
        augment,
        balance,
        card,
        classes,
        demo,
        doctor,
        duplicates,
        explain,
        export,
        guidelines,
        issues,
        labels,
        machines,
        models,
        predict,
        projects,
        rounds,
        servers,
        similar,
        simulate,
        snapshots,
        split,
        train,
        tune,
    )

    for module in (
        projects,
        classes,
        issues,
        duplicates,
        acts,
        similar,
        balance,
        audit,
        augment,
        split,
        rounds,
        train,
        tune,
        models,
        predict,
        explain,
        snapshots,
        export,
        card,
        simulate,
        labels,
        machines,
        asking,
        guidelines,
        servers,
        demo,
        doctor,
    ):
        module.register(app)


_register()


def main() -> None:
    """Runs the command line; the user's errors become one line and exit code 1."""
    # albumentations asks the network for its newest version when it is imported.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        app()
    except LabelloopError as error:
        session.tell(f"labelloop: {error}")
        sys.exit(1)
