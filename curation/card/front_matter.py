"""The YAML block on top of a Hugging Face dataset card."""

import json
from typing import Any

from curation import licenses
from curation.card.facts import Facts

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_TASKS: dict[str, dict[str, list[str]]] = {
    "single-label": {
        "task_categories": ["image-classification"],
        "task_ids": ["multi-class-image-classification"],
    },
    "multi-label": {
        "task_categories": ["image-classification"],
        "task_ids": ["multi-label-image-classification"],
    },
    "boxes": {"task_categories": ["object-detection"]},
}


def front_matter(found: Facts) -> str:
    """The block, between its lines of dashes."""
    about: dict[str, Any] = {"pretty_name": found.project.record.name}
    about |= licenses.front_matter([source.license for source in found.sources])
    about |= _TASKS[found.project.record.task]
    size = next((name for below, name in _SIZES if found.usable < below), "n>10M")
    about["size_categories"] = [size]
    about["annotations_creators"] = _creators(found)
    about["source_datasets"] = ["original"]
    about["tags"] = ["labelloop"]
    # A JSON value is a YAML value.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in about.items()]
    return "\n".join(["---", *lines, "---", ""])


def _creators(found: Facts) -> list[str]:
    if not found.labeled:
        return ["no-annotation"]
    # What the hub calls the people who label a dataset with a tool and guidelines of their own.
    kinds = {one.kind for one in found.answers}
    said = {"person": "expert-generated", "import": "found", "oracle": "machine-generated"}
    return sorted(said[kind] for kind in kinds) or ["other"]
