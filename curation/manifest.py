"""What a snapshot says of each image, as a Parquet file: what training, exports and diffs read.

A manifest's digest is that of its rows and not of the file's bytes, so that another version of the
Parquet library, or another order of import, names the same dataset the same.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from curation.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 2
"""Of the columns below. Manifests of format 1 held labeled images only."""


# Named tuples and no dataclasses: a snapshot makes one for each image, in a quarter of the time,
# and a block of them is turned into columns by `zip`.


class NamedBox(NamedTuple):
    """A labeled rectangle: pixels of the upright image, from its top left corner."""

    label: str
    x: float
    y: float
    width: float
    height: float


class Entry(NamedTuple):
    """One image as it stood.

    Attributes:
        name: path as imported.
        sha256: of the file's bytes; empty where it was never read.
        state: ok, excluded, quarantined, missing or changed.
        reason: why it is not ok.
        width, height: pixels, upright; 0 where it was never read.
        classes: none where the image is unlabeled; empty where somebody looked and found none.
        boxes: of a project of boxes; their labels are `classes`, each once.
        origin: of the label: people, import, propagated or machine; empty where it is unlabeled.
        confidence: how likely the label is right by the method of consensus, 0 to 1, such as the
            share of the answers that agree; 0 where it is unlabeled.
        split: the part it belongs to, such as train, validation or test; empty for none.
        group: key of the images that must stay together; empty where it was never read.
        metadata: column to value.
    """

    name: str
    sha256: str
    state: str
    reason: str = ""
    width: int = 0
    height: int = 0
    classes: tuple[str, ...] | None = None
    boxes: tuple[NamedBox, ...] = ()
    origin: str = ""
    confidence: float = 0.0
    split: str = ""
    group: str = ""
    metadata: Mapping[str, str] = MappingProxyType({})


_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Digest:
    """The digest of rows in whatever order they come: 32 bytes of memory for each."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []

    def add(self, entry: Entry) -> None:
        """Counts one row in."""
        row = (*entry[:-1], sorted(entry.metadata.items()))
        self._rows.append(hashlib.sha256(_encoded(row).encode()).digest())

    def hex(self, about: dict[str, Any]) -> str:
        """SHA-256 of what the rows belong to, such as the project, and of all rows."""
        whole = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        for row in sorted(self._rows):
            whole.update(row)
        return whole.hexdigest()


def _schema() -> "pa.Schema":
    import pyarrow as pa

    box = pa.struct(
        [("label", pa.string()), *((side, pa.float64()) for side in ("x", "y", "width", "height"))]
    )
    return pa.schema(
        [
            *((name, pa.string()) for name in ("name", "sha256", "state", "reason")),
            *((name, pa.int32()) for name in ("width", "height")),
            ("classes", pa.list_(pa.string())),
            ("boxes", pa.list_(box)),
            ("origin", pa.string()),
            ("confidence", pa.float64()),
            *((name, pa.string()) for name in ("split", "group")),
            ("metadata", pa.map_(pa.string(), pa.string())),
        ]
    )


def write(blocks: Iterable[list[Entry]], file: IO[bytes]) -> Iterator[Entry]:
    """Writes blocks of rows as Parquet, a row group each, and hands every row on."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:  # type: ignore[no-untyped-call]
        for block in filter(None, blocks):
            arrays = [
                pa.array(_column(column, field.name), field.type)
                for column, field in zip(zip(*block, strict=True), schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            yield from block


def _column(values: Sequence[Any], name: str) -> Sequence[Any]:
    if name == "boxes" and any(values):
        return [[box._asdict() for box in boxes] for boxes in values]
    if name == "metadata":
        return [sorted(of.items()) for of in values]
    return values


def read(path: Path) -> Iterator[Entry]:
    """The rows of a manifest, streamed.

    Raises:
        InputError: the file is missing or no manifest of this format.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:  # type: ignore[no-untyped-call]
            if file.schema_arrow.names != _schema().names:
                raise InputError(
                    f"{path.name} was written by an older labelloop, which kept less. Make a new "
                    "one with `labelloop snapshot create`."
                )
            for batch in file.iter_batches(batch_size=2_000):
                for row in batch.to_pylist():
                    yield _entry(row)
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is gone. Bring it back from a backup, or make a new one with "
            "`labelloop snapshot create`."
        ) from error
    except pa.ArrowException as error:
        raise InputError(
            f"{path} is damaged: {error}. Bring it back from a backup, or make a new one with "
            "`labelloop snapshot create`."
        ) from error


def _entry(row: dict[str, Any]) -> Entry:
    classes = row.pop("classes")
    return Entry(
        classes=None if classes is None else tuple(classes),
        boxes=tuple(NamedBox(**box) for box in row.pop("boxes")),
        metadata=dict(row.pop("metadata")),
        **row,
    )
