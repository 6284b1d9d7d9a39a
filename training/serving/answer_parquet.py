"""Answers in Parquet: made of the lines that were written, and turned back into them."""

import json
from itertools import islice
from pathlib import Path
from typing import IO, Any

from curation import files
from curation.errors import InputError
from training.serving.answer_rows import Form

_BLOCK = 10_000
"""Rows at a time."""


def write(journal: Path, out: Path, form: Form) -> None:
    """Makes a Parquet file of lines of JSON."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(form)
    with (
        files.replacing(out) as target,
        pq.ParquetWriter(target, schema, compression="zstd") as writer,  # type: ignore[no-untyped-call]
        journal.open("rb") as source,
    ):
        while block := [json.loads(line) for line in islice(source, _BLOCK)]:
            writer.write_table(pa.Table.from_pylist(block, schema=schema))


def to_lines(out: Path, journal: IO[bytes], form: Form) -> None:
    """Writes the rows of a finished file as the lines that it was made of.

    Raises:
        InputError: it is damaged, or has other columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(out) as file:  # type: ignore[no-untyped-call]
            if not file.schema_arrow.equals(_schema(form)):
                raise ValueError("it has other columns")
            for block in file.iter_batches(_BLOCK):
                rows = (json.dumps(row, ensure_ascii=False) + "\n" for row in block.to_pylist())
                journal.write("".join(rows).encode())
    except (pa.ArrowException, ValueError) as error:
        journal.truncate(0)
        raise InputError(
            f"{out} was changed since `labelloop predict` wrote it ({error}), and is left as it "
            "is. Rename it, or name another file with --out."
        ) from error


def _schema(form: Form) -> Any:
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    fields = [
        pa.field("image", text),
        pa.field("prediction", text if form.task == "single-label" else pa.list_(text)),
        pa.field("confidence", number),
        pa.field("rejected", text),
    ]
    if form.top:
        ranked = pa.struct([pa.field("class", text), pa.field("probability", number)])
        fields.append(pa.field("top", pa.list_(ranked)))
    if form.probabilities:
        fields.append(pa.field("probabilities", pa.list_(number)))
    return pa.schema(fields, metadata={"classes": json.dumps(form.classes)})
