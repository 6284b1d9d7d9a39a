import numpy as np
import pytest

from training import order


def test_draw__each_image_once_by_seed_and_epoch() -> None:
    one = order.draw(23, batch_size=5, seed=3, epoch=1)
    assert [len(rows) for rows in one.steps] == [5, 5, 5, 4, 4]
    assert sorted(np.concatenate(one.steps)) == list(range(23))
    assert (np.concatenate(one.looks) == 1).all()
    again = order.draw(23, batch_size=5, seed=3, epoch=1)
    assert all((a == b).all() for a, b in zip(one.steps, again.steps, strict=True))
    for other in ({"seed": 4, "epoch": 1}, {"seed": 3, "epoch": 2}):
        drawn = order.draw(23, batch_size=5, **other)
        assert (np.concatenate(drawn.steps) != np.concatenate(one.steps)).any()


def test_draw__as_often_as_they_weigh_and_never_the_same_look() -> None:
    chance = np.r_[0.0, np.full(99, 0.5 / 99), 0.5]
    counts = np.zeros(101)
    looks = []
    for epoch in range(1, 41):
        drawn = order.draw(101, batch_size=8, seed=0, epoch=epoch, chance=chance)
        rows, seen = np.concatenate(drawn.steps), np.concatenate(drawn.looks)
        counts += np.bincount(rows, minlength=101)
        looks += list(zip(rows.tolist(), seen.tolist(), strict=True))
    assert counts[0] == 0
    assert counts[100] / counts.sum() == pytest.approx(0.5, abs=0.03)
    assert len(set(looks)) == len(looks) == 40 * 101


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 33])
@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_parts__all_places_with_their_mirrors(count: int, most: int) -> None:
    parts = order.parts(count, most)
    assert len(parts) <= most and all(map(len, parts))
    assert sorted(np.concatenate(parts)) == list(range(count))
    for places in parts:
        assert (places[::-1] == count - 1 - places).all()
