"""Against the published worked example, and people whose errors are known."""

import json

import numpy as np
import pytest

from labeling import dawid_skene
from labeling.dawid_skene import Fitted
from tests.labeling.crowd import anaesthetists, crowd


def test_fit__anaesthetists_as_published() -> None:
    patients, observers, answers = anaesthetists()
    assert len(answers) == 45 * 7
    found = dawid_skene.fit(patients, observers, answers, known=(1, 2, 3, 4))
    assert found.prior == pytest.approx([0.40, 0.42, 0.11, 0.07], abs=0.01)
    table = np.zeros((4, 4))
    for true, said, n in found.counts[1]:
        table[true, said] = n
    rates = table / table.sum(axis=1, keepdims=True)
    # Their table 2, observer 1: how a patient of each class is judged.
    assert rates[0] == pytest.approx([0.89, 0.11, 0, 0], abs=0.006)
    assert rates[1] == pytest.approx([0.07, 0.88, 0.05, 0], abs=0.006)
    assert rates[2] == pytest.approx([0, 0.34, 0.66, 0], abs=0.006)
    # Patient 3, of whom four in seven answers say 2.
    third = found.posterior([(1, 1), (1, 1), (1, 2), (2, 2), (3, 1), (4, 2), (5, 2)])
    assert third.argmax() == 1


def test_fit__beats_the_majority_where_people_err_unequally() -> None:
    images, people, said, truth = crowd()
    found = dawid_skene.fit(images, people, said, known=(0, 1, 2))
    by_image = said.reshape(len(truth), -1)
    majority = [np.bincount(row, minlength=3).argmax() for row in by_image]
    likeliest = [
        found.posterior(list(zip(who, row, strict=True))).argmax()
        for who, row in zip(people.reshape(by_image.shape).tolist(), by_image.tolist(), strict=True)
    ]
    assert np.mean(likeliest == truth) > np.mean(majority == truth) + 0.05
    accuracy = {who: right / n for who in range(1, 11) for right, n in [found.right(who)]}
    assert {who for who, share in accuracy.items() if share > 0.75} == {1, 2}


def test_posterior__of_one_answer_is_that_of_its_annotator() -> None:
    images, people, said, _ = crowd(images=1_000)
    found = Fitted.of_json(
        json.loads(json.dumps(dawid_skene.fit(images, people, said, known=(0, 1, 2, 9)).as_json()))
    )
    assert found.values == (0, 1, 2, 9)
    good, bad, unknown = (found.posterior([(who, 1)])[1] for who in (1, 5, 77))
    assert good == pytest.approx(0.9, abs=0.05)
    assert bad == pytest.approx(0.5, abs=0.08)
    assert bad < unknown < good
    assert found.posterior([(1, 1)])[3] < 0.001  # nobody ever said it
    assert found.posterior([(1, 12345)]) == pytest.approx(found.prior)


def test_fit__a_share_of_the_images_where_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, people, said, _ = crowd(images=200)
    monkeypatch.setattr(dawid_skene, "MOST_CELLS", 600)
    found, again = (dawid_skene.fit(images, people, said, known=(0, 1, 2)) for _ in range(2))
    assert sum(found.right(who)[1] for who in range(1, 11)) == pytest.approx(200, abs=5)
    assert found.as_json() == again.as_json()


def test_fit__nothing_is_known_where_nobody_shares_an_image() -> None:
    one = np.arange(5)
    found = dawid_skene.fit(one, one, np.ones(5, dtype=np.int64), known=(1, 2))
    assert found.counts == {}
    assert found.posterior([(1, 2)]) == pytest.approx([1 / 3, 2 / 3], abs=0.4)
