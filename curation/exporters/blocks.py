"""Brings the images of an export, in blocks that are durable before the next one begins."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from curation.catalog import images as image_rows
from curation.exporters.carrying import Carrier, Load, in_order
from curation.exporters.record import Export, Exporter, Item
from curation.exporters.refusals import Refusals
from curation.images import usable_cores
from curation.progress import Report
from curation.workspace import Project

SHARD_BYTES = 256 * 1024 * 1024
"""Of images in one shard, from which on it is closed early."""


def carry(
    project: Project,
    export: Export,
    exporter: Exporter,
    carrier: Carrier,
    *,
    refusals: Refusals,
    size: int,
    total: int,
    report: Report,
) -> Counter[str]:
    """Brings all images, block by block, and notes each block that is done.

    Args:
        project: whose images they are.
        export: what is exported.
        exporter: its format.
        carrier: how images are brought.
        refusals: learns which images could not be brought.
        size: images of a block.
        total: images that are expected, for the report.
        report: told of the progress.

    Returns:
        How many files and bytes were written.
    """
    tally: Counter[str] = Counter()
    done = 0
    for part in export.parts if exporter.shard else [None]:
        items = export.items() if part is None else _of(export, part)
        number = 0
        while block := list(islice(items, size)):
            step = f"{export.parts.index(part) if part else 0}-{number}"
            marked = export.folder.marked(step)
            if marked is None:
                tell = partial(_tell, report, done, total)
                marked = _block(project, export, exporter, carrier, block, part, number, tell)
                marked |= export.folder.settle()
                export.folder.mark(step, marked)
            if marked["taken"] < len(block):  # chains within chains would grow with every block
                items = chain(block[marked["taken"] :], items)
            refusals.add({int(key): why for key, why in marked["left_out"].items()})
            tally.update({key: marked[key] for key in ("files", "bytes")})
            done += marked["taken"]
            number += 1
            report(done, total, "export")
    return tally


def _of(export: Export, part: str) -> Iterator[Item]:
    return (item for item in export.items() if item.part == part)


def _tell(report: Report, before: int, total: int, done: int) -> None:
    report(before + done, total, "export")


def _block(
    project: Project,
    export: Export,
    exporter: Exporter,
    carrier: Carrier,
    block: list[Item],
    part: str | None,
    number: int,
    tell: Callable[[int], None],
) -> dict[str, Any]:
    """Brings one block: how many of its images were taken, and which were left out."""
    loads = _loads(project, block)
    left_out: dict[str, str] = {}
    shard: list[Item] = []
    taken = bytes_taken = 0
    with closing(in_order(carrier.bring, loads, workers=usable_cores())) as brought:
        for item, (content, reason) in zip(block, brought, strict=False):
            taken += 1
            if reason:
                left_out[str(item.position)] = reason
            elif exporter.shard:
                shard.append(Item(item.position, item.entry, item.path, content))
                bytes_taken += len(content)
            if exporter.beside and (made := exporter.beside(export, item)):
                path, text = made
                if reason:
                    export.folder.remove(path)
                else:
                    export.folder.place(path, text)
            tell(taken)
            if bytes_taken >= SHARD_BYTES:
                break
    if exporter.shard and shard:
        exporter.shard(export, str(part), number, shard)
    return {"taken": taken, "left_out": left_out}


def _loads(project: Project, block: list[Item]) -> list[Load]:
    with project.catalog.read() as connection:
        ids = image_rows.ids_by_name(connection, project.id, [item.entry.name for item in block])
        places = image_rows.places(connection, list(ids.values()))
        turned = {row.id: row.orientation for row in image_rows.stored(connection, [*places])}
    loads = []
    for item in block:
        key = ids.get(item.entry.name, 0)
        source = Path(places[key].location) if key in places else None
        loads.append(Load(source, item.entry.sha256, turned.get(key, 1), item.path))
    return loads
