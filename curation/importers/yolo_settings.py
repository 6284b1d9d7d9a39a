"""`data.yaml`: the classes of a YOLO dataset, and where the images of its parts lie."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation import parts
from curation.errors import InputError

YAML = {".yaml", ".yml"}
KEYS = ("train", "val", "test")
LONGEST = 1 << 20
"""Bytes of the file."""


@dataclass(frozen=True)
class Part:
    """One folder, or text file of paths, that `data.yaml` names."""

    name: str
    path: Path


@dataclass(frozen=True)
class Dataset:
    """The classes by their index, and the parts.

    Attributes:
        keypoints: numbers that follow each box on its line, where objects have key points.
    """

    names: tuple[str, ...]
    parts: tuple[Part, ...]
    keypoints: int = 0


def find(folder: Path) -> Path | None:
    """The one YAML file of a folder that names classes."""
    found = [
        path
        for path in sorted(folder.glob("*.y*ml"))
        if path.suffix.lower() in YAML and path.is_file() and path.stat().st_size < LONGEST
    ]
    return next((path for path in found if b"names" in path.read_bytes()), None)


def read(path: Path, folder: Path) -> tuple[Dataset, Path]:
    """What `data.yaml` says, and the folder that its paths start from."""
    said = _load(path)
    names = _names(said, path)
    root = _root(said, path, folder)
    found: list[Part] = []
    for key in KEYS:
        places = said.get(key)
        for one in places if isinstance(places, list) else [places]:
            if one is None or one == "":
                continue
            if not isinstance(one, str):
                raise InputError(f"{path}: `{key}` is {one!r}, which is no path.")
            place = _place(one, root, path, key)
            # As in the small examples that train and validate on the same images.
            if place not in {part.path for part in found}:
                found.append(Part(_part_of(key, place), place))
    found += _unnamed(root, [part.path for part in found])
    if not found:
        raise InputError(
            f"{path} names no images: it has none of {', '.join(KEYS)}, and there is no folder "
            f"{root / 'images'}."
        )
    return Dataset(names, tuple(found), _keypoints(said, path)), root


def _keypoints(settings: dict[str, Any], path: Path) -> int:
    """Numbers of an object's key points: without this, boxes with them look like polygons."""
    shape = settings.get("kpt_shape")
    if shape is None:
        return 0
    whole = isinstance(shape, list) and all(type(side) is int and side > 0 for side in shape)
    if not whole or len(shape) != 2:
        raise InputError(
            f"{path}: `kpt_shape` is {shape!r}; the number of key points and of what each has is "
            "expected, such as [17, 3]."
        )
    return int(shape[0] * shape[1])


def _unnamed(root: Path, named: Sequence[Path]) -> Iterator[Part]:
    """Folders below `images` that the settings do not name, such as a part of another name."""
    images = root / "images"
    if not images.is_dir() or any(images.is_relative_to(path) for path in named):
        return
    if not named:
        inner = [path for path in sorted(images.iterdir()) if parts.part(path.name)]
        yield from (Part(parts.part(path.name), path) for path in inner if path.is_dir())
        yield Part("", images)
        return
    for path in sorted(images.iterdir()):
        apart = not any(path.is_relative_to(one) or one.is_relative_to(path) for one in named)
        if path.is_dir() and not path.is_symlink() and apart:
            yield Part(parts.part(path.name), path)


def _part_of(key: str, place: Path) -> str:
    """The part that a key means, unless the folder is plainly another one."""
    named = parts.part(place.name)
    return named if named in {"calibration", "holdout"} else parts.part(key)


def _load(path: Path) -> dict[str, Any]:
    import yaml

    try:
        if path.stat().st_size > LONGEST:
            raise InputError(f"{path} is larger than 1 MB, which no data.yaml is.")
        found = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        says = " ".join(str(error).split())
        raise InputError(f"{path} is not valid YAML: {says}. Mend the file.") from error
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no settings: `names` and `train` are expected.")
    return found


def _names(settings: dict[str, Any], path: Path) -> tuple[str, ...]:
    """The classes by index: from a list, or from a mapping of indices."""
    said = settings.get("names")
    if isinstance(said, dict) and all(isinstance(key, int) for key in said):
        if not all(0 <= key < 100_000 for key in said):
            raise InputError(f"{path}: an index of `names` is below 0 or above 99,999.")
        said = [said.get(index, "") for index in range(max(said, default=-1) + 1)]
    if not isinstance(said, list) or not said:
        raise InputError(f"{path}: `names` must list the classes, or map indices to them.")
    return tuple(str(name).strip() if name is not None else "" for name in said)


def _root(settings: dict[str, Any], path: Path, folder: Path) -> Path:
    """Where paths start: `path` if it lies in the folder, else the folder, if the images do."""
    said = settings.get("path")
    if not isinstance(said, str) or not said or "\x00" in said:
        return path.parent if path.is_relative_to(folder) else folder
    for base in dict.fromkeys((path.parent, folder)):
        found = (base / said).resolve()
        if found.is_dir() and found.is_relative_to(folder.resolve()):
            # Kept as it is spelled, so that images have the same place as in other imports.
            return base / Path(said) if not Path(said).is_absolute() else Path(said)
    # What others' machines call it says nothing here.
    return folder


def _place(said: str, root: Path, path: Path, key: str) -> Path:
    # Roboflow writes `../train/images` for what lies beside the file.
    spellings = [root / said, *([root / said[3:]] if said.startswith("../") else [])]
    for place in spellings:
        if place.exists() and place.resolve().is_relative_to(root.resolve()):
            return place
    if any(place.exists() for place in spellings):
        raise InputError(f"{path}: `{key}: {said}` leaves {root}. Move the images into the folder.")
    raise InputError(
        f"{path}: `{key}: {said}` is not there. Looked in {root}. Put the images there, or take "
        "the line out of the file."
    )
