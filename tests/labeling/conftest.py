"""What the labeling tests share."""

from collections.abc import Sequence
from typing import Any

import pytest

from labeling import tasks


@pytest.fixture
def batch() -> Any:
    """Builds n tasks whose pre-labels put them into the order of `ranks`."""

    def build(
        ranks: Sequence[int], *, model_version: str = "round-1", start: int = 0
    ) -> list[dict[str, Any]]:
        return [
            tasks.task(
                f"image-{start + number}",
                name=f"{start + number}.jpg",
                url=tasks.image_url("photos", f"{start + number}.jpg"),
                predictions=[
                    tasks.prediction(
                        ["scratch"],
                        confidence=0.7,
                        model_version=model_version,
                        rank=rank,
                        size=len(ranks),
                    )
                ],
            )
            for number, rank in enumerate(ranks)
        ]

    return build
