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
from ui import findings as _findings
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

    def find_issues(
        self, kinds: Sequence[str] = (), *, everything: bool = False, report: Report = silent
    ) -> "pd.DataFrame":
        """Looks for copies, bad images, outliers, wrong labels and leaks.

        Args:
            kinds: as `labelloop issues --kind` takes them; all if empty.
            everything: also a row for every innocent image.
            report: told of the progress.

        Returns:
            Columns image, kind, score (0 to 1, higher is worse), is_issue, reason, related and
            suggested_label; the worst of each kind first.
        """
        found = _findings.find_issues(self._project, kinds, everything=everything, report=report)
        return _frames.issue_frame(found["issues"])

    def issues(self, kinds: Sequence[str] = ()) -> "pd.DataFrame":
        """What `find_issues` found last time, in the same columns."""
        return _frames.issue_frame(_findings.list_issues(self._project, kinds)["issues"])

    def quarantine(self) -> "pd.DataFrame":
        """Images that could not be read, with the reason."""
        import pandas as pd

        return pd.DataFrame(_frames.quarantine(self._project), columns=["image", "reason"])

    def exclude(
        self,
        images: Sequence[str] = (),
        *,
        kinds: Sequence[str] = (),
        reason: str = "",
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Takes images, or all with an issue of these kinds, out of the dataset: one act."""
        return _findings.exclude(
            self._project, kinds=kinds, images=images, reason=reason, dry_run=dry_run
        )

    def restore(self, images: Sequence[str] = (), *, act: int | None = None) -> dict[str, Any]:
        """Undoes the newest act, or the named one, or brings the named images back."""
        return _findings.restore(self._project, act=act, images=images)

    def propagate(self, images: Sequence[str] = (), *, dry_run: bool = False) -> dict[str, Any]:
        """Gives copies of labeled images the same label, marked as such; `restore` undoes it."""
        return _findings.propagate(self._project, images=images, dry_run=dry_run)

    def calibrate_duplicates(
        self, *, precision: float = 0.99, report: Report = silent
    ) -> dict[str, Any]:
        """Measures on planted copies how well copies are found, and sets the threshold."""
        return _findings.calibrate_duplicates(self._project, precision=precision, report=report)

    def similar(
        self, image: str | Path | bytes, *, count: int = 10, report: Report = silent
    ) -> "pd.DataFrame":
        """The images most like one of the project, a file, or a picture's bytes."""
        import pandas as pd

        from curation.similar import similar

        wanted = str(image) if isinstance(image, Path) else image
        found = similar(self._project, wanted, count=count, report=report)
        return pd.DataFrame(found["neighbours"], columns=["image", "similarity"])

    def map(self, *, refit: bool = False, report: Report = silent) -> "pd.DataFrame":
        """One row per image: its place (x, y) on the map of the dataset."""
        return _frames.map_frame(self._project, refit=refit, report=report)

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
