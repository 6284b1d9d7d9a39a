import numpy as np

from curation.bias import audit
from curation.bias.evidence import Evidence, with_model
from curation.bias.slices import Slices
from curation.bias.table import holm
from tests.curation.bias.made import evidence, sliced
from training.heads import out_of_fold

CLASSES = 3


def kinds(done: audit.Audit) -> list[tuple[str, dict[str, str]]]:
    return [(one.tested.kind, dict(one.tested.slice)) for one in done.settled.findings]


def planted(n: int = 300) -> tuple[Evidence, Slices, Slices]:
    """Site 2 is served badly, site 1 holds mostly class a; the weekday has no meaning."""
    rng = np.random.default_rng(3)
    site = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    y = np.where((site == 1) & (rng.random(n) < 0.6), 0, rng.integers(0, CLASSES, n))
    right = rng.random(n) < np.where(site == 2, 0.5, 0.9)
    made = evidence(y, right, classes=CLASSES, unlabeled=50)
    values = [*map(str, site), *map(str, rng.integers(0, 3, 50))]
    return made, sliced("site", values), sliced("day", list(map(str, rng.integers(0, 5, n + 50))))


def test_holm__is_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).round(3).tolist() == [0.03, 0.06, 0.06, 0.02]
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]


def test_examine__finds_what_was_planted_and_nothing_of_a_column_without_meaning() -> None:
    made, site, day = planted()
    found = audit.examine(made, [site], seed=1)
    assert kinds(found)[:2] == [("quality", {"site": "2"}), ("representation", {"site": "1"})]
    worst = found.settled.findings[0].tested
    assert worst.ci[0] < 0.4 < worst.ci[1]
    assert "points less" in worst.says
    assert kinds(audit.examine(made, [day], seed=1)) == []


def test_examine__crossed_columns_do_not_repeat_what_one_of_them_says() -> None:
    made, site, day = planted()
    done = audit.examine(made, [site, day], seed=1)
    assert [one for one in kinds(done) if len(one[1]) == 2] == []
    assert kinds(done)[0] == ("quality", {"site": "2"})
    assert [len(table.slices.values) for table in done.tables] == [3, 5, 15]
    assert any(len(one.slice) == 2 for one in done.small)


def test_examine__finds_a_fault_that_only_two_columns_show() -> None:
    rng = np.random.default_rng(5)
    n = 600
    one, other = rng.integers(0, 3, n), rng.integers(0, 3, n)
    bad = (one == 0) & (other == 0)
    made = evidence(
        rng.integers(0, CLASSES, n), rng.random(n) < np.where(bad, 0.4, 0.9), classes=CLASSES
    )
    columns = [sliced("one", list(map(str, one))), sliced("other", list(map(str, other)))]
    assert ("quality", {"one": "0", "other": "0"}) in kinds(audit.examine(made, columns, seed=1))


def test_examine__with_few_labels_representation_comes_first() -> None:
    rng = np.random.default_rng(11)
    site = np.repeat([0, 1], [40, 40])
    y = np.where(site == 0, 0, rng.integers(0, CLASSES, 80))
    done = audit.examine(
        evidence(y, rng.random(80) < np.where(site == 1, 0.4, 1), classes=CLASSES),
        [sliced("site", list(map(str, site)))],
        seed=1,
    )
    assert {kind for kind, _ in kinds(done)} >= {"quality", "representation"}
    assert kinds(done)[0][0] == "representation"


def test_examine__says_how_many_labels_a_small_slice_needs() -> None:
    rng = np.random.default_rng(2)
    site = np.repeat([0, 1], [300, 6])
    made = evidence(rng.integers(0, CLASSES, 306), rng.random(306) < 0.8, classes=CLASSES)
    done = audit.examine(made, [_two(site)], seed=1)
    (small,) = done.small
    assert small.slice == {"site": ""}
    assert "no site has 6 labels" in small.says
    assert 20 < small.needed < 80
    assert kinds(done) == []


def _two(site: np.ndarray) -> Slices:
    """Images without a value are a slice of their own."""
    return sliced("site", ["" if one else "main" for one in site])


def test_examine__without_labels_tells_only_what_slices_hold() -> None:
    empty = evidence(np.zeros(0, int), np.zeros(0, bool), classes=CLASSES, unlabeled=9)
    done = audit.examine(empty, [sliced("site", list("aaabbbbcc"))], seed=1, discover=True)
    assert kinds(done) == []
    assert done.tables[0].images.tolist() == [3, 4, 2]
    assert "no labels yet" in done.notes[0]


def test_examine__several_labels_an_image() -> None:
    rng = np.random.default_rng(4)
    n, X = 240, rng.normal(size=(240, 8)).astype(np.float32)
    site = rng.integers(0, 2, n)
    truth = (X[:, :3] + 0.2 * rng.normal(size=(n, 3)) > 0).astype(np.int64)
    # The pictures of one site show nothing.
    X[site == 1] = rng.normal(size=(int((site == 1).sum()), 8))
    bare = Evidence(
        classes=("a", "b", "c"),
        single=False,
        ids=np.arange(n),
        groups=np.arange(n),
        labeled=np.arange(n),
        truth=truth,
    )
    made = with_model(bare, X, out_of_fold=out_of_fold.probabilities, properties={})
    done = audit.examine(made, [sliced("site", list(map(str, site)))], seed=1)
    assert kinds(done)[0] == ("quality", {"site": "1"})
    assert "decisions" in done.settled.findings[0].tested.says
    assert set(done.tables[0].quality[0].figures) == {"accuracy", "precision", "recall"}
    assert any("multi-label" in note for note in done.notes)


def test_with_model__leaves_classes_out_that_no_model_could_have_learnt() -> None:
    rng = np.random.default_rng(1)
    y = np.array([0, 1] * 15 + [2])
    made = evidence(y, y >= 0, classes=3)
    X = rng.normal(size=(31, 4)).astype(np.float32)
    judged = with_model(made, X, out_of_fold=out_of_fold.probabilities, properties={})
    assert judged.judged.tolist() == [True] * 30 + [False]
    few = evidence(y[:8], y[:8] >= 0, classes=3)
    assert (
        with_model(few, X[:8], out_of_fold=out_of_fold.probabilities, properties={}).probabilities
        is None
    )
