"""What annotators are told: setting it, and seeing it.

Functions return what the command line prints with `--json`, as those of `ui/wiring.py` do.
"""

from pathlib import Path
from typing import Any

from curation.errors import LabelloopError, LabelStudioProjectGone, LabelStudioUnreachable
from curation.workspace import Project, refreshed
from labeling import guidelines


def set_guidelines(project: Project, file: Path) -> dict[str, Any]:
    """Makes a Markdown file the project's guidelines; see `labelloop guidelines set`.

    Raises:
        InputError: it cannot be used; nothing is changed then.
    """
    taken = guidelines.take(file.expanduser(), workspace=project.workspace.path)
    guidelines.keep(project, taken)
    shown, says = _show_now(refreshed(project))
    return {
        "project": project.record.name,
        "characters": len(taken.text),
        "pictures": len(taken.pictures),
        "bytes": sum(map(len, taken.pictures.values())),
        "shown": shown,
        "says": says,
    }


def _show_now(project: Project) -> tuple[list[str], str]:
    """The queues that show them in Label Studio now, and what is to be said about it."""
    from labeling import instructions, queues
    from ui import wiring

    bound = queues.bound(project)
    if not bound:
        return [], "Label Studio shows them from the first round on."
    try:
        shown = []
        with wiring.label_studio_of(project.workspace).connect() as connection:
            for queue in bound:
                try:
                    there = connection.project(queue.remote_id)
                except LabelStudioProjectGone:
                    continue
                if queues.is_at(project, connection, queue, there):
                    instructions.bring_up_to_date(project, connection, there)
                    shown.append(str(queue.queue))
    except LabelStudioUnreachable:
        return [], "Label Studio is not running; it shows them at the next round or pull."
    except LabelloopError as error:
        return [], f"They are kept, and shown at the next round or pull: {error}"
    return shown, f"Shown in Label Studio now: {', '.join(shown) or 'in no queue'}."


def show_guidelines(project: Project) -> dict[str, Any]:
    """The text as it is kept, and where its pictures are; see `labelloop guidelines show`."""
    text = project.record.guidelines
    folder = project.workspace.path / guidelines.FOLDER
    return {
        "project": project.record.name,
        "guidelines": text,
        "pictures": [str(folder / name) for name in guidelines.pictures(text)],
    }
