"""A model card tells what its run's files tell, of trainings and of rounds."""

import html
from pathlib import Path
from typing import Any

import pytest

from curation.catalog import rounds
from curation.catalog import runs as run_rows
from curation.errors import InputError, NotFound, TrainingError
from curation.records import LedgerRow
from curation.workspace import Project
from tests import trained
from training import material, model_card, runs


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return trained.copied(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("card") / "shop")


def told(project: Project, run_id: str, **about: Any) -> None:
    """Adds what a whole training tells of its run."""
    with project.catalog.write() as connection:
        row = run_rows.get(connection, run_id)
        run_rows.update_run(connection, run_id, state="done", about={**row["about"], **about})


def test_write__tells_what_the_files_tell(shop: Project, tmp_path: Path) -> None:
    figure = {"value": 0.9, "n": 12, "ci": [0.7, 0.97]}
    drop = {"value": 0.2, "n": 12, "ci": [0.1, 0.3]}
    told(
        shop,
        trained.HEAD,
        judged_on="drawn",
        asked={"settings": {"strength": 30.0}, "minutes": None},
        reasons=["A head, since there are 34 labels."],
        diagnosis=[{"kind": "overfit", "says": "It knows them.", "next_step": "labelloop round"}],
        slices=[{"column": "studio", "value": "a", "n": 12, "accuracy": figure}],
        robustness={
            "n": 12,
            "clean": figure,
            "mean": figure,
            "corrupted": [{"kind": "blur", "severity": 3, "accuracy": figure, "drop": drop}],
            "says": ["Blur costs most."],
        },
        temperature=1.5,
        calibration="the model was too sure",
    )
    files = model_card.write(shop, trained.HEAD, tmp_path)
    assert [path.name for path in files] == ["card.md", "card.html"]
    text, page = (path.read_text(encoding="utf-8") for path in files)
    with shop.catalog.read() as connection:
        row = run_rows.get(connection, trained.HEAD)
    accuracy = row["metrics"]["accuracy"]
    low, high = accuracy["ci"]
    wanted = (
        f"{100 * accuracy['value']:.1f} % ({100 * low:.1f} to {100 * high:.1f})",
        "test part drawn for trainings",
        "A head, since there are 34 labels.",
        "It knows them. labelloop round",
        "studio",
        "20.0 % (10.0 to 30.0)",
        "Blur costs most.",
        "divided by 1.500: the model was too sure",
        f"labelloop models reproduce {trained.HEAD}",
        "labelloop train --kind head --set strength=30.0 --seed 5",
        f"labelloop predict FOLDER --run {trained.HEAD}",
        runs.read(shop, trained.HEAD, runs.FACTS)["environment"]["packages"]["torch"],
        *row["about"]["files"].values(),
        *row["metrics"]["notes"],
    )
    for words in wanted:
        assert html.escape(words, quote=True) in page, words
        assert words in text.replace("\\", ""), words
    images = row["about"]["material"]["images"]
    assert f"| all | {images['train']} | {images['validation']} | {images['test']} |" in text
    assert text.startswith("---\npipeline_tag:")


def test_write__says_what_is_not_known(shop: Project, tmp_path: Path) -> None:
    (path,) = model_card.write(shop, trained.TUNED, tmp_path / "tuned.md")
    text = path.read_text(encoding="utf-8").replace("\\", "")
    assert f"Not measured. Measure it: labelloop models robustness {trained.TUNED}" in text
    assert "No metadata column divides" in text
    assert "64 x 64 pixels" in text
    assert "Nothing was found wrong" not in text


def test_write__weak_classes_only_where_that_can_be_told(shop: Project, tmp_path: Path) -> None:
    with shop.catalog.write() as connection:
        metrics = run_rows.get(connection, trained.MLP)["metrics"]
        dress, sneaker = metrics["per_class"]
        told = {"recall": {"value": 0.1, "n": 20, "ci": [0.028, 0.301]}, "support": 20}
        few = {"recall": {"value": 0.0, "n": 3, "ci": [0.0, 0.561]}, "support": 3}
        per_class = [{**dress, **told}, {**sneaker, **few}]
        run_rows.update_run(
            connection,
            trained.MLP,
            metrics={**metrics, "n": 23, "groups": 21, "per_class": per_class},
        )
    (path,) = model_card.write(shop, trained.MLP, tmp_path / "mlp.md")
    text = path.read_text(encoding="utf-8").replace("\\", "")
    assert "of: dress (it finds 10.0 % (2.8 to 30.1) of 20 images)." in text
    assert "The 23 images are 21 groups of images that belong together" in text


def test_write__counts_the_labels_that_rounds_chose(shop: Project, tmp_path: Path) -> None:
    with shop.catalog.read() as connection:
        about = run_rows.get(connection, trained.HEAD)["about"]["material"]
    held = material.load(runs.folder(shop, trained.HEAD), about)
    before = tmp_path / "before.md"
    model_card.write(shop, trained.HEAD, before)
    assert "rounds chose" not in before.read_text(encoding="utf-8")
    learned = held.train.ids.tolist()
    asked = {"max-herding": [*learned[:3], int(held.test.ids[0])], "random": learned[3:9]}
    with shop.catalog.write() as connection:
        for strategy, ids in asked.items():
            one = rounds.start(connection, shop.id, {})
            rows = [LedgerRow(key, "batch", rank) for rank, key in enumerate(ids)]
            rounds.plan(connection, shop.id, one.id, rows)
            rounds.note(connection, one.id, {"strategy": strategy})
    after = tmp_path / "after.md"
    model_card.write(shop, trained.HEAD, after)
    wanted = f"3 of the {len(learned)} labels that it learned from are of images that rounds chose"
    assert wanted in after.read_text(encoding="utf-8")


def test_write__the_purpose_in_own_words_and_again(shop: Project, tmp_path: Path) -> None:
    path = tmp_path / "card.html"
    model_card.write(shop, trained.MLP, path, about="Sorts <b>shoes</b>.")
    assert "Sorts &lt;b&gt;shoes&lt;/b&gt;." in path.read_text()
    model_card.write(shop, trained.MLP, path)
    assert "Nobody has written more" in path.read_text()


def test_write__refuses_in_words(shop: Project, tmp_path: Path) -> None:
    mine = tmp_path / "README.md"
    mine.write_text("my own")
    with pytest.raises(InputError, match=r"README\.md was not written by labelloop"):
        model_card.write(shop, trained.HEAD, mine)
    assert mine.read_text() == "my own"
    with pytest.raises(InputError, match=r"card\.pdf is no \.md"):
        model_card.write(shop, trained.HEAD, tmp_path / "card.pdf")
    with pytest.raises(NotFound, match="No run 'p1-train-99'"):
        model_card.write(shop, "p1-train-99", tmp_path)
    with shop.catalog.write() as connection:
        run_rows.add(
            connection,
            shop.id,
            "p1-train-4",
            kind="head",
            snapshot_id=None,
            seed=0,
            settings={},
            metrics={},
            state="failed",
        )
    runs.write_facts(runs.folder(shop, "p1-train-4"), "p1-train-4", {})
    with pytest.raises(TrainingError, match="p1-train-4 is failed"):
        model_card.write(shop, "p1-train-4", tmp_path)
    assert not (tmp_path / "card.md").exists()
