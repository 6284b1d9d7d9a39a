"""Pascal VOC: an XML file per image in `Annotations`, images in `JPEGImages`, parts in `ImageSets`.

Pixels count from 1 and the last one is inside: `xmin` 1 and `xmax` 4 is a box of 4 pixels from the
left edge. An XML file without objects says that nothing is there; an image without a file is not
labeled. Parts of objects, such as heads of people, are not read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from math import nan
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from curation import parts, sources
from curation.errors import InputError
from curation.importers.found import Asked, Drawn, Found, Importer, Request, Said, SetAside
from curation.importers.hashed import Names
from curation.importers.places import MISSING, Places, files_below
from curation.sources import Plan

ANNOTATIONS, IMAGES, SETS = "Annotations", "JPEGImages", "ImageSets"

LONGEST = 16 << 20
"""Bytes of one XML file; a longer one is no annotation."""

MOST_CLASSES = 1000


@dataclass(frozen=True)
class _Dataset:
    """Where the files of a dataset lie, and the images of each part, by hash."""

    annotations: Path
    images: Path
    parts: dict[str, Names]

    def part(self, stem: str) -> str:
        """The part that an image belongs to; empty for none."""
        return next((name for name, stems in self.parts.items() if stem in stems), "")


@dataclass(frozen=True)
class _Said:
    """One XML file: the image's name as it has it, its size, and the boxes."""

    filename: str
    size: tuple[int, int] | None
    boxes: tuple[Drawn, ...]


def _recognises(path: Path) -> bool:
    folder = path / ANNOTATIONS
    annotated = folder.is_dir() and next(files_below(folder, ".xml"), None) is not None
    return annotated or ((path / IMAGES).is_dir() and (path / SETS).is_dir())


def _understand(request: Request) -> Plan:
    root = request.source.absolute()
    annotations = (request.table or root / ANNOTATIONS).absolute()
    if not root.is_dir() or not (annotations.is_dir() or _recognises(root)):
        raise InputError(
            f"{request.source} is no Pascal VOC folder: it needs {ANNOTATIONS} with a file per "
            f"image and {IMAGES}. Name the folder that holds both."
        )
    images = root / IMAGES if (root / IMAGES).is_dir() else root
    for folder in (images, root / ANNOTATIONS):
        if not folder.resolve().is_relative_to(root.resolve()):
            raise InputError(f"{folder} is a link that leaves {root}. Import where it leads to.")
    names: set[str] = set()
    boxes = False
    for path in files_below(annotations, ".xml"):
        said = _parse(path)
        if isinstance(said, _Said):
            boxes = boxes or bool(said.boxes)
            if len(names) < MOST_CLASSES:
                names.update(box.label for box in said.boxes)
    files = sum(one is not None for one in sources.walk(images))
    if not files:
        raise InputError(f"No images in {images}: no file has an image's name ending.")
    found = _parts(root / SETS)
    return Plan(
        root=root,
        table=None,
        listed=False,
        labels_from="none" if request.labels_from == "none" else "annotations",
        classes=tuple(name for name in request.classes if name in names),
        unknown_classes=tuple(sorted(names - set(request.classes)))[:20],
        metadata_columns=(),
        consent_columns=(),
        license=sources.license_of(root),
        candidates=files,
        ignored=0,
        format="voc",
        parts=tuple(found),
        kinds=frozenset({"boxes"} if boxes else ()),
        details=_Dataset(annotations, images, found),
    )


def _parts(folder: Path) -> dict[str, Names]:
    """The images of each part; lists of one class (`cat_train.txt`) and unions are left alone."""
    found: dict[str, Names] = {}
    # A part may be listed for several tasks (Main, Segmentation); all lists of it count.
    for path in files_below(folder, ".txt"):
        if name := parts.part(path.stem):
            stems = found.setdefault(name, Names())
            with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
                for line in file:
                    stems.add(line.rstrip("\r\n"))
                    stems.add(line.strip())
    return dict(sorted(found.items()))


def _read(plan: Plan, asked: Asked) -> Iterator[Found | SetAside]:
    dataset: _Dataset = plan.details
    places = Places(dataset.images)
    taken = Names()
    for path in files_below(dataset.annotations, ".xml"):
        where = path.relative_to(dataset.annotations.parent).as_posix()
        said = _parse(path)
        if isinstance(said, str):
            yield SetAside(where, said)
            continue
        stem = path.relative_to(dataset.annotations).with_suffix("").as_posix()
        beside = Path(stem).parent / (said.filename or "?")
        candidate = places.find(said.filename or stem, beside.as_posix())
        if candidate.reason == MISSING:
            candidate = next(
                (one for one in _of_stem(places, dataset.images, stem) if not one.reason), candidate
            )
        if candidate.reason == MISSING:
            yield SetAside(where, f"no such image: {said.filename or stem}")
            continue
        if candidate.name in taken:
            yield SetAside(where, f"another file has the boxes of {candidate.name} already")
            continue
        taken.add(candidate.name)
        answer = (Said(boxes=said.boxes),) if plan.labels_from != "none" else ()
        yield _found(plan, dataset, candidate, stem, answer, where, said.size)
    for one in sources.walk(dataset.images):
        if one is not None and one.name not in taken:
            stem = Path(one.name).with_suffix("").as_posix()
            yield _found(plan, dataset, one, stem, (), "", None)


def _of_stem(places: Places, folder: Path, stem: str) -> Iterator[sources.Candidate]:
    for suffix in sorted(sources.IMAGE_SUFFIXES):
        for ending in (suffix, suffix.upper()):
            if (folder / f"{stem}.{ending}").is_file():
                yield places.find(f"{stem}.{ending}")


def _found(
    plan: Plan,
    dataset: _Dataset,
    candidate: sources.Candidate,
    stem: str,
    said: tuple[Said, ...],
    where: str,
    size: tuple[int, int] | None,
) -> Found:
    part = dataset.part(stem) or dataset.part(Path(stem).name)
    return Found(candidate, said, {parts.COLUMN: part} if part else {}, where, size)


def _parse(path: Path) -> _Said | str:
    """What an XML file says, or why it cannot be used."""
    try:
        if path.stat().st_size > LONGEST:
            return f"larger than {LONGEST >> 20} MB, which no annotation is"
        root = fromstring(path.read_bytes(), forbid_dtd=True)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except DefusedXmlException:  # a ValueError, like what a strange encoding gives
        return "declares a document type or entities, which is refused"
    except (ParseError, ValueError, LookupError) as error:
        return f"not valid XML: {error}"
    if root.tag != "annotation":
        return f"<{root.tag}> where <annotation> is expected"
    size = tuple(int(_number(root.findtext(f"size/{side}"), 0)) for side in ("width", "height"))
    boxes = tuple(chain.from_iterable(map(_drawn, root.iterfind("object"))))
    claimed = (size[0], size[1]) if all(0 < side < 1 << 31 for side in size) else None
    return _Said(root.findtext("filename") or "", claimed, boxes)


def _drawn(thing: Element) -> Iterator[Drawn]:
    label = (thing.findtext("name") or "").strip()
    left, top, right, bottom = (
        _number(thing.findtext(f"bndbox/{name}"), nan) for name in ("xmin", "ymin", "xmax", "ymax")
    )
    yield Drawn(label, left - 1, top - 1, right - left + 1, bottom - top + 1, f"object {label!r}")


def _number(text: str | None, default: float) -> float:
    try:
        number = float(text) if text else default
    except ValueError:
        return default
    return number if abs(number) < 1e300 else default


IMPORTER = Importer("Pascal VOC: an XML file per image", _recognises, _understand, _read)
