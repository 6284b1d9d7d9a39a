"""Contract tests that run over every entry of the registry, then each strategy's own maths."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curation.errors import NeedsModel, PoolTooSmall, SelectionError
from training.strategies import STRATEGIES, Pool, coverage, max_herding, select

EVERY = pytest.mark.parametrize("name", sorted(STRATEGIES))


def unit(rng: np.random.Generator, rows: int, columns: int = 16) -> NDArray[np.float32]:
    points = rng.normal(size=(rows, columns))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def pool_of(rows: int, *, seed: int = 0, groups: int | None = None, labeled: int = 5) -> Pool:
    rng = np.random.default_rng(seed)
    return Pool(
        ids=rng.permutation(10 * rows)[:rows],
        embeddings=unit(rng, rows),
        groups=np.arange(rows) if groups is None else rng.integers(0, groups, rows),
        probabilities=rng.dirichlet(np.ones(4), rows),
        labeled_embeddings=unit(rng, labeled),
        labeled_classes=rng.integers(0, 4, labeled),
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
    with pytest.raises(SelectionError, match=r"'clever'.*random, margin, max-herding"):
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


def test_max_herding__a_pool_over_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(max_herding, "MOST_POINTS", 30)
    pool = pool_of(200)
    one = select("max-herding", pool, 40, np.random.default_rng(3))
    two = select("max-herding", pool, 40, np.random.default_rng(3))
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
