"""Folders of images, whose folders may name classes and parts, and tables with a row per image."""

import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from curation import parts, sources, tables
from curation.errors import InputError
from curation.importers.found import Asked, Found, Importer, Request, Said, SetAside
from curation.sources import Plan
from curation.tables import Row

TABLES = {".csv", ".tsv", ".txt"}
EXPORTED = "labels.csv"


def exported_table(folder: Path) -> Path | None:
    """The table of a folder that `labelloop export --format csv` wrote; none in any other."""
    path = folder / EXPORTED
    try:
        return path if path.is_file() and tables.open_table(path).is_export else None
    except InputError:
        return None


def _understand_table(request: Request) -> Plan:
    own = request.table is None and request.source.is_dir()
    table = exported_table(request.source) if own else None
    return _understand(replace(request, source=table or request.source))


def _understand(request: Request) -> Plan:
    return sources.understand(
        request.source,
        known_classes=request.classes,
        table=request.table,
        labels_from=request.labels_from,
    )


def _read_folder(plan: Plan, asked: Asked) -> Iterator[Found]:
    depth = plan.folder_depth
    for candidate in sources.candidates(plan, ()):
        folders = candidate.name.split("/")[:-1]
        said: tuple[Said, ...] = ()
        if plan.labels_from == "folder" and len(folders) > depth:
            # A folder of another name is no class, and was told so before the import began.
            label = unicodedata.normalize("NFC", folders[depth])
            said = (Said((label,)),) if label in asked.classes else ()
        part = parts.part(folders[0]) if depth and folders else ""
        yield Found(candidate, said, {parts.COLUMN: part} if part else {})


def _read_table(plan: Plan, asked: Asked) -> Iterator[Found | SetAside]:
    """First what cannot be used of the table, then the images, then rows without an image."""
    assert plan.table is not None
    file = plan.table.path.name
    wanted: dict[str, tuple[Row, tuple[Said, ...]]] = {}
    for row in plan.table.rows():
        if not isinstance(row, Row):
            yield SetAside(f"{file}:{row[0]}", row[1])
            continue
        where = f"{file}, line {row.line}"
        if row.image in wanted:
            first = wanted[row.image][0].line
            yield SetAside(row.image, f"{where}: the image stands in line {first} already")
            continue
        said: tuple[Said, ...] = ()
        if row.labels is not None and plan.labels_from == "csv":
            if reason := asked.refusal(row.labels):
                yield SetAside(row.image, f"{where}: {reason}")
            else:
                said = (Said(row.labels),)
        wanted[row.image] = (row, said)
    missing = set(wanted)
    for found in _read_folder(plan, asked) if not plan.listed else _listed(plan, wanted):
        missing.discard(found.candidate.name)
        if found.candidate.name in wanted:
            row, said = wanted[found.candidate.name]
            where = f"{file}, line {row.line}"
            metadata = {**found.metadata, **row.metadata}
            yield Found(found.candidate, said or found.said, metadata, where)
        else:
            yield found
    for name in sorted(missing):
        yield SetAside(name, f"{file}, line {wanted[name][0].line}: no such image")


def _listed(plan: Plan, names: dict[str, tuple[Row, tuple[Said, ...]]]) -> Iterator[Found]:
    yield from (Found(candidate) for candidate in sources.candidates(plan, names))


def _read(plan: Plan, asked: Asked) -> Iterator[Found | SetAside]:
    return (_read_folder if plan.table is None else _read_table)(plan, asked)


def _is_folder(path: Path) -> bool:
    return path.is_dir()


def _is_table(path: Path) -> bool:
    if path.is_dir():
        return exported_table(path) is not None
    return path.suffix.lower() in TABLES


FOLDER = Importer("images, in folders named by class or not", _is_folder, _understand, _read)
CSV = Importer("a table with a row per image", _is_table, _understand_table, _read)
