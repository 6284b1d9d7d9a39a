"""Build the sample: a small shop's catalogue with known defects, made from Fashion-MNIST.

    python sample_data/build.py               rebuild the files beside this script
    python sample_data/build.py --out DIR     build them elsewhere
    python sample_data/build.py --check       compare the files beside this script with a new build

See README.md for what is in it. The same seed gives the same pixels on every machine; bytes may
differ where another JPEG library encodes them.
"""

import argparse
import csv
import io
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
# Run as a script, Python looks for modules in this folder instead of the one above: hence the
# imports below this line (E402).
sys.path.insert(0, str(HERE.parent))

from curation.errors import InputError, LabelloopError, UnreadableImage  # noqa: E402
from curation.images import decode  # noqa: E402
from sample_data import gap, photos, plan, sources  # noqa: E402

SEED = 20250
TEST_PER_CLASS = 200
# Mean difference in grey levels between two encoders of the same pixels; a wrong photo has 20.
LARGEST_DIFFERENCE = 2.0

log = logging.getLogger("sample_data")


def build(out: Path) -> None:
    """Write the whole sample below `out`, replacing what an earlier build left there.

    Raises:
        InputError: Fashion-MNIST is missing.
    """
    folder = sources.find_package()
    train, test = sources.read(folder, "train"), sources.read(folder, "t10k")
    files = plan.draw(np.random.default_rng(SEED))
    log.info("choosing %d photos", sum(plan.source_counts(files).values()))
    chosen = sources.choose_catalogue(
        train, plan.source_counts(files), np.random.default_rng([SEED, 1])
    )
    written = paint(files, {k: [train.image(i) for i in v] for k, v in chosen.items()})
    for name in ("images", "test"):
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir(parents=True)
    for name, data in written.items():
        (out / "images" / name).write_bytes(data)
    _write_tables(files, out)
    used = train.pixels[[i for indices in chosen.values() for i in indices]]
    picked = sources.choose_test(test, TEST_PER_CLASS, used, np.random.default_rng([SEED, 2]))
    _write_test(test, picked, out)
    log.info("wrote %d photos and %d test photos below %s", len(written), len(picked), out)


def paint(files: Sequence[plan.File], originals: dict[str, list[Image.Image]]) -> dict[str, bytes]:
    """Return the bytes of every file by name.

    Args:
        files: the plan.
        originals: for each class as many 28 x 28 photos as `plan.source_counts` asks for.
    """
    remaining = {label: iter(images) for label, images in originals.items()}
    written: dict[str, bytes] = {}
    for number, file in enumerate(files):
        if not file.is_copy:
            rng = np.random.default_rng([SEED, 3, number])
            photo = photos.enlarge(next(remaining[file.label]))
            written[file.name] = _paint_one(file, photo, rng)
    for number, file in enumerate(files):
        if file.is_copy:
            rng = np.random.default_rng([SEED, 3, number])
            original = photos.from_jpeg(written[file.defect_of])
            written[file.name] = photos.COPIES[file.defect](original, rng)
    return {file.name: written[file.name] for file in files}


def _paint_one(file: plan.File, photo: Image.Image, rng: np.random.Generator) -> bytes:
    if file.defect == "undecodable":
        return photos.UNDECODABLE[file.variant](photo)
    if file.defect in photos.BAD:
        strength = file.variant / (plan.BAD_IMAGES[file.defect] - 1)
        return photos.to_jpeg(photos.BAD[file.defect](photo, strength, rng))
    return photos.to_jpeg(photos.STUDIOS[file.studio](photo, rng))


def assert_gap(folder: Path) -> gap.Gap:
    """Make sure that a model is at least 10 points worse on studio c within class.

    Raises:
        InputError: it is not, or the interval includes zero.
    """
    log.info("embedding the photos to measure studio c")
    found = gap.of_folder(folder, np.random.default_rng([SEED, 4]))
    says = (
        f"studio c is {100 * found.value:.1f} points worse within class "
        f"(95 % interval {100 * found.low:.1f} to {100 * found.high:.1f}): accuracy "
        f"{found.accuracy_on_c:.3f} against {found.accuracy_elsewhere:.3f} at {gap.LABELS} labels"
    )
    if not found.is_enough:
        raise InputError(f"{says}; at least 10 are promised. Strengthen photos.in_studio_c.")
    log.info(says)
    return found


def compare(committed: Path, rebuilt: Path) -> list[str]:
    """Return what differs between two builds, one line each; nothing where they agree.

    Tables must be equal. Photos must decode to the same size and nearly the same grey levels:
    another JPEG library may round differently. Files that do not decode must not in both.
    """
    problems = [
        f"{name}: differs"
        for name in ("labels.csv", "truth.csv", "test.csv")
        if (committed / name).read_bytes() != (rebuilt / name).read_bytes()
    ]
    for folder in ("images", "test"):
        names = {path.name for path in (committed / folder).iterdir()}
        expected = {path.name for path in (rebuilt / folder).iterdir()}
        problems += [f"{folder}/{name}: missing" for name in sorted(expected - names)]
        problems += [f"{folder}/{name}: not part of it" for name in sorted(names - expected)]
        for name in sorted(names & expected):
            if not _look_alike(committed / folder / name, rebuilt / folder / name):
                problems.append(f"{folder}/{name}: shows something else")
    return problems


def _look_alike(first: Path, second: Path) -> bool:
    one, other = _decoded(first), _decoded(second)
    if one is None or other is None:
        return one is other
    if one.size != other.size:
        return False
    difference = np.abs(photos.to_pixels(one) - photos.to_pixels(other)).mean()
    return bool(difference <= LARGEST_DIFFERENCE)


def _decoded(path: Path) -> Image.Image | None:
    try:
        return decode(path)
    except UnreadableImage:
        return None


def _write_tables(files: Sequence[plan.File], out: Path) -> None:
    _write_csv(
        out / "labels.csv",
        ("filename", "label", "studio", "season"),
        ((f.name, f.given_label, f.studio, f.season) for f in files),
    )
    _write_csv(
        out / "truth.csv",
        ("filename", "label", "defect", "defect_of"),
        ((f.name, f.label, f.defect, f.defect_of) for f in files),
    )


def _write_test(test: sources.Photos, picked: Sequence[int], out: Path) -> None:
    rows = []
    for number, index in enumerate(picked, start=1):
        name = f"test-{number:04d}.png"
        test.image(index).save(out / "test" / name, optimize=True)
        rows.append((name, plan.CLASSES[int(test.classes[index])]))
    _write_csv(out / "test.csv", ("filename", "label"), rows)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(description="Build the sample data from Fashion-MNIST.")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, default=HERE, help="folder to build in")
    where.add_argument("--check", action="store_true", help="compare instead of replacing")
    asked = parser.parse_args(arguments)
    try:
        if not asked.check:
            build(asked.out)
            assert_gap(asked.out)
            return 0
        with tempfile.TemporaryDirectory() as folder:
            build(Path(folder))
            problems = compare(HERE, Path(folder))
    except LabelloopError as error:
        log.error("%s", error)
        return 1
    for problem in problems:
        log.error("%s", problem)
    log.info("%d differences", len(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
