"""Licences as people write them, by the names that Hugging Face and SPDX give them."""

import re
from collections.abc import Sequence

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


def front_matter(stated: Sequence[str]) -> dict[str, str]:
    """The fields of a dataset card for the licences of its sources.

    >>> front_matter(["MIT License", "MIT License"])
    {'license': 'mit'}
    >>> front_matter(["MIT License", ""])
    {'license': 'other', 'license_name': 'MIT License; not stated'}
    """
    different = sorted(set(stated), reverse=True)
    if len(different) == 1 and license_id(different[0]) != "other":
        return {"license": license_id(different[0])}
    if not any(different):
        return {"license": "unknown"}
    return {"license": "other", "license_name": "; ".join(x or "not stated" for x in different)}
