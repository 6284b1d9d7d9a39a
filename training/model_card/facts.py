"""What a model card tells, from a run's row, its files and the catalog."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from curation.catalog import provenance, rounds
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
        chosen: labels that it learned from of images that rounds chose, and not at random.
    """

    project: Project
    row: dict[str, Any]
    about: dict[str, Any]
    header: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    licenses: tuple[str, ...] = ()
    epochs: list[dict[str, Any]] = field(default_factory=list)
    chosen: int = 0

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
    )
    found.chosen = len(_count(found) & _chosen(project))
    return found


def _chosen(project: Project) -> set[int]:
    """The images that rounds chose for what a model made of them."""
    with project.catalog.read() as connection:
        return {
            row.image_id
            for one in rounds.every(connection, project.id)
            if one.record.get("strategy") != "random"
            for row in rounds.ledger(connection, one.id, queue="batch")
        }


def _count(found: Facts) -> set[int]:
    """Counts the labels of each part, from the rows that were frozen with the run.

    Returns:
        The images that it learned from.
    """
    learned: set[int] = set()
    home = runs.folder(found.project, found.run)
    if (home / frozen.NAME).exists():
        held = frozen.load(home)
        names = found.project.record.class_names
        for half in ("train", *_HALVES):
            rows = getattr(held, half)
            part = _HALVES.get(half, half)
            found.labels[part] = Counter(name for row in rows for name in names(row.classes))
            found.sizes[part] = len(rows)
        learned.update(row.image_id for row in held.train)
    elif (home / runs.ROWS).exists():
        import pyarrow.parquet as pq

        file = pq.ParquetFile(home / runs.ROWS)  # type: ignore[no-untyped-call]
        for batch in file.iter_batches(columns=["image_id", "part", "classes"]):  # type: ignore[no-untyped-call]
            columns = batch.to_pydict()
            for key, part, classes in zip(*columns.values(), strict=True):
                if part == "train":
                    learned.add(key)
                found.labels.setdefault(part, Counter()).update(classes)
                found.sizes[part] = found.sizes.get(part, 0) + 1
    return learned
