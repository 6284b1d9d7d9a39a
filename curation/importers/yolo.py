"""YOLO detection: `data.yaml`, folders of images, and a text file of boxes beside each image.

The label file of `images/train/a.jpg` is `labels/train/a.txt`; each line holds a class's index and
the box's middle and size as shares of the image's sides, or a polygon, whose extent is taken. An
empty file says that nothing is there; an image without a file is not labeled. Folders of LabelImg,
Label Studio and CVAT, with a list of classes instead of settings, are read too. The layout for
classification, `train/CLASS/...`, is a folder of class folders and read as such.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from curation import parts, sources
from curation.errors import InputError
from curation.importers import folder, hashed, yolo_settings
from curation.importers.found import Asked, Drawn, Found, Importer, Request, Said, SetAside
from curation.importers.hashed import Names
from curation.importers.places import MISSING, Places, files_below
from curation.importers.yolo_settings import YAML, Dataset, Part
from curation.sources import Candidate, Plan

CLASSES = "classes.txt"
DARKNET = "obj.names"
"""The classes' file of Darknet's layout, as CVAT writes it: images in `obj_PART_data/`."""

LONGEST = 16 << 20
"""Bytes of a label file; a longer one is none."""

_BOX = 5
_POINT = 2


def _recognises(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() in YAML
    return yolo_settings.find(path) is not None or _without_settings(path) is not None


def _without_settings(root: Path) -> Dataset | None:
    """A dataset that has a list of classes and no settings; none where there is none.

    Label Studio writes `images` and `labels` beside it, LabelImg images and labels in its own
    folder, CVAT a folder for each part.
    """
    if (root / DARKNET).is_file():
        folders = [path for path in sorted(root.glob("obj_*_data")) if path.is_dir()]
        found = [Part(parts.part(path.name[len("obj_") : -len("_data")]), path) for path in folders]
        return Dataset(_listed(root / DARKNET), tuple(found)) if found else None
    if not (root / CLASSES).is_file():
        return None
    if all((root / name).is_dir() for name in ("images", "labels")):
        return Dataset(_listed(root / CLASSES), (Part("", root / "images"),))
    labels = (path for path in root.glob("*.txt") if path.name != CLASSES)
    beside = any(
        path.with_suffix(f".{ending}").is_file()
        for path in labels
        for ending in sorted(sources.IMAGE_SUFFIXES)
    )
    return Dataset(_listed(root / CLASSES), (Part("", root),)) if beside else None


def _listed(path: Path) -> tuple[str, ...]:
    """The classes of a file with one a line."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return tuple(line.strip() for line in lines)


def _understand(request: Request) -> Plan:
    source = request.source.absolute()
    root = source if source.is_dir() else source.parent
    named = request.table or (None if source.is_dir() else source)
    file = named or yolo_settings.find(root)
    if file is not None:
        dataset, root = yolo_settings.read(file.absolute(), root)
    elif bare := _without_settings(root):
        dataset = bare
    else:
        return _classification(request)
    files = sum(_count(part, root) for part in dataset.parts)
    if not files:
        looked_in = ", ".join(str(part.path) for part in dataset.parts)
        raise InputError(f"No images in {looked_in}: no file has an image's name ending.")
    known = set(request.classes)
    return Plan(
        root=root,
        table=None,
        listed=True,
        labels_from="none" if request.labels_from == "none" else "annotations",
        classes=tuple(name for name in request.classes if name in dataset.names),
        unknown_classes=tuple(sorted(set(dataset.names) - known))[:20],
        metadata_columns=(),
        consent_columns=(),
        license=sources.license_of(root),
        candidates=files,
        ignored=0,
        format="yolo",
        parts=tuple(sorted({part.name for part in dataset.parts} - {""})),
        kinds=frozenset({"boxes"}),
        details=dataset,
    )


def _classification(request: Request) -> Plan:
    plan = folder.FOLDER.understand(replace(request, table=None))
    if not plan.folder_depth:
        raise InputError(
            f"{request.source} is no YOLO dataset: it has no data.yaml with `names`, no "
            f"{CLASSES} beside images and labels, and no folders such as train/CLASS. Name the "
            "folder that has."
        )
    return replace(plan, format="yolo")


def _count(part: Part, root: Path) -> int:
    return sum(1 for _ in _images(part, root))


def _images(part: Part, root: Path) -> Iterator[Candidate]:
    if part.path.is_dir():
        real_root = root.resolve()
        for one in sources.walk(part.path):
            if one is not None:
                # Named from the dataset's root, not from the part's folder.
                if one.reason:
                    yield replace(one, name=sources.name_of(one.path, root))
                else:
                    yield sources.candidate(one.path, root, real_root, may_leave=False)
        return
    places = Places(root, [part.path.parent.relative_to(root).as_posix()])
    with part.path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for line in file:
            if name := line.strip():
                yield places.find(name)


def _read(plan: Plan, asked: Asked) -> Iterator[Found | SetAside]:
    if not isinstance(plan.details, Dataset):
        yield from folder.FOLDER.read(plan, asked)
        return
    dataset: Dataset = plan.details
    seen = Names()  # label files
    real_root = plan.root.resolve()
    for part, candidate in _every(plan, dataset):
        if isinstance(candidate, SetAside):
            yield candidate
            continue
        label_file = _label_file(candidate, plan.root, real_root)
        said: tuple[Said, ...] = ()
        if label_file is not None:
            seen.add(str(label_file))
        if label_file is not None and plan.labels_from != "none":
            where = label_file.relative_to(plan.root).as_posix()
            lines = list(_lines(label_file, where, dataset))
            yield from (SetAside(candidate.name, one) for one in lines if isinstance(one, str))
            boxes = tuple(one for one in lines if isinstance(one, Drawn))
            # A file in which nothing can be used does not say that nothing is there.
            said = (Said(boxes=boxes),) if boxes or not lines else ()
        yield Found(candidate, said, {parts.COLUMN: part.name} if part.name else {})
    if plan.labels_from != "none":
        yield from _orphans(plan.root, _folders(dataset), seen)


def _folders(dataset: Dataset) -> list[Path]:
    return [part.path for part in dataset.parts if part.path.is_dir()]


def _every(plan: Plan, dataset: Dataset) -> Iterator[tuple[Part, Candidate | SetAside]]:
    """The images of all parts, each once, and what lists name in vain."""
    folders = _folders(dataset)
    listed: set[int] = set()  # hashes of images of text files
    for part in dataset.parts:
        inner = [path for path in folders if path != part.path and path.is_relative_to(part.path)]
        for candidate in _images(part, plan.root):
            if any(candidate.path.is_relative_to(path) for path in inner):
                continue  # of a part within this one
            if part.path.is_file():
                key = hashed.key(candidate.name)
                if candidate.reason == MISSING or key in listed:
                    reason = MISSING if candidate.reason else "the image stands twice"
                    yield part, SetAside(candidate.name, f"{part.path.name}: {reason}")
                    continue
                listed.add(key)
            yield part, candidate


def _label_file(candidate: Candidate, root: Path, real_root: Path) -> Path | None:
    """Where an image's boxes stand, if anywhere; never outside the folder, wherever links lead."""
    if candidate.reason:
        return None
    name = candidate.path.relative_to(root).with_suffix(".txt")
    places = (root / place for place in _labels_of(name))
    return next(
        (one for one in places if one.is_file() and one.resolve().is_relative_to(real_root)), None
    )


def _labels_of(path: Path) -> list[Path]:
    """Where the labels of an image, or of a folder of images, may be; the usual place first.

    >>> _labels_of(Path("images/train/images/a.txt"))
    [PosixPath('images/train/labels/a.txt'), PosixPath('labels/train/images/a.txt')]
    >>> _labels_of(Path("photos/a.txt"))
    [PosixPath('photos/a.txt')]
    """
    found = [at for at, folder in enumerate(path.parts) if folder == "images"]
    places = [Path(*path.parts[:at], "labels", *path.parts[at + 1 :]) for at in reversed(found)]
    return places or [path]


def _lines(path: Path, where: str, dataset: Dataset) -> Iterator[Drawn | str]:
    """The boxes of a label file, and a reason for each line that is none."""
    try:
        if path.stat().st_size > LONGEST:
            yield f"{where}: larger than 16 MB, which no label file is"
            return
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        yield f"{where}: not UTF-8 text"
        return
    except OSError as error:
        yield f"{where}: cannot be read: {error.strerror}"
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            words = line.split()
            if dataset.keypoints and len(words) == _BOX + dataset.keypoints:
                words = words[:_BOX]
            yield _drawn(words, f"{where}, line {number}", dataset.names)


def _drawn(words: list[str], where: str, names: tuple[str, ...]) -> Drawn | str:
    is_polygon = len(words) > _BOX + 1 and len(words) % _POINT == 1
    if len(words) != _BOX and not is_polygon:
        told = "a class and 4 make a box, a class and 6 or more a polygon"
        return f"{where}: {len(words)} numbers; {told}"
    try:
        index = float(words[0])
        numbers = [float(word) for word in words[1:]]
    except ValueError:
        return f"{where}: not numbers: {' '.join(words)[:80]}"
    if not index.is_integer() or not 0 <= index < len(names) or not names[int(index)]:
        return f"{where}: class {words[0]}, and the classes go from 0 to {len(names) - 1}"
    label = names[int(index)]
    if is_polygon:
        across, down = numbers[::2], numbers[1::2]
        left, top = min(across), min(down)
        width, height = max(across) - left, max(down) - top
    else:
        width, height = numbers[2], numbers[3]
        left, top = numbers[0] - width / 2, numbers[1] - height / 2
    return Drawn(label, left, top, width, height, where, relative=True)


def _orphans(root: Path, folders: Sequence[Path], seen: Names) -> Iterator[SetAside]:
    """Label files that belong to no image."""
    looked_in: set[Path] = set()
    for images in folders:
        labels = root / _labels_of(images.relative_to(root))[0]
        if not labels.is_dir() or any(labels.is_relative_to(other) for other in looked_in):
            continue
        looked_in.add(labels)
        for path in files_below(labels, ".txt"):
            if path.name != CLASSES and str(path) not in seen:
                yield SetAside(path.relative_to(root).as_posix(), "no image of this name")


IMPORTER = Importer("YOLO: data.yaml, images and labels", _recognises, _understand, _read)
