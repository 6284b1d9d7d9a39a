"""Label Studio's JSON export: tasks with the annotations of everybody who answered.

Choices are labels of the image, rectangles are boxes in percent of its sides. Each annotator's
answer is kept as theirs, the newest one where somebody answered twice; what says of nobody who gave
it counts as an imported label. Skips are kept, predictions and drafts are not answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs

from curation import parts, sources
from curation.errors import InputError
from curation.importers import hashed, json_stream
from curation.importers.found import Asked, Drawn, Found, Importer, Request, Said, SetAside
from curation.importers.places import MISSING, Places, path_of
from curation.sources import Plan

LOCAL_FILES = "/data/local-files/"
UPLOADS = "/data/upload/"
FOLDERS = ("images", "media", "upload")
"""Folders besides the export's own in which its images are looked for."""

OURS = {"image", "name", parts.COLUMN, "group"}
"""Fields of the tasks that labelloop exports, which are no metadata."""

QUEUED, REASON = "labelloop_image", "reason"
"""Fields of the tasks that labelloop sends to its annotators."""

MOST_CLASSES = 1000
_HASH = 8  # characters that Label Studio puts before the name of an uploaded file, with a dash


@dataclass
class _Seen:
    """What a first look at an export found."""

    tasks: int = 0
    images: int = 0
    classes: set[str] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)
    annotators: set[str] = field(default_factory=set)


def _recognises(path: Path) -> bool:
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    """The exports that a path means: itself, or those of a folder."""
    looked_at = [path] if path.is_file() else sorted(path.glob("*.json"))
    return [one for one in looked_at if one.suffix.lower() == ".json" and _is_export(one)]


def _is_export(path: Path) -> bool:
    if json_stream.first_key(path, ()) != "":
        return False
    try:
        _, _, first = next(json_stream.items(path))
    except (InputError, StopIteration):
        return False
    return isinstance(first, dict) and isinstance(first.get("data"), dict)


def _understand(request: Request) -> Plan:
    paths = _files(request.table or request.source)
    if len(paths) != 1:
        several = f"several exports: {', '.join(path.name for path in paths)}"
        holds = several if paths else "no export of tasks"
        raise InputError(
            f"{request.table or request.source} holds {holds}. "
            "Name the file that Label Studio's export as JSON made (JSON-MIN has too little in it)."
        )
    (path,) = paths
    root = request.source if request.source.is_dir() else path.parent
    seen = _Seen()
    for _, _, task in json_stream.items(path):
        _look(seen, task)
    if not seen.images:
        raise InputError(f"{path}: none of its {seen.tasks:,} tasks names an image.")
    notes = []
    if seen.annotators:
        several = f"answers of {len(seen.annotators):,} annotators, kept as theirs"
        notes.append(f"{several}: {', '.join(sorted(seen.annotators)[:10])}")
    return Plan(
        root=root.absolute(),
        table=None,
        listed=True,
        labels_from="none" if request.labels_from == "none" else "annotations",
        classes=tuple(name for name in request.classes if name in seen.classes),
        unknown_classes=tuple(sorted(seen.classes - set(request.classes)))[:20],
        metadata_columns=(),
        consent_columns=(),
        license=sources.license_of(root),
        candidates=seen.images,
        ignored=0,
        format="label-studio",
        parts=tuple(sorted(seen.parts)),
        kinds=frozenset(seen.kinds),
        notes=tuple(notes),
        details=path,
    )


def _look(seen: _Seen, task: Any) -> None:
    seen.tasks += 1
    if not isinstance(task, dict) or not _address(task):
        return
    seen.images += 1
    if part := _part(task):
        seen.parts.add(part)
    for annotation in _annotations(task):
        name = _annotator(annotation)
        if name and len(seen.annotators) < MOST_CLASSES:
            seen.annotators.add(name)
        for kind, label, _ in _results(annotation):
            if kind:
                seen.kinds.add(kind)
                if len(seen.classes) < MOST_CLASSES:
                    seen.classes.add(label)


def _read(plan: Plan, asked: Asked) -> Iterator[Found | SetAside]:
    path: Path = plan.details
    places = Places(plan.root, FOLDERS)
    seen: dict[int, int] = {}  # position by the hash of a name
    for _, position, task in json_stream.items(path):
        where = f"{path.name}, task [{position}]"
        if not isinstance(task, dict) or not (address := _address(task)):
            yield SetAside(f"{path.name}:[{position}]", "a task without an image")
            continue
        candidate = _place(places, address, task)
        if candidate.reason == MISSING:
            yield SetAside(candidate.name, f"{where}: no such image")
            continue
        first = seen.setdefault(hashed.key(candidate.name), position)
        if first != position:
            reason = f"{where}: the image stands in task [{first}]"
            yield SetAside(candidate.name, reason)
            continue
        said: list[Said] = []
        if plan.labels_from != "none":
            for one in _said(task, asked):
                if isinstance(one, Said):
                    said.append(one)
                else:
                    yield SetAside(candidate.name, f"{where}, {one}")
        yield Found(candidate, tuple(said), _metadata(task, address), where)


def _address(task: dict[str, Any]) -> str:
    """What a task shows: its `image`, or the first text that looks like one; empty for none."""
    data = task.get("data")
    if not isinstance(data, dict):
        return ""
    texts = {key: value for key, value in data.items() if isinstance(value, str) and value}
    if "image" in texts:
        return texts["image"]
    return next((value for value in texts.values() if _looks_like_an_image(value)), "")


def _looks_like_an_image(text: str) -> bool:
    path = path_of(text) if "://" in text else text.partition("?")[0]
    suffix = PurePosixPath(path).suffix.lower().lstrip(".")
    return suffix in sources.IMAGE_SUFFIXES or text.startswith(LOCAL_FILES)


def _place(places: Places, address: str, task: dict[str, Any]) -> sources.Candidate:
    """The file behind a task's address."""
    tried: list[str] = []
    if LOCAL_FILES in address:
        served = parse_qs(
            address.partition("?")[2].partition("#")[0], errors="surrogateescape"
        ).get("d", [""])[0]
        # The first folder may be what the server calls the place, and nothing here.
        tried += [served, served.partition("/")[2]]
    elif UPLOADS in address:
        base = PurePosixPath(path_of(address) if "://" in address else address).name
        tried += [base, base[_HASH + 1 :] if base[_HASH : _HASH + 1] == "-" else ""]
    else:
        tried.append(address)
    if isinstance(named := task.get("file_upload"), str):
        tried.append(named)
    if isinstance(name := task["data"].get("name"), str):
        tried.append(name)
    return places.find(*(one for one in tried if one))


def _part(task: dict[str, Any]) -> str:
    """The part of a split that a task's data names; empty for none."""
    said = task["data"].get(parts.COLUMN)
    return (parts.part(said) or said) if isinstance(said, str) else ""


def _metadata(task: dict[str, Any], address: str) -> dict[str, str]:
    """The other fields of a task's data, each a column."""
    data = task["data"]
    ours = OURS if data.keys() >= OURS else {QUEUED, REASON}
    found = {
        key.removeprefix("metadata.") if ours is OURS else key: str(value)
        for key, value in data.items()
        if isinstance(value, str | int | float) and key not in ours and value != address
    }
    part = _part(task)
    return found | {parts.COLUMN: part} if part else found


def _annotations(task: dict[str, Any]) -> list[dict[str, Any]]:
    """What was answered, oldest first."""
    said = task.get("annotations", task.get("completions"))
    found = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    return sorted(found, key=lambda one: str(one.get("updated_at") or one.get("created_at") or ""))


def _annotator(annotation: dict[str, Any]) -> str:
    """The annotator's name; empty where the export does not say."""
    by = annotation.get("completed_by")
    if isinstance(by, dict):
        by = by.get("email") or by.get("username") or by.get("id")
    if isinstance(by, bool) or by in (None, ""):
        return ""
    return f"annotator {by}" if isinstance(by, int) else str(by)[:200]


def _said(task: dict[str, Any], asked: Asked) -> Iterator[Said | str]:
    """One answer for each annotator, and a reason for each part that is left out."""
    newest = {_annotator(one): one for one in _annotations(task)}
    for name, annotation in newest.items():
        if annotation.get("was_cancelled"):
            if name:
                yield Said(annotator=name, skipped=True)
            continue
        labels: list[str] = []
        boxes: list[Drawn] = []
        left_out = 0
        for number, (kind, label, box) in enumerate(_results(annotation)):
            place = f"result [{number}]"
            if kind == "classes":
                labels.append(label)
            elif kind == "boxes" and box is not None:
                boxes.append(Drawn(label, *box, place, relative=True))
            else:
                left_out += 1
                yield f"{place}: {label}"
        if not labels and not boxes and (left_out or _is_doubt(annotation)):
            continue
        if boxes or (asked.task == "boxes" and not labels):
            yield Said(tuple(dict.fromkeys(labels)), tuple(boxes), name)
        else:
            yield Said(tuple(dict.fromkeys(labels)), None, name)


_DOUBT = ("choices", "doubt")
_BESIDE = {_DOUBT, ("textarea", "comment")}


def _is_doubt(annotation: dict[str, Any]) -> bool:
    """Whether somebody says to be unsure, which without a class is no answer."""
    said = annotation.get("result")
    parts = said if isinstance(said, list) else []
    return any((one.get("type"), one.get("from_name")) == _DOUBT for one in parts)


def _results(
    annotation: dict[str, Any],
) -> Iterator[tuple[str, str, tuple[float, float, float, float] | None]]:
    """(kind, class, box) of each part of an answer; an empty kind with a reason for all others.

    What our own interface asks beside the label (whether somebody is unsure, a comment) is none.
    """
    said = annotation.get("result")
    for part in said if isinstance(said, list) else []:
        if isinstance(part, dict) and (part.get("type"), part.get("from_name")) in _BESIDE:
            continue
        value = part.get("value") if isinstance(part, dict) else None
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(value, dict):
            yield "", "a result without a value", None
            continue
        if kind == "choices" and isinstance(value.get("choices"), list):
            for label in value["choices"]:
                yield "classes", str(label).strip(), None
        elif kind == "rectanglelabels" and isinstance(value.get("rectanglelabels"), list):
            yield from _rectangle(value)
        else:
            yield "", f"a result of type {kind!r}, which is neither choices nor a box", None


def _rectangle(
    value: dict[str, Any],
) -> Iterator[tuple[str, str, tuple[float, float, float, float] | None]]:
    try:
        x, y, width, height = (float(value[key]) / 100 for key in ("x", "y", "width", "height"))
        turned = float(value.get("rotation") or 0)
    except (KeyError, TypeError, ValueError, OverflowError):
        yield "", "a box whose place is not four numbers", None
        return
    if turned % 360:
        yield "", f"a box turned by {turned:g} degrees", None
        return
    for label in value["rectanglelabels"]:
        yield "boxes", str(label).strip(), (x, y, width, height)


IMPORTER = Importer("Label Studio's JSON export", _recognises, _understand, _read)
