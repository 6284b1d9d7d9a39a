"""Counts, remedies and plans, on real photos of which some bear labels."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from curation import balance, workspace
from curation.balance import Options, census, coverage, expected, quotas, remedies
from curation.catalog import audit, labels, plans, runs
from curation.catalog import images as image_rows
from curation.errors import InputError, NotFound
from curation.records import LabelRow
from curation.workspace import Project
from tests.catalog.rows import add_label
from tests.searchable import copied


@pytest.fixture
def project(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """24 embedded photos; nine are labeled a and three b."""
    found = copied(tmp_path_factory.getbasetemp(), tmp_path / "w")
    label(found, [0] * 9 + [1] * 3)
    yield found
    found.catalog.close()


def ids_of(project: Project) -> list[int]:
    with project.catalog.read() as connection:
        return [key for key, _ in image_rows.usable(connection, project.id)]


def label(project: Project, classes: Sequence[int]) -> None:
    """The first images get these classes, by position."""
    ids = ids_of(project)
    with project.catalog.write() as connection:
        for key, position in zip(ids, classes, strict=False):
            add_label(connection, project.record, key, project.record.class_ids[position])


def predict(project: Project, classes: Sequence[int]) -> None:
    """A model calls all images by these classes, in turn."""
    ids = ids_of(project)
    run = {"kind": "head", "snapshot_id": None, "seed": 0, "settings": {}, "metrics": {}}
    said = [
        (key, project.record.class_ids[classes[n % len(classes)]], 0.9, 0.8)
        for n, key in enumerate(ids)
    ]
    with project.catalog.write() as connection:
        runs.add(connection, project.id, "r", **run)  # type: ignore[arg-type]
        runs.put_predictions(connection, project.id, "r", said)


def studios(project: Project, values: Sequence[str]) -> None:
    ids = ids_of(project)
    said = {key: {"studio": values[n % len(values)]} for n, key in enumerate(ids)}
    with project.catalog.write() as connection:
        image_rows.put_metadata(connection, project.id, said)


# The report ---------------------------------------------------------------------------------------


def test_describe__counts_cells_and_what_is_missing(project: Project) -> None:
    studios(project, ["x", "x", "y"])
    found = balance.describe(project, by="studio")
    assert found["classes"] == {"a": 9, "b": 3}
    assert (found["imbalance_ratio"], round(found["effective_classes"], 3)) == (3.0, 1.755)
    assert found["slices"] == {"x": {"a": 6, "b": 2}, "y": {"a": 3, "b": 1}}
    assert found["origins"] == {"people": {"a": 9, "b": 3}}
    assert found["missing"][0] == {
        "kind": "few-labels",
        "class": "b",
        "slice": None,
        "n": 3,
        "more": 27,
        "at_random": 108,
        "in_pool": None,
        "says": "b has 3 labels: about 27 more, which takes about 108 images labeled at random.",
    }
    assert "labelloop round" in found["expected"]["says"]


def test_describe__a_class_without_labels(project: Project) -> None:
    label(project, [0] * 12)
    found = balance.describe(project)
    assert (found["imbalance_ratio"], found["effective_classes"]) == (1.0, 1.0)
    first = found["missing"][0]
    assert (first["kind"], first["class"]) == ("no-labels", "b")
    with pytest.raises(InputError, match=r"All 12 labels .* are a; with one class"):
        balance.propose(project, "class-weights")


def test_describe__what_labeling_the_pool_would_bring(project: Project) -> None:
    predict(project, [1])
    change = balance.describe(project)["expected"]
    assert change["classes"]["b"]["expected"] == {"value": 15.0, "n": 0, "ci": None}
    assert (change["pool"], change["run"]) == (12, "r")
    assert "0 images of the reserve have an answer" in change["says"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["x"], "has one value only"),
        ([f"photo {n}" for n in range(24)], None),
        ([], "No image has a column 'studio'. Columns there are: none"),
    ],
)
def test_describe__columns_of_no_use(
    project: Project, values: list[str], says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if values:
        studios(project, values)
    if says is None:  # as many values as images
        monkeypatch.setattr(census, "MOST_SLICES", 20)
        says = "has more than 20 values"
    with pytest.raises(InputError, match=says):
        balance.describe(project, by="studio")


def test_describe__without_labels(project: Project) -> None:
    with project.catalog.write() as connection:
        labels.remove(connection, ids_of(project))
    with pytest.raises(InputError, match="has a label yet"):
        balance.describe(project)


def test_estimate__covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    errs = np.array([[0.9, 0.1, 0.0], [0.3, 0.6, 0.1], [0.0, 0.2, 0.8]])  # said, by true class
    covered = 0
    for _ in range(200):
        true = rng.choice(3, 1_000, p=[0.8, 0.15, 0.05])
        said = (rng.random((1_000, 1)) > errs[true].cumsum(axis=1)).sum(axis=1)
        confusion = np.zeros((3, 3), np.int64)
        np.add.at(confusion, (true[:100], said[:100]), 1)
        found = expected.estimate(
            np.bincount(said[100:], minlength=3), confusion, rng=rng, draws=500
        )
        assert found.draws.sum(axis=1) == pytest.approx(900)
        low, high = np.quantile(found.draws[:, 2], [0.025, 0.975])
        covered += low <= (true[100:] == 2).sum() <= high
    assert covered >= 180


# Remedies -----------------------------------------------------------------------------------------


def test_weigh__inverse_and_effective_number() -> None:
    now = {"a": 900, "b": 90, "c": 9, "d": 0}
    inverse = remedies.weigh(now, 999, rule="inverse", beta=0.0)
    assert [inverse[name] * now[name] for name in "abc"] == pytest.approx([333] * 3, rel=1e-5)
    assert "d" not in inverse
    milder = remedies.weigh(now, 999, rule="effective-number", beta=0.99)
    assert 10 < milder["c"] / milder["a"] < 100
    assert sum(milder[name] * now[name] for name in "abc") == pytest.approx(999, rel=1e-5)
    near_one = remedies.weigh(now, 999, rule="effective-number", beta=1 - 1e-9)
    assert near_one["c"] == pytest.approx(inverse["c"], rel=1e-3)


def test_repeat__by_the_square_root_of_the_share() -> None:
    assert remedies.repeat({"a": 75, "b": 25, "c": 1}, 100, threshold=0.25) == {
        "a": 1.0,
        "b": 1.0,
        "c": 5.0,
    }


def test_fill__says_what_cannot_be_reached() -> None:
    made, short = remedies.fill({"a": 100, "b": 30, "c": 2, "d": 0}, target=100)
    assert made == {"b": 70, "c": 20}
    assert short == {"c": 78}


class Rows:
    """Embeddings by row."""

    def __init__(self, X: np.ndarray) -> None:
        self.X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)

    def read(self, ids: list[int]) -> np.ndarray:
        return self.X[ids]


def test_keep__one_of_each_bunch_and_no_copies() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(5, 16)
    X = np.repeat(centres, [100, 50, 20, 10, 5], axis=0) + rng.normal(0, 0.02, (185, 16))
    store, ids = Rows(X), np.arange(185)
    kept = coverage.keep(store, ids, ids, count=5, rng=rng)
    assert sorted(X[kept].argmax(axis=1)) == [0, 1, 2, 3, 4]

    # Copies go before anything else: 6 groups, of which one holds 180 images.
    alike = np.where(ids < 180, 0, ids)
    kept = coverage.keep(store, ids, alike, count=7, rng=rng)
    assert len(kept) == len(set(kept.tolist())) == 7
    assert set(range(180, 185)) < set(kept.tolist())


def test_undersampling__what_is_left_out_does_not_count(project: Project) -> None:
    plan = balance.propose(project, "undersampling", Options(target=4))
    assert plan.after == {"a": 4, "b": 3}
    rows = training(project)
    counted = balance.weights(project, rows, plan=plan.settings)
    with project.catalog.read() as connection:
        names = image_rows.names_by_id(connection, [row.image_id for row in rows])
    left = [names[row.image_id] for row, w in zip(rows, counted, strict=True) if w == 0]
    assert sorted(left) == plan.settings["left_out"]
    assert len(left) == 5


def training(project: Project) -> list[LabelRow]:
    with project.catalog.read() as connection:
        return labels.for_training(connection, project.id)


@pytest.mark.parametrize(
    ("remedy", "options", "error", "says"),
    [
        ("nope", Options(), InputError, "Choose from: class-weights, oversampling"),
        ("class-weights", Options(target=3), InputError, "does not use --target; it takes --rule"),
        ("class-weights", Options(rule="log"), InputError, "inverse, effective-number"),
        ("class-weights", Options(beta=1.0), InputError, "--beta is 1"),
        ("oversampling", Options(threshold=0.01), InputError, "rarest is 0.250"),
        ("undersampling", Options(target=9), InputError, "largest has 9"),
        ("augmentation", Options(target=3), InputError, "filling up to 3 asks for no copies"),
        ("augmentation", Options(recipe="x"), NotFound, "No recipe 'x'"),
        ("labeling-quota", Options(), InputError, "needs a model"),
        ("labeling-quota", Options(share=1.5), InputError, "--share is 1.5"),
        ("labeling-quota", Options(share=0.01), InputError, "not one image"),
        ("labeling-quota", Options(by="studio"), InputError, "No image has a column 'studio'"),
    ],
)
def test_propose__what_cannot_be_done(
    project: Project, remedy: str, options: Options, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        balance.propose(project, remedy, options)


@pytest.fixture
def tags(tmp_path: Path) -> Iterator[Project]:
    """A project whose images bear several classes."""
    made = workspace.create_project(
        tmp_path / "w", name="tags", class_names=["a", "b", "c"], task="multi-label"
    )
    yield made
    made.catalog.close()


def test_propose__copies_of_an_image_add_to_all_its_classes(tags: Project) -> None:
    for remedy in ("augmentation", "undersampling"):
        with pytest.raises(InputError, match=f"{remedy} cannot balance a multi-label project"):
            balance.propose(tags, remedy)


def test_weights__of_images_with_several_classes(tags: Project) -> None:
    a, b, c = tags.record.class_ids
    rows = [LabelRow(n, n, held, "people", 1.0) for n, held in enumerate([(a,), (a, b), (), (c,)])]
    repeated = {"class_repeats": {"a": 1.0, "b": 2.5}}
    # An image is repeated for its rarest class, and a class nobody had counts as the rarest.
    assert balance.weights(tags, rows, plan=repeated).tolist() == [1.0, 2.5, 1.0, 2.5]
    weighted = {"class_weights": {"a": 0.2, "b": 5.0}}
    assert balance.weights(tags, rows, plan=weighted).tolist() == [1.0] * 4
    found = balance.class_weights(tags, weighted)
    assert found is not None
    assert found.tolist() == [0.2, 5.0, 5.0]


def test_weigh__each_class_of_many_is_a_question_of_its_own() -> None:
    found = remedies.weigh({"a": 50, "b": 10}, 60, rule="inverse", beta=0.0, single_label=False)
    assert found == {"a": 0.2, "b": 5.0}


def test_labeling_quota__goes_to_the_fewest_as_far_as_the_pool_holds_them(
    project: Project,
) -> None:
    predict(project, [0, 0, 0, 1])
    plan = balance.propose(project, "labeling-quota", Options(budget=20))
    # Three of the twelve in the pool are predicted b; the rest of ten images go to a.
    assert plan.settings["quota"] == {"a": 0.35, "b": 0.15}
    assert plan.after == {"a": 16, "b": 6}

    studios(project, ["x", "x", "y"])
    plan = balance.propose(project, "labeling-quota", Options(budget=6, by="studio"))
    assert plan.settings["quota"] == {"y": 0.5}
    assert plan.after == {"x": 8, "y": 7}


# Plans in force -----------------------------------------------------------------------------------


def test_apply__weighs_labels_until_it_is_cleared(project: Project) -> None:
    rows = training(project)
    assert balance.weights(project, rows).tolist() == [1.0] * 12
    plan = balance.apply(project, balance.propose(project, "class-weights"), actor="ann")
    assert balance.weights(project, rows) == pytest.approx([2 / 3] * 9 + [2] * 3, rel=1e-4)
    assert balance.in_force(project)["balance"]["id"] == plan.id

    second = balance.apply(project, balance.propose(project, "oversampling"))
    assert balance.weights(project, rows) == pytest.approx([1] * 9 + [2**0.5] * 3, rel=1e-4)
    with project.catalog.read() as connection:
        entry = audit.entries(connection, project.id)[1]
        assert [row.id for row in plans.latest(connection, project.id)] == [second.id, plan.id]
    assert (entry["act"], entry["actor"]) == ("apply-plan", "ann")
    assert entry["subject"] == {"plan": plan.id, "kind": "balance", "remedy": "class-weights"}

    label(project, [0] * 9 + [1] * 4)
    aged = balance.describe(project)["in_force"]["balance"]
    assert (aged["labels"], aged["labels_now"]) == (12, 13)

    assert balance.clear(project) == ["balance"]
    assert balance.weights(project, rows).tolist() == [1.0] * 12
    with project.catalog.read() as connection:
        assert audit.entries(connection, project.id)[0]["act"] == "clear-plan"
    with pytest.raises(InputError, match="nothing to clear"):
        balance.clear(project)


def test_propose__changes_nothing(project: Project) -> None:
    before = training(project)
    for remedy in ("class-weights", "oversampling", "augmentation"):
        balance.propose(project, remedy)
    balance.propose(project, "undersampling", Options(target=2))
    assert balance.in_force(project) == {}
    assert training(project) == before
    assert quotas.in_force(project) is None
