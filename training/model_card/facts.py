"""What a model card tells, from a run's row, its files and the catalog."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from curation.catalog import provenance
from curation.catalog import runs as run_rows
from curation.errors import TrainingError
from curation.workspace import Project
from training import frozen, runs

_HALVES = {"calibration": "validation", "holdout": "test"}


@dataclass
class Facts:
    """One run.

    Attributes:
        row: of the catalog.
        about: the row's, with what run.json adds.
        header: of its snapshot; empty where that is unknown.
        labels: by part, then class, images.
        licenses: of the sources of the project's images, as stated; empty for none.
        epochs: of its metrics.jsonl.
        rounds: whether labels were chosen by models.
    """

    project: Project
    row: dict[str, Any]
    about: dict[str, Any]
    header: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    licenses: tuple[str, ...] = ()
    epochs: list[dict[str, Any]] = field(default_factory=list)
    rounds: bool = False

    @property
    def run(self) -> str:
        """Its id."""
        return str(self.row["id"])

    @property
    def material(self) -> dict[str, Any]:
        """As `Material.as_json`; empty for a round."""
        found: dict[str, Any] = self.about.get("material", {})
        return found

    @property
    def metrics(self) -> dict[str, Any]:
        """On what it was judged on."""
        found: dict[str, Any] = self.row["metrics"]
        return found

    @property
    def backbone(self) -> str:
        """The timm name of the network."""
        return str(self.row["settings"].get("backbone") or self.about.get("backbone", ""))

    def figures(self, of: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
        """The figures that have a value, by name."""
        given = self.metrics if of is None else of
        return {
            name: one
            for name, one in given.items()
            if isinstance(one, dict) and one.get("value") is not None
        }


def gather(project: Project, run_id: str) -> Facts:
    """All that is known of a finished run.

    Raises:
        NotFound: there is none of this id.
        TrainingError: it is not finished, or its files are missing or broken.
    """
    with project.catalog.read() as connection:
        row = run_rows.get(connection, run_id)
        snapshot = (
            run_rows.snapshot(connection, project.id, row["snapshot_id"])
            if row["snapshot_id"]
            else None
        )
        sources = provenance.of_images(connection, project.id)
        others = run_rows.every(connection, project.id)
    if row["project_id"] != project.id or row["state"] != "done":
        state = row["state"] if row["project_id"] == project.id else "another project's"
        raise TrainingError(
            f"{run_id} is {state}; only a finished run has a card. `labelloop models list` shows "
            "them."
        )
    found = Facts(
        project,
        row,
        {**runs.read(project, run_id, runs.FACTS), **row["about"]},
        header=snapshot["header"] if snapshot else {},
        licenses=tuple(source.license for source in sources),
        epochs=runs.read_epochs(project, run_id),
        rounds=any("-round-" in other["id"] for other in others),
    )
    _count(found)
    return found


def _count(found: Facts) -> None:
    """Labels of each part, from the rows that were frozen with the run."""
    home = runs.folder(found.project, found.run)
    if (home / frozen.NAME).exists():
        held = frozen.load(home)
        names = found.project.record.class_names
        for half in ("train", *_HALVES):
            rows = getattr(held, half)
            part = _HALVES.get(half, half)
            found.labels[part] = Counter(name for row in rows for name in names(row.classes))
            found.sizes[part] = len(rows)
    elif (home / runs.ROWS).exists():
        import pyarrow.parquet as pq

        file = pq.ParquetFile(home / runs.ROWS)  # type: ignore[no-untyped-call]
        for batch in file.iter_batches(columns=["part", "classes"]):  # type: ignore[no-untyped-call]
            columns = batch.to_pydict()
            for part, classes in zip(columns["part"], columns["classes"], strict=True):
                found.labels.setdefault(part, Counter()).update(classes)
                found.sizes[part] = found.sizes.get(part, 0) + 1
