"""Rules count as much as is seen to help: on blobs, with rules that are right and ones that err."""

from pathlib import Path

import numpy as np
import pytest

from curation.embeddings import EmbeddingStore
from training import weighing
from training.heads.head import fit_head
from training.material import weak as weak_rows
from training.material.records import NOTHING_WEAK, Weak
from training.weighing import Rows

CLASSES = ("a", "b", "c")


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    """600 points of three overlapping blobs on the sphere; point n is of class n modulo 3."""
    rng = np.random.default_rng(4)
    centres = np.eye(16)[:3]
    points = centres[np.arange(600) % 3] + 0.45 * rng.normal(size=(600, 16))
    made = EmbeddingStore(tmp_path / "e", "f" * 16)
    made.append(np.arange(600), points / np.linalg.norm(points, axis=1, keepdims=True))
    return made


def rows(store: EmbeddingStore, ids: range) -> Rows:
    places = np.array(ids)
    return Rows(store.read(places), places % 3, np.ones(len(places)))


def soft(ids: range, *, right: float, undecided: bool = True) -> Weak:
    """What a rule says that is right so often."""
    rng = np.random.default_rng(1)
    places = np.array(ids)
    off = np.where(rng.random(len(places)) < right, 0, 1)
    return Weak(
        places,
        (places + off) % 3,
        places,
        np.ones(len(places)),
        np.ones(len(places), dtype=bool),
        rules=len(places),
        plan=1,
        undecided=undecided,
    )


def test_weigh__rules_that_help_are_taken_and_the_model_is_better(store: EmbeddingStore) -> None:
    few, judges, test = rows(store, range(12)), rows(store, range(300, 360)), range(400, 600)
    found = weighing.weigh(few, soft(range(20, 300), right=0.95), judges, store, classes=CLASSES)
    assert (found.rules, found.plan, found.undecided) == (280, 1, False)
    assert (found.weights == found.weights[0]).all() and 0 < found.weights[0] <= 1
    assert "on 60 labels that judge" in found.says

    def accuracy(given: Rows) -> float:
        head = fit_head(given.X, given.y, classes=CLASSES, sample_weight=given.weight)
        seen = rows(store, test)
        return float((head.logits(seen.X).argmax(axis=1) == seen.y).mean())

    assert accuracy(weighing.joined(few, found, store)) > accuracy(few) + 0.02


def test_weigh__rules_that_err_are_left_out_and_accepted_labels_stay(store: EmbeddingStore) -> None:
    few, judges = rows(store, range(60)), rows(store, range(300, 360))
    bad = soft(range(100, 300), right=0.2)
    bad.of_rules[:5] = False
    bad.targets[:5] = bad.ids[:5] % 3
    found = weighing.weigh(few, bad, judges, store, classes=CLASSES)
    assert (len(found), found.rules, found.plan) == (5, 0, None)
    assert "do not help" in found.says


def test_weigh__too_few_judges_and_a_weight_that_was_given(store: EmbeddingStore) -> None:
    few, good = rows(store, range(12)), soft(range(20, 300), right=0.95)
    for judges in (None, rows(store, range(300, 329))):
        found = weighing.weigh(few, good, judges, store, classes=CLASSES)
        assert len(found) == 0
        assert "too few to tell" in found.says
    given = soft(range(20, 300), right=0.95, undecided=False)
    assert weighing.weigh(few, given, None, store, classes=CLASSES) is given
    assert weighing.joined(few, NOTHING_WEAK, store) is few


def test_load__what_was_written(tmp_path: Path) -> None:
    made = soft(range(7), right=0.5)
    weak_rows.write(tmp_path / "weak.parquet", made)
    again = weak_rows.load(tmp_path / "weak.parquet", made.as_json())
    assert again.as_json() == made.as_json()
    for name in ("ids", "targets", "groups", "weights", "of_rules"):
        assert (getattr(again, name) == getattr(made, name)).all()
    weak_rows.write(tmp_path / "weak.parquet", NOTHING_WEAK)
    assert not (tmp_path / "weak.parquet").exists()
    assert len(weak_rows.load(tmp_path / "weak.parquet", {})) == 0
