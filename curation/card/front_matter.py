"""The YAML block on top of a Hugging Face dataset card, and licences by their names there."""

import json
import re
from typing import Any

from curation.card.facts import Facts

_LICENSES = (
    (r"apache.*2|^apache license$", "apache-2.0"),
    (r"^(the )?mit\b", "mit"),
    (r"bsd.*2-?clause|simplified bsd", "bsd-2-clause"),
    (r"bsd.*3-?clause|new bsd|modified bsd", "bsd-3-clause"),
    (r"cc0|public domain dedication", "cc0-1.0"),
    (r"cc[ -]by[ -]nc[ -]nd.*4|noncommercial-noderiv.*4", "cc-by-nc-nd-4.0"),
    (r"cc[ -]by[ -]nc[ -]sa.*4|noncommercial-sharealike.*4", "cc-by-nc-sa-4.0"),
    (r"cc[ -]by[ -]nc.*4|attribution-noncommercial.*4", "cc-by-nc-4.0"),
    (r"cc[ -]by[ -]nd.*4|attribution-noderiv.*4", "cc-by-nd-4.0"),
    (r"cc[ -]by[ -]sa.*4|attribution-sharealike.*4", "cc-by-sa-4.0"),
    (r"cc[ -]by.*4|attribution 4", "cc-by-4.0"),
    (r"gnu general public license.*3|gpl.*3", "gpl-3.0"),
    (r"open data commons open database|odbl", "odbl"),
)
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


def license_id(text: str) -> str:
    """The id of a licence by the first line of its text; `other` where it is none of the usual.

    >>> license_id("MIT License"), license_id("CC BY 4.0"), license_id("Ours"), license_id("")
    ('mit', 'cc-by-4.0', 'other', 'unknown')
    """
    if not text.strip():
        return "unknown"
    lowered = text.strip().lower()
    found = (name for pattern, name in _LICENSES if re.search(pattern, lowered))
    return next(found, "other")


def front_matter(found: Facts) -> str:
    """The block, between its lines of dashes."""
    about: dict[str, Any] = {"pretty_name": found.project.record.name}
    about["license"] = license_id(found.license)
    if about["license"] == "other":
        about["license_name"] = found.license[:80]
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
