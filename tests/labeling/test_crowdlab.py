"""Against cleanlab's own consensus, and people and a model whose errors are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from cleanlab.multiannotator import get_label_quality_multiannotator

from labeling import crowdlab
from labeling.crowdlab import Opinions, Weights
from tests.labeling.crowd import crowd


def opinions_of(truth: np.ndarray, *, right: float = 0.9) -> Opinions:  # type: ignore[type-arg]
    rng = np.random.default_rng(3)
    said = np.where(rng.random(len(truth)) < right, truth, (truth + 1) % 3)
    chances = np.full((len(truth), 3), 0.1)
    chances[np.arange(len(truth)), said] = 0.8
    return Opinions(np.arange(len(truth)), chances)


def test_posterior__is_cleanlabs_consensus() -> None:
    images, people, said, truth = crowd(images=200)
    opinions = opinions_of(truth)
    found = crowdlab.fit(images, people, said, opinions=opinions, known=(0, 1, 2))
    assert found is not None
    weights = Weights.of_json(json.loads(json.dumps(found.as_json())))
    table = np.full((200, 10), np.nan)
    table[images, people - 1] = said
    theirs = get_label_quality_multiannotator(table, opinions.chances, verbose=False)
    quality = theirs["label_quality"]
    mine = np.array(
        [
            weights.posterior(
                [(int(who) + 1, int(row[who])) for who in np.flatnonzero(~np.isnan(row))],
                opinions.of(key),
            )
            for key, row in enumerate(table)
        ]
    )
    same = mine.argmax(axis=1) == quality["consensus_label"]
    # cleanlab finds the label by weights that it then finds anew.
    assert same.mean() > 0.97
    assert mine.max(axis=1)[same] == pytest.approx(quality["consensus_quality_score"][same])
    majority = [np.bincount(row, minlength=3).argmax() for row in said.reshape(200, -1)]
    assert np.mean(mine.argmax(axis=1) == truth) > np.mean(majority == truth) + 0.05


def test_fit__leaves_global_randomness_alone_and_repeats() -> None:
    images, people, said, _ = crowd(images=60, each=2)
    opinions = Opinions(np.arange(60), np.full((60, 3), 1 / 3))  # every tie is a tie to the model
    np.random.seed(5)
    before = np.random.get_state()[1]
    found, again = (
        crowdlab.fit(images, people, said, opinions=opinions, known=(0, 1, 2)) for _ in range(2)
    )
    assert found is not None and again is not None
    assert found.as_json() == again.as_json()
    assert np.array_equal(before, np.random.get_state()[1])


def test_fit__none_where_the_model_knows_no_shared_image() -> None:
    images, people, said, _ = crowd(images=20)
    elsewhere = Opinions(np.array([700]), np.full((1, 3), 1 / 3))
    assert crowdlab.fit(images, people, said, opinions=elsewhere, known=(0, 1, 2)) is None


def test_opinions__written_and_read(tmp_path: Path) -> None:
    wanted = Opinions(np.array([3, 8, 11]), np.random.default_rng(0).random((3, 4)))
    wanted.write(tmp_path / "said.npy")
    found = Opinions.read(tmp_path / "said.npy")
    assert np.array_equal(np.asarray(found.of(8)), np.asarray(wanted.rounded().of(8)))
    assert found.of(9) is None
    assert found.of(12) is None
    (tmp_path / "said.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError):
        Opinions.read(tmp_path / "said.npy")
