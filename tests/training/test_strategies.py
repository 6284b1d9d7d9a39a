"""Contract tests that run over every entry of the registry, then each strategy's own maths."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax

from curation.errors import NeedsModel, PoolTooSmall, SelectionError
from training.strategies import STRATEGIES, Pool, candidates, coverage, select

EVERY = pytest.mark.parametrize("name", sorted(STRATEGIES))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def unit(rng: np.random.Generator, rows: int, columns: int = 16) -> NDArray[np.float32]:
    points = rng.normal(size=(rows, columns))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), dtype=np.float32)


def pool_of(rows: int, *, seed: int = 0, groups: int | None = None, labeled: int = 5) -> Pool:
    rng = np.random.default_rng(seed)
    weight = 3 * rng.normal(size=(16, 4))

    def predict(X: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(softmax(X.astype(np.float64) @ weight, axis=1))

    points = unit(rng, rows)
    return Pool(
        ids=rng.permutation(10 * rows)[:rows],
        embeddings=points,
        groups=np.arange(rows) if groups is None else rng.integers(0, groups, rows),
        probabilities=predict(points),
        labeled_embeddings=unit(rng, labeled),
        labeled_classes=rng.integers(0, 4, labeled),
        predict=predict,
    )


def reordered(pool: Pool, order: NDArray[np.intp]) -> Pool:
    assert pool.probabilities is not None
    return replace(
        pool,
        ids=pool.ids[order],
        embeddings=pool.embeddings[order],
        groups=pool.groups[order],
        probabilities=pool.probabilities[order],
    )


@EVERY
@settings(deadline=None)  # whatever is imported in a strategy counts once
@given(rows=st.integers(2, 60), seed=st.integers(0, 999), share=st.floats(0.01, 1))
def test_select__gives_distinct_rows_of_distinct_groups(
    name: str, rows: int, seed: int, share: float
) -> None:
    pool = pool_of(rows, seed=seed, groups=max(1, rows // 2))
    count = max(1, int(share * len(np.unique(pool.groups))))
    chosen = select(name, pool, count, np.random.default_rng(seed))
    group_of = dict(zip(pool.ids.tolist(), pool.groups.tolist(), strict=True))
    assert len(chosen.ids) == len(chosen.scores) == len(chosen.reasons) == count
    assert len({group_of[key] for key in chosen.ids.tolist()}) == count
    assert all(reason and "\n" not in reason for reason in chosen.reasons)
    assert np.isfinite(chosen.scores).all()


@EVERY
@settings(deadline=None)
@given(seed=st.integers(0, 999))
def test_select__ignores_the_order_of_rows(name: str, seed: int) -> None:
    pool = pool_of(50, seed=seed, groups=30)
    order = np.random.default_rng(seed + 1).permutation(50)
    one = select(name, pool, 10, np.random.default_rng(7))
    two = select(name, reordered(pool, order), 10, np.random.default_rng(7))
    assert one.ids.tolist() == two.ids.tolist()
    assert one.scores == pytest.approx(two.scores)


@EVERY
def test_select__takes_names_for_ids(name: str) -> None:
    pool = pool_of(20)
    named = replace(pool, ids=np.array([f"photo-{key}.jpg" for key in pool.ids]))
    chosen = select(name, named, 5, np.random.default_rng(0))
    assert set(chosen.ids.tolist()) <= set(named.ids.tolist())


@EVERY
def test_select__never_picks_what_is_not_eligible(name: str) -> None:
    pool = pool_of(40)
    eligible = np.arange(40) % 2 == 0
    chosen = select(name, replace(pool, eligible=eligible), 20, np.random.default_rng(0))
    assert set(chosen.ids.tolist()) == set(pool.ids[eligible].tolist())


@EVERY
def test_select__more_than_there_are_groups(name: str) -> None:
    pool = replace(pool_of(20), groups=np.arange(20) // 2)
    with pytest.raises(PoolTooSmall, match=r"Asked for 11 images; 10 distinct ones .*20 rows"):
        select(name, pool, 11, np.random.default_rng(0))


@EVERY
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("column", ["embeddings", "probabilities", "labeled_embeddings"])
def test_select__refuses_what_is_not_finite(name: str, bad: float, column: str) -> None:
    pool = pool_of(20)
    values = getattr(pool, column).copy()
    values[3, 1] = bad
    with pytest.raises(SelectionError, match="first in row 3"):
        select(name, replace(pool, **{column: values}), 5, np.random.default_rng(0))


@EVERY
def test_select__without_a_model(name: str) -> None:
    pool = replace(pool_of(20), probabilities=None)
    if STRATEGIES[name].needs_model:
        with pytest.raises(NeedsModel, match="max-herding"):
            select(name, pool, 5, np.random.default_rng(0))
    else:
        assert len(select(name, pool, 5, np.random.default_rng(0)).ids) == 5


@EVERY
def test_select__reads_memory_mapped_half_precision(name: str, tmp_path: Path) -> None:
    pool = pool_of(30)
    np.save(tmp_path / "e.npy", pool.embeddings.astype(np.float16))
    mapped = replace(pool, embeddings=np.load(tmp_path / "e.npy", mmap_mode="r"))
    assert len(set(select(name, mapped, 6, np.random.default_rng(0)).ids.tolist())) == 6


@EVERY
def test_select__a_certain_model_and_equal_images(name: str) -> None:
    pool = pool_of(30)
    flat = replace(
        pool,
        embeddings=np.tile(pool.embeddings[:1], (30, 1)),
        probabilities=np.tile([1.0, 0, 0, 0], (30, 1)),
    )
    assert len(set(select(name, flat, 30, np.random.default_rng(0)).ids.tolist())) == 30


@EVERY
def test_registry__describes_itself(name: str) -> None:
    entry = STRATEGIES[name]
    assert entry.name == name == name.lower().replace("_", "-")
    assert entry.description and entry.source


def test_select__unknown_name() -> None:
    with pytest.raises(SelectionError, match=r"'clever'.*random, least-confidence, .*max-herding"):
        select("clever", pool_of(5), 1, np.random.default_rng(0))


def test_select__count_below_one() -> None:
    with pytest.raises(SelectionError, match="Asked for 0 images"):
        select("random", pool_of(5), 0, np.random.default_rng(0))


def test_pool__repeated_ids() -> None:
    pool = replace(pool_of(5), ids=np.array([1, 2, 3, 3, 4]))
    with pytest.raises(SelectionError, match="repeat"):
        select("random", pool, 2, np.random.default_rng(0))


def test_pool__columns_of_different_length() -> None:
    with pytest.raises(SelectionError, match="5 ids but 4 rows of groups"):
        replace(pool_of(5), groups=np.arange(4))


def test_random__every_group_is_as_likely() -> None:
    pool = replace(pool_of(10), groups=np.arange(10) // 2)
    rng = np.random.default_rng(0)
    drawn = np.concatenate([select("random", pool, 2, rng).ids for _ in range(2000)])
    _, counts = np.unique(drawn, return_counts=True)
    assert len(counts) == 5
    assert counts == pytest.approx(800, abs=5 * np.sqrt(2000 * 0.4 * 0.6))


def test_random__says_the_probability_of_each_pick() -> None:
    chosen = select("random", pool_of(10), 3, np.random.default_rng(0))
    assert chosen.probabilities == pytest.approx([1 / 10, 1 / 9, 1 / 8])


def test_margin__smallest_first() -> None:
    pool = pool_of(50)
    assert pool.probabilities is not None
    p = np.sort(pool.probabilities, axis=1)
    margins = dict(zip(pool.ids.tolist(), (p[:, -1] - p[:, -2]).tolist(), strict=True))
    chosen = select("margin", pool, 7, np.random.default_rng(0)).ids.tolist()
    assert [margins[key] for key in chosen] == sorted(margins.values())[:7]


def test_margin__multi_label_takes_the_class_hardest_to_decide() -> None:
    pool = replace(
        pool_of(3),
        ids=np.arange(3),
        probabilities=np.array([[0.9, 0.9], [0.99, 0.55], [0.2, 0.1]]),
        multi_label=True,
    )
    assert select("margin", pool, 3, np.random.default_rng(0)).ids.tolist() == [1, 2, 0]


@given(seed=st.integers(0, 999), weighted=st.booleans(), labeled=st.integers(0, 4))
def test_pick__is_the_plain_greedy(seed: int, weighted: bool, labeled: int) -> None:
    rng = np.random.default_rng(seed)
    points, known = unit(rng, 70, 4), unit(rng, labeled, 4)
    weights = rng.uniform(0, 1, 70) if weighted else np.ones(70)
    found = coverage.pick(points, points, count=12, bandwidth=0.7, weights=weights, known=known)
    square = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    table = np.exp(-square / 0.49)
    cover = np.zeros(70)
    if labeled:
        cover = np.exp(-((known[:, None] - points[None]) ** 2).sum(axis=2) / 0.49).max(axis=0)
    for step in range(12):
        gains = np.maximum(table - cover, 0) @ weights
        # Compared by gain: two candidates may differ by less than float32 can tell.
        assert gains[found.order[step]] == pytest.approx(gains.max(), abs=1e-4)
        assert found.gains[step] == pytest.approx(gains.max(), abs=1e-4)
        cover = np.maximum(cover, table[found.order[step]])


def test_pick__without_keeping_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    points = unit(np.random.default_rng(0), 200)
    kept = coverage.pick(points, points, count=20, bandwidth=1.0)
    monkeypatch.setattr(coverage, "_CACHED_ENTRIES", 0)
    monkeypatch.setattr(coverage, "_BLOCK_ENTRIES", 1000)
    streamed = coverage.pick(points, points, count=20, bandwidth=1.0)
    assert kept.order.tolist() == streamed.order.tolist()


def test_max_herding__one_of_each_cluster_before_a_second() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(8, 16)
    points = np.repeat(centres, 10, axis=0) + rng.normal(scale=0.02, size=(80, 16))
    pool = Pool(ids=np.arange(80), embeddings=points.astype(np.float32), groups=np.arange(80))
    chosen = select("max-herding", pool, 8, rng).ids
    assert sorted(chosen // 10) == list(range(8))


def test_max_herding__leaves_what_is_labeled_already() -> None:
    points = np.repeat(np.eye(4, 8, dtype=np.float32), 5, axis=0)
    pool = Pool(
        ids=np.arange(20),
        embeddings=points,
        groups=np.arange(20),
        labeled_embeddings=np.eye(3, 8, dtype=np.float32),
    )
    assert select("max-herding", pool, 1, np.random.default_rng(0)).ids[0] // 5 == 3


@EVERY
def test_select__a_pool_over_the_limit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "MOST", 30)
    pool = pool_of(200)
    one = select(name, pool, 40, np.random.default_rng(3))
    two = select(name, pool, 40, np.random.default_rng(3))
    assert one.ids.tolist() == two.ids.tolist()
    assert len(set(one.ids.tolist())) == 40


def test_uncertainty_herding__goes_where_the_doubt_is() -> None:
    points = np.repeat(np.eye(4, 8, dtype=np.float32), 10, axis=0)
    sure = np.tile([0.97, 0.01, 0.01, 0.01], (40, 1))
    sure[20:30] = [0.4, 0.4, 0.1, 0.1]
    pool = Pool(ids=np.arange(40), embeddings=points, groups=np.arange(40), probabilities=sure)
    chosen = select("uncertainty-herding", pool, 2, np.random.default_rng(0)).ids
    assert chosen[0] // 10 == 2
    assert chosen[1] // 10 != 2


@pytest.mark.parametrize(
    ("probabilities", "count", "strategy", "rule"),
    [
        (False, 5, "max-herding", "no model yet"),
        (True, 5, "uncertainty-herding", "a usual budget"),
        (True, 2001, "margin", "more than 2,000"),
    ],
)
def test_auto__says_which_rule_fired(
    probabilities: bool, count: int, strategy: str, rule: str
) -> None:
    pool = pool_of(2100)
    pool = pool if probabilities else replace(pool, probabilities=None)
    chosen = select("auto", pool, count, np.random.default_rng(0))
    assert chosen.strategy == strategy
    assert chosen.rule is not None and rule in chosen.rule
    assert (
        chosen.ids.tolist() == select(strategy, pool, count, np.random.default_rng(0)).ids.tolist()
    )


def test_least_confidence__least_sure_first() -> None:
    pool = replace(pool_of(3, labeled=0), ids=np.arange(3))
    sure = np.array([[0.5, 0.49, 0.01, 0], [0.4, 0.2, 0.2, 0.2], [0.9, 0.1, 0, 0]])
    chosen = select("least-confidence", replace(pool, probabilities=sure), 2, rng())
    assert chosen.ids.tolist() == [1, 0]
    assert "40% sure" in chosen.reasons[0]


def test_entropy__counts_open_bits() -> None:
    pool = replace(pool_of(3, labeled=0), ids=np.arange(3))
    p = np.array([[0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25], [1.0, 0, 0, 0]])
    chosen = select("entropy", replace(pool, probabilities=p), 3, rng())
    assert chosen.ids.tolist() == [1, 0, 2]
    assert chosen.scores == pytest.approx([2, 1, 0])
    yes_no = replace(pool, probabilities=p, multi_label=True)
    assert select("entropy", yes_no, 1, rng()).scores == pytest.approx([4 * 0.811278], abs=1e-5)


def test_bald__disagreement_and_not_doubt() -> None:
    # One image's answer hangs on single columns, the other's on none: both look undecided.
    weight = np.zeros((16, 2))
    weight[0], weight[1] = (40, -40), (-40, 40)
    points = np.zeros((2, 16), dtype=np.float32)
    points[0, :2] = np.sqrt(0.5)
    points[1, 2] = 1

    def predict(X: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(softmax(X @ weight, axis=1))

    pool = Pool(np.arange(2), points, np.arange(2), predict(points), predict=predict)
    assert pool.probabilities is not None and np.allclose(pool.probabilities, 0.5)
    chosen = select("bald", pool, 2, rng())
    assert chosen.ids.tolist() == [0, 1]
    assert chosen.scores[0] > 0.2
    assert chosen.scores[1] == pytest.approx(0, abs=1e-9)


def test_bald__without_the_model_itself() -> None:
    with pytest.raises(NeedsModel, match="margin"):
        select("bald", replace(pool_of(5), predict=None), 1, rng())


def test_k_center__is_farthest_first() -> None:
    pool = pool_of(40)
    chosen = select("k-center", pool, 8, rng())
    at = {key: place for place, key in enumerate(pool.ids.tolist())}
    known = list(pool.known_features())
    for key, score in zip(chosen.ids.tolist(), chosen.scores, strict=True):
        apart = np.stack([np.linalg.norm(pool.embeddings - one, axis=1) for one in known])
        nearest = apart.min(axis=0)
        assert nearest.max() == pytest.approx(score, abs=1e-3)
        assert nearest[at[key]] == pytest.approx(nearest.max(), abs=1e-3)
        known.append(pool.embeddings[at[key]])


def test_k_center__without_labels_begins_in_the_middle() -> None:
    points = np.array([[1, 0], [0.8, 0.6], [0, 1]], dtype=np.float32)
    pool = Pool(ids=np.arange(3), embeddings=points, groups=np.arange(3))
    assert select("k-center", pool, 1, rng()).ids.tolist() == [1]


@pytest.mark.parametrize("name", ["margin-kmeans", "cluster-margin"])
def test_margins_in_clusters__one_of_each_before_a_second(name: str) -> None:
    points = np.repeat(np.eye(5, 8, dtype=np.float32), 20, axis=0)
    points += np.random.default_rng(0).normal(scale=0.01, size=points.shape).astype(np.float32)
    p = np.tile([0.9, 0.1], (100, 1))
    unsure = [0, 1, 2, 3, 4, 20, 40, 60, 80]
    p[unsure] = [0.51, 0.49]
    p[:5] = [0.5, 0.5]
    pool = Pool(np.arange(100), points, np.arange(100), p)
    chosen = select(name, pool, 5, rng())
    assert sorted(key // 20 for key in chosen.ids.tolist()) == [0, 1, 2, 3, 4]
    assert select("margin", pool, 5, rng()).ids.max() < 5


def test_typiclust__the_most_typical_of_what_has_no_label() -> None:
    drawn = np.random.default_rng(0)
    middles = np.repeat(np.eye(3, 8), [30, 20, 10], axis=0)
    away = drawn.normal(scale=0.1, size=middles.shape)
    away[[0, 30, 50]] = 0
    points = (middles + away).astype(np.float32)
    labeled = np.eye(3, 8, dtype=np.float32)[:1]
    pool = Pool(np.arange(60), points, np.arange(60), labeled_embeddings=labeled)
    chosen = select("typiclust", pool, 2, rng())
    assert chosen.ids.tolist() == [30, 50]
    assert "typical of 20 images" in chosen.reasons[0]


def test_badge__distances_are_those_of_the_gradients() -> None:
    pool = pool_of(30)
    chosen = select("badge", pool, 30, rng())
    assert pool.probabilities is not None and chosen.probabilities is not None
    q = np.eye(4)[pool.probabilities.argmax(axis=1)] - pool.probabilities
    gradients = np.einsum("nc,nd->ncd", q, pool.embeddings).reshape(30, -1)
    at = {key: place for place, key in enumerate(pool.ids.tolist())}
    order = [at[key] for key in chosen.ids.tolist()]
    assert order[0] == np.linalg.norm(gradients, axis=1).argmax()
    for turn in range(1, 30):
        apart = gradients[:, None] - gradients[order[:turn]]
        weight = (apart**2).sum(axis=2).min(axis=1)
        wanted = weight[order[turn]] / weight.sum()
        assert chosen.probabilities[turn] == pytest.approx(wanted, rel=1e-3)


def test_badge__draws_in_proportion() -> None:
    pool = pool_of(12)
    turns = [select("badge", pool, 2, np.random.default_rng(seed)) for seed in range(2000)]
    seen = {key: sum(one.ids[1] == key for one in turns) for key in {one.ids[1] for one in turns}}
    said = {one.ids[1]: one.probabilities[1] for one in turns if one.probabilities is not None}
    assert sum(said.values()) == pytest.approx(1, abs=0.02)
    for key, times in seen.items():
        assert times / 2000 == pytest.approx(said[key], abs=0.04)


@pytest.mark.parametrize("model", [True, False])
def test_bait__is_the_plain_greedy(model: bool) -> None:
    pool = pool_of(25) if model else replace(pool_of(25), predict=None)
    assert pool.probabilities is not None
    top = pool.probabilities.max(axis=1)
    W = np.sqrt(top * (1 - top))[:, None] * pool.embeddings.astype(np.float64)
    known = pool.known_features().astype(np.float64)
    doubt = np.full(len(known), (top * (1 - top)).mean())
    if pool.predict is not None:
        sure = pool.predict(pool.known_features()).max(axis=1)
        doubt = sure * (1 - sure)
    M = np.eye(16) + (known * doubt[:, None]).T @ known
    F = W.T @ W / len(W)
    chosen = select("bait", pool, 10, rng())
    at = {key: place for place, key in enumerate(pool.ids.tolist())}
    left = set(range(25))
    for key, score in zip(chosen.ids.tolist(), chosen.scores, strict=True):
        before = np.trace(np.linalg.solve(M, F))
        worth = {
            place: before - np.trace(np.linalg.solve(M + np.outer(W[place], W[place]), F))
            for place in left
        }
        best = max(worth, key=lambda place: worth[place])
        assert at[key] == best
        assert score == pytest.approx(worth[best], rel=1e-6)
        M += np.outer(W[best], W[best])
        left.remove(best)


@EVERY
@pytest.mark.parametrize("classes", [2, 1000])
def test_select__few_and_many_classes(name: str, classes: int) -> None:
    pool = pool_of(40)
    weight = np.random.default_rng(1).normal(size=(16, classes))

    def predict(X: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(softmax(X @ weight, axis=1))

    many = replace(pool, probabilities=predict(pool.embeddings), predict=predict)
    for yes_no in (False, True):
        asked = replace(many, multi_label=yes_no)
        assert len(set(select(name, asked, 12, rng()).ids.tolist())) == 12


@EVERY
def test_select__nothing_labeled(name: str) -> None:
    pool = replace(pool_of(30), labeled_embeddings=None, labeled_classes=None)
    assert len(set(select(name, pool, 30, rng()).ids.tolist())) == 30
