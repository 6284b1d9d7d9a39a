"""The truth in people's place: what a simulation may draw from, and what it is scored on."""

import hashlib
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation import images
from curation.errors import InputError, UnreadableImage
from curation.progress import Report, silent
from curation.tables import Row, open_table

if TYPE_CHECKING:
    from curation.backbones import Backbone

COPY_COLUMN = "defect_of"
"""Names the original of a copy. Decides which rows enter the pool, and nothing else."""

_SIZES_LOOKED_AT = 101
_NAMED = 5


@dataclass(frozen=True, eq=False)
class Trial:
    """Everything that a simulation needs; no file is read after this.

    Attributes:
        classes: C names, sorted.
        embeddings: (N, d) unit-norm rows of the images that may be chosen.
        answers: (N,) class index of each: what the oracle answers.
        groups: (N,) integers; files with the same content share one.
        test_embeddings: (M, d) of the photos that score; none means that a part of the pool does.
        test_answers: (M,) class index of each.
        notes: what was left out or decided, in sentences.
    """

    classes: tuple[str, ...]
    embeddings: NDArray[np.float32]
    answers: NDArray[np.int64]
    groups: NDArray[np.int64]
    test_embeddings: NDArray[np.float32] | None = None
    test_answers: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Photo:
    path: Path
    line: int
    label: str


@dataclass
class _Listing:
    """The rows of one table: those that can be used, and how many were left out and why."""

    photos: list[_Photo] = field(default_factory=list)
    copies: int = 0
    unlabeled: int = 0


def load(
    truth: Path,
    *,
    cache: Path,
    test: Path | None = None,
    images_folder: Path | None = None,
    test_folder: Path | None = None,
    report: Report = silent,
) -> Trial:
    """Read the tables and embed their images with the default backbone.

    Copies (rows with a `defect_of`) and files that do not decode never enter the pool, and neither
    does a file that also stands in the test. Test photos smaller than the pool's are enlarged to
    the pool's size first, so that both look alike to the model.

    Args:
        truth: a table with a label for each image.
        cache: folder for embeddings, by fingerprint and content; anything in it may be deleted.
        test: a table of photos that only score.
        images_folder: of the truth's images; `images` beside the table if left out.
        test_folder: of the test's; `test` beside its table if left out.
        report: told how far embedding is.

    Raises:
        InputError: a table or folder that cannot be used, fewer than two classes in the pool, or a
            label of the test that the truth does not know.
    """
    listing = _read(truth, _folder(truth, images_folder, "images", "--images"))
    classes = tuple(sorted({photo.label for photo in listing.photos}))
    scored = None
    if test is not None:
        scored = _read(test, _folder(test, test_folder, "test", "--test-images"))
        _check_labels(test, scored, truth, classes)

    report(0, 0, "load backbone")
    from curation import backbones

    backbone = backbones.open()
    vectors, keys, failed = _embed(listing.photos, backbone, cache=cache, report=report)
    notes = _left_out(truth, listing, failed)
    kept = [photo for row, photo in enumerate(listing.photos) if row not in failed]
    index = {name: position for position, name in enumerate(classes)}
    answers = np.array([index[photo.label] for photo in kept], dtype=np.int64)
    groups = np.unique(keys, return_inverse=True)[1].astype(np.int64)
    test_vectors = test_answers = None
    if scored is not None and test is not None:
        side = _usual_side(kept, most=backbone.preprocessing.size)
        test_vectors, test_keys, test_failed = _embed(
            scored.photos, backbone, cache=cache, report=report, enlarge_to=side
        )
        notes += _left_out(test, scored, test_failed)
        right = [photo for row, photo in enumerate(scored.photos) if row not in test_failed]
        if not right:
            raise InputError(f"{test}: none of its photos can be read. Mend --test-images.")
        test_answers = np.array([index[photo.label] for photo in right], dtype=np.int64)
        fresh = ~np.isin(keys, test_keys)
        if not fresh.all():
            notes.append(f"{(~fresh).sum()} images of {truth.name} are in the test: not chosen.")
        vectors, answers, groups = vectors[fresh], answers[fresh], groups[fresh]
    if len(np.unique(answers)) < 2:
        raise InputError(
            f"{truth}: its {len(answers)} usable images hold fewer than two classes "
            f"({', '.join(classes[answer] for answer in np.unique(answers)) or 'none'}). "
            "A simulation needs at least two."
        )
    return Trial(classes, vectors, answers, groups, test_vectors, test_answers, tuple(notes))


def _folder(table: Path, named: Path | None, usual: str, option: str) -> Path:
    folder = named or table.parent / usual
    if not table.is_file():
        raise InputError(f"There is no table {table}.")
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {folder} with the images of {table.name}. Name it with {option}."
        )
    return folder


def _read(path: Path, folder: Path) -> _Listing:
    table = open_table(path, need_labels=True)
    listing, seen = _Listing(), dict[str, int]()
    for row in table.rows():
        if not isinstance(row, Row):
            raise InputError(f"{row[1]}. Mend the line: a truth must not be guessed.")
        if row.image in seen:
            raise InputError(
                f"{path}, line {row.line}: {row.image} stands in line {seen[row.image]} already."
            )
        seen[row.image] = row.line
        if row.labels is None:
            listing.unlabeled += 1
        elif row.metadata.get(COPY_COLUMN):
            listing.copies += 1
        elif len(row.labels) > 1:
            raise InputError(
                f"{path}, line {row.line}: {len(row.labels)} labels ({'|'.join(row.labels)}). "
                "A simulation needs exactly one for each image."
            )
        else:
            listing.photos.append(_Photo(_locate(folder, row), row.line, row.labels[0]))
    if not listing.photos:
        raise InputError(f"{path} names no image with a label.")
    return listing


def _locate(folder: Path, row: Row) -> Path:
    if Path(row.image).is_absolute() or ".." in Path(row.image).parts:
        raise InputError(f"Line {row.line}: {row.image} leads out of {folder}. Use names in it.")
    path = folder / row.image
    if path.exists():
        return path
    # A table is often typed where names are composed, for files stored decomposed.
    decomposed = folder / unicodedata.normalize("NFD", row.image)
    return decomposed if decomposed.exists() else path


def _check_labels(path: Path, listing: _Listing, truth: Path, classes: Sequence[str]) -> None:
    known = set(classes)
    for photo in listing.photos:
        if photo.label not in known:
            raise InputError(
                f"{path}, line {photo.line}: no image of {truth.name} has the label "
                f"{photo.label!r}. Its labels: {', '.join(classes)}."
            )


def _left_out(path: Path, listing: _Listing, failed: dict[int, str]) -> list[str]:
    notes = []
    if listing.copies:
        notes.append(f"{path.name}: {listing.copies} copies left out.")
    if listing.unlabeled:
        notes.append(f"{path.name}: {listing.unlabeled} rows without a label left out.")
    if failed:
        first = [
            f"{listing.photos[row].path.name} ({reason})"
            for row, reason in islice(failed.items(), _NAMED)
        ]
        more = ", ..." if len(failed) > _NAMED else ""
        notes.append(
            f"{path.name}: {len(failed)} images that cannot be read left out: "
            f"{', '.join(first)}{more}."
        )
    return notes


# Embedding ----------------------------------------------------------------------------------------


def _embed(
    photos: Sequence[_Photo],
    backbone: "Backbone",
    *,
    cache: Path,
    report: Report,
    enlarge_to: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.int64], dict[int, str]]:
    """Embeddings of the photos that decode, the keys of their content, and why others do not.

    The first two are in the order of the photos, without those that failed; the last is by
    position in `photos`.
    """
    from curation import inference
    from curation.embeddings import EmbeddingStore, embed

    store = EmbeddingStore(cache / "embeddings" / backbone.fingerprint, backbone.fingerprint)
    failed: dict[int, str] = {}
    by_row: dict[int, tuple[int, int]] = {}
    for row, photo in enumerate(photos):
        try:
            by_row[row] = _keys(photo.path, enlarge_to)
        except OSError as error:
            failed[row] = error.strerror or "cannot be read"
    unknown = set(store.missing(key for key, _ in by_row.values()))
    paths = {key: photos[row].path for row, (key, _) in by_row.items() if key in unknown}
    unreadable = _unreadable_until_first_good(paths)
    if len(unreadable) < len(paths):
        engine = inference.open(backbone, cache=cache / "engines")
        with tempfile.TemporaryDirectory(prefix="labelloop-") as scratch:
            done = embed(
                _enlarged(paths.items(), enlarge_to, Path(scratch))
                if enlarge_to
                else paths.items(),
                store,
                engine,
                progress=lambda count, _seconds: report(count, len(paths), "embed"),
            )
        unreadable = dict(done.failed)
    failed |= {row: unreadable[key] for row, (key, _) in by_row.items() if key in unreadable}
    good = [pair for row, pair in by_row.items() if row not in failed]
    vectors = store.read([key for key, _ in good])
    return vectors, np.array([content for _, content in good], dtype=np.int64), failed


def _unreadable_until_first_good(paths: dict[int, Path]) -> dict[int, str]:
    """Why the first ones do not decode; all of them once only such are left, so that no model has
    to be loaded to learn it again."""
    found = {}
    for key, path in paths.items():
        try:
            images.decode(path)
        except UnreadableImage as error:
            found[key] = error.reason
        else:
            break
    return found


def _keys(path: Path, enlarge_to: int) -> tuple[int, int]:
    """The id of the embedding in the store, and that of the content alone: 63 bits of SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    content = _id(digest)
    if enlarge_to:
        digest.update(f"enlarged to {enlarge_to}".encode())
    return _id(digest), content


def _id(digest: Any) -> int:
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def _usual_side(photos: Sequence[_Photo], *, most: int) -> int:
    """The median shorter side of the first photos, in pixels, at most that of the model's input."""
    looked_at = [
        min(images.decode(photo.path, at_least=most).size) for photo in photos[:_SIZES_LOOKED_AT]
    ]
    return min(most, int(np.median(looked_at))) if looked_at else most


def _enlarged(
    rows: Iterable[tuple[int, Path]], side: int, folder: Path
) -> Iterator[tuple[int, Path]]:
    """The rows, with photos below `side` pixels enlarged to it, losslessly stored in `folder`."""
    for key, path in rows:
        try:
            photo = images.decode(path)
        except UnreadableImage:
            yield key, path  # embedding it says why
            continue
        if min(photo.size) >= side:
            yield key, path
            continue
        scale = side / min(photo.size)
        size = (max(side, round(photo.width * scale)), max(side, round(photo.height * scale)))
        larger = folder / f"{key}.png"
        photo.resize(size, Image.Resampling.BICUBIC).save(larger, compress_level=1)
        yield key, larger
