"""The public Python API.

>>> import labelloop
>>> project = labelloop.open("~/parts")         # doctest: +SKIP
>>> project.images(status="pool").head()        # doctest: +SKIP
>>> project.round(budget=50)                    # doctest: +SKIP

Tables are pandas frames, everything else plain values as `labelloop ... --json` prints them. Errors
are `labelloop.LabelloopError` and its children (see `curation/errors.py`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation import workspace as _workspaces
from curation.errors import LabelloopError
from curation.progress import Report, silent
from curation.workspace import Project as _Project
from ui import frames as _frames
from ui import wiring as _wiring

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LabelloopError", "Project", "create", "open"]


def open(workspace: str | Path, *, project: str = "") -> "Project":
    """The current (or the named) project of a workspace folder.

    Raises:
        LabelloopError: the folder is no workspace, or has no such project.
    """
    found = _workspaces.open(Path(workspace).expanduser())
    return Project(_workspaces.project(found, project))


def create(
    workspace: str | Path,
    *,
    classes: Sequence[str],
    name: str = "default",
    task: str = "single-label",
    target: str = "",
    seconds_per_label: float = 4.0,
    guidelines: str | Path | None = None,
) -> "Project":
    """A new project, in a workspace that is made if the folder is none yet.

    Args:
        workspace: the folder.
        classes: two or more names.
        name: the project's, unique in the workspace.
        task: `single-label` or `multi-label`.
        target: the goal, as in `balanced-accuracy=0.92`.
        seconds_per_label: what one label costs.
        guidelines: a Markdown file that annotators are shown.
    """
    made = _wiring.create_project(
        Path(workspace),
        name=name,
        classes=",".join(classes),
        task=task,
        target=target,
        seconds_per_label=seconds_per_label,
        guidelines=Path(guidelines) if guidelines else None,
    )
    return Project(made)


class Project:
    """One project: its images, rounds, models and snapshots, and what can be done with them."""

    def __init__(self, project: _Project) -> None:
        self._project = project

    def __repr__(self) -> str:
        """Name and workspace."""
        return f"<labelloop project {self.name!r} in {self._project.workspace.path}>"

    @property
    def name(self) -> str:
        """The project's name."""
        return self._project.record.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in their order."""
        return self._project.record.classes

    def status(self) -> dict[str, Any]:
        """Where the project stands: counts, classes, rounds, the next step."""
        return _wiring.status(self._project)

    def add_images(
        self,
        source: str | Path,
        *,
        labels: str | Path | None = None,
        labels_from: str = "auto",
        copy: bool = False,
        strict: bool = False,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Imports a folder or a CSV; images that are there already are passed over."""
        return _wiring.import_images_from(
            self._project,
            str(source),
            table=str(labels) if labels else None,
            labels_from=labels_from,
            copy=copy,
            strict=strict,
            report=report,
        )

    def embed(self, *, backbone: str = "", report: Report = silent) -> dict[str, Any]:
        """Embeds the images that have no embedding yet."""
        return _wiring.embed(self._project, backbone=backbone, report=report)

    def round(
        self,
        *,
        strategy: str = "auto",
        budget: int = 50,
        reserve: int = 150,
        report: Report = silent,
    ) -> dict[str, Any]:
        """Pulls answers, trains, judges, chooses and sends the next images to Label Studio."""
        return _wiring.run_round(
            self._project, strategy=strategy, budget=budget, reserve=reserve, report=report
        )

    def pull(self) -> dict[str, Any]:
        """Brings in what people have answered since the last time."""
        return _wiring.pull(self._project)

    def images(self, *, status: str = "any", label: str = "") -> "pd.DataFrame":
        """One row per image: name, state, label, prediction, confidence, reserve, metadata.

        Args:
            status: any, labeled, pool, reserve, quarantined or excluded.
            label: only images of this class.
        """
        import pandas as pd

        return pd.DataFrame(_frames.image_table(self._project, status=status, label=label))

    def issues(self) -> "pd.DataFrame":
        """Images that were set aside, with the reason."""
        import pandas as pd

        return pd.DataFrame(_frames.quarantine(self._project), columns=["image", "kind", "reason"])

    def rounds(self) -> "pd.DataFrame":
        """One row per round: number, strategy, labels, and each figure with its interval."""
        import pandas as pd

        return pd.DataFrame(_frames.round_table(self._project))

    def models(self) -> "pd.DataFrame":
        """One row per trained model, with the snapshot it saw."""
        import pandas as pd

        return pd.DataFrame(_frames.model_table(self._project))

    def snapshots(self) -> "pd.DataFrame":
        """One row per snapshot of the labels."""
        import pandas as pd

        return pd.DataFrame(_frames.snapshot_table(self._project))

    def snapshot(self) -> str:
        """Freezes the labels as they are now and returns the snapshot's id."""
        return _wiring.create_snapshot(self._project)
