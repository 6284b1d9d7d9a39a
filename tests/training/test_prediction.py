"""Answers about files: all of them, each once, whatever the files and the process go through."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from curation import inference
from curation.errors import Cancelled, InputError
from curation.workspace import Project
from tests import trained
from training.serving import classifier, prediction
from training.serving.classifier import Classifier


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    base = tmp_path_factory.getbasetemp()
    return trained.copied(base, tmp_path_factory.mktemp("prediction") / "w")


@pytest.fixture(scope="module")
def model(project: Project) -> Classifier:
    return classifier.open(project, trained.HEAD)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """Six photos in folders, and what is none."""
    found = tmp_path / "photos"
    photos = sorted(trained.photos(tmp_path_factory.getbasetemp()).iterdir())
    for number, path in enumerate(photos[:6]):
        target = found / f"{number % 2}" / f"=é {number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (found / "broken.jpg").write_bytes(photos[0].read_bytes()[:400])
    (found / "page.png").write_text("<html>not found</html>")
    (found / "notes.txt").write_text("of the photographer")
    (found / "away.jpg").symlink_to(photos[0])
    return found


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert len({row["image"] for row in found}) == len(found)
    return {row["image"]: row for row in found}


def test_predict__a_row_for_every_file(model: Classifier, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    source = prediction.understand(folder)
    done = prediction.predict(model, source, out, probabilities=True)
    assert (done.images, done.already, done.rejected) == (9, 0, 3)
    found = rows(out)
    assert found["broken.jpg"]["rejected"].startswith("truncated")
    assert found["page.png"]["rejected"] == "not an image: an HTML page"
    assert found["away.jpg"]["rejected"] == "a link that leaves the folder"
    for number in range(6):
        name = f"{number % 2}/=é {number}.jpg"
        pixels = inference.prepare(folder / name, model.preprocessing)
        p = model.probabilities_of(pixels[None])[0]
        row = found[name]
        assert row["prediction"] == model.classes[p.argmax()]
        assert float(row["confidence"]) == pytest.approx(p.max(), abs=1e-6)
        assert float(row["p(dress)"]) == pytest.approx(p[0], abs=1e-6)
    again = prediction.predict(model, source, out, probabilities=True)
    assert (again.images, again.already) == (9, 9)
    shutil.copy(folder / "0" / "=é 0.jpg", folder / "later.jpg")
    more = prediction.predict(model, prediction.understand(folder), out, probabilities=True)
    assert (more.images, more.already) == (10, 9)
    assert rows(out)["later.jpg"]["confidence"] == found["0/=é 0.jpg"]["confidence"]


def test_predict__looks_again_at_what_was_rejected(
    model: Classifier, folder: Path, tmp_path: Path
) -> None:
    out, source = tmp_path / "p.csv", prediction.understand(folder)
    prediction.predict(model, source, out)
    shutil.copy(folder / "0" / "=é 0.jpg", folder / "broken.jpg")
    assert prediction.predict(model, source, out).rejected == 3
    done = prediction.predict(model, source, out, retry_rejected=True)
    assert (done.images, done.already, done.rejected, done.retried) == (9, 6, 2, 3)
    found = rows(out)
    assert found["broken.jpg"]["confidence"] == found["0/=é 0.jpg"]["confidence"]
    assert found["page.png"]["rejected"] == "not an image: an HTML page"


def test_predict__goes_on_when_it_was_cancelled(
    model: Classifier, folder: Path, tmp_path: Path
) -> None:
    def stop(done: int, total: int, says: str) -> None:
        if done >= 4:
            raise Cancelled("asked to stop")

    source = prediction.understand(folder)
    with pytest.raises(Cancelled):
        prediction.predict(model, source, tmp_path / "p.csv", report=stop)
    rest = prediction.predict(model, source, tmp_path / "p.csv")
    assert (rest.images, rest.already) == (9, 4)
    prediction.predict(model, source, tmp_path / "undisturbed.csv")
    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "undisturbed.csv").read_bytes()


def test_predict__files_that_a_table_lists(model: Classifier, folder: Path, tmp_path: Path) -> None:
    table = folder / "list.csv"
    absolute = folder / "1" / "=é 1.jpg"
    lines = ["path;studio", "0/=é 0.jpg;a", f"{absolute};b", "gone.jpg;c", "0/=é 0.jpg;d", "x;y;z"]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = tmp_path / "p.csv"
    done = prediction.predict(model, prediction.understand(table), out)
    found = rows(out)
    assert done.images == 4
    assert found["gone.jpg"]["rejected"] == "the file is missing"
    assert found["line 6"]["rejected"].endswith("the number of cells is not the header's")
    assert found[str(absolute)]["prediction"] in model.classes
    one = prediction.predict(model, prediction.understand(absolute), tmp_path / "one.csv")
    assert one.images == 1
    assert rows(tmp_path / "one.csv")["'=é 1.jpg"]["rejected"] == ""


def test_understand__says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        prediction.understand(tmp_path / "no")
    with pytest.raises(InputError, match="No images in"):
        prediction.understand(tmp_path)


def test_predict__refuses_more_classes_than_there_are(
    model: Classifier, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="--top 3: give 0 to 2"):
        prediction.predict(model, prediction.understand(folder), tmp_path / "p.csv", top=3)
    assert not (tmp_path / "p.csv").exists()


def test_probabilities__nan_for_what_cannot_be_read(model: Classifier, folder: Path) -> None:
    paths = [folder / "broken.jpg", folder / "0" / "=é 0.jpg", folder / "1" / "=é 1.jpg"]
    found = prediction.probabilities(model, paths)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1:].sum(axis=1), 1)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_predict__a_killed_process_is_gone_on_for(
    project: Project, model: Classifier, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in trained.photos(tmp_path_factory.getbasetemp()).iterdir():
        for copy in range(12):
            os.link(path, photos / f"{copy}-{path.name}")
    out = tmp_path / "p.csv"
    command = [sys.executable, "-c", "from ui.cli import main; main()"]
    words = ["predict", str(photos), "--out", str(out), "--run", trained.HEAD, "--probabilities"]
    child = subprocess.Popen(
        [*command, "--workspace", str(project.workspace.path), *words],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    give_up = time.monotonic() + 120
    while not (out.exists() and out.read_bytes().count(b"\n") > 20):
        assert child.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.02)
    child.kill()
    child.wait()
    rest = prediction.predict(model, prediction.understand(photos), out, probabilities=True)
    assert 20 <= rest.already < rest.images == 12 * 2 * trained.EACH
    assert set(rows(out)) == {path.name for path in photos.iterdir()}
