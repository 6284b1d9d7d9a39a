import logging
from pathlib import Path

import numpy as np
import pytest

from curation.errors import FingerprintMismatch, NotFound
from curation.shards import Shards


def opened(folder: Path, fingerprint: str = "aa") -> Shards:
    return Shards(
        folder,
        fingerprint,
        noun="count",
        fits=lambda rows: rows.dtype == np.int32,
        again="labelloop count",
    )


def test_read__missing_rows_are_named_with_what_makes_them(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.append([3, 1], np.array([[30], [10]], np.int32))
    assert store.read([1, 3, 1]).tolist() == [[10], [30], [10]]
    message = r"^2 of 3 images have no count yet \(the first: image 7\)\. Run: labelloop count$"
    with pytest.raises(NotFound, match=message):
        store.read([3, 7, 2])


def test_shards__other_fingerprint_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).append([1], np.ones((1, 2), np.int32))
    with pytest.raises(FingerprintMismatch, match="`labelloop count`"):
        opened(tmp_path, "bb")


def test_reload__rows_of_another_type_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(tmp_path)
    store.append([1], np.ones((1, 2), np.int32))
    store.append([2], np.ones((1, 2), np.int32))
    damaged = sorted(path for path in tmp_path.glob("*.npy") if ".ids" not in path.name)[0]
    np.save(damaged, np.ones((1, 2), np.float64))
    with caplog.at_level(logging.WARNING):
        store.reload()
    assert store.missing([1, 2]) == [1]
    assert damaged.name in caplog.text
