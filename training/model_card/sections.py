"""The sections of a model card, in the order of "Model Cards" (Mitchell et al. 2019)."""

from collections.abc import Iterator
from typing import Any

from curation.card.blocks import Block, Bullets, Grid, Own, Paragraph, Section
from training.model_card import measured, use
from training.model_card.facts import Facts

PARTS = ("train", "validation", "test")
MOST_CLASSES = 200
"""Classes that tables list, the largest first."""

_KINDS = {
    "head": "a linear classifier on frozen embeddings",
    "mlp": "a small network on frozen embeddings",
    "fine-tune": "a network that was fine-tuned whole",
}
_ORIGINS = {
    "split": "the part of the split",
    "reserve": "a half of the random reserve, which no model chose from",
    "drawn": "drawn for trainings, the same in each",
    "none": "there is none",
}


def every(found: Facts, about: str) -> list[Section]:
    """All sections.

    Args:
        found: what is known.
        about: what the user wrote on the purpose, in Markdown; may be empty.
    """
    made = {
        "Model": _model(found),
        "Intended use": _purpose(found, about),
        "Data": _data(found),
        "Settings": _settings(found),
        "Figures": measured.figures(found),
        "Classes": measured.classes(found),
        "Slices": measured.slices(found),
        "Robustness": measured.robustness(found),
        "Calibration": measured.calibration(found),
        "Diagnosis": _diagnosis(found),
        "Limits": use.limits(found),
        "How to use it": use.commands(found),
        "How to make it again": use.again(found),
    }
    return [Section(title, tuple(blocks)) for title, blocks in made.items()]


def _model(found: Facts) -> Iterator[Block]:
    row, about = found.row, found.about
    lines = [
        ("run", found.run + (", the champion" if row["champion"] else "")),
        ("kind", f"{row['kind']}: {_KINDS.get(row['kind'], '')}".rstrip(": ")),
        ("backbone", found.backbone or "not known"),
        ("task", str(found.metrics.get("task") or found.project.record.task)),
        ("classes", ", ".join(found.material.get("classes") or found.project.record.classes)),
        ("trained", f"{row['created_at']:%Y-%m-%d %H:%M} UTC"),
    ]
    if row["tags"]:
        lines.append(("tags", ", ".join(row["tags"])))
    if about.get("parents"):
        lines.append(("made from", ", ".join(about["parents"])))
    if "imported" in about:
        lines.append(("imported from", f"{about['imported']['file']}, {about['imported']['run']}"))
    yield Grid(("", ""), tuple(lines), numbers=2)


def _purpose(found: Facts, about: str) -> Iterator[Block]:
    if about.strip():
        yield Own(about)
        return
    record = found.project.record
    what = "any number of classes" if record.task == "multi-label" else "one class"
    yield Paragraph(
        f"To give {what} of {', '.join(record.classes)} to images like those of the project "
        f"{record.name!r}, and nothing else. Nobody has written more on its purpose."
    )


def _data(found: Facts) -> Iterator[Block]:
    header = found.header
    if header:
        labels = f", {header['labels']:,} labels" if "labels" in header else ""
        yield Paragraph(
            f"Snapshot {found.row['snapshot_id']}: {header.get('images', 0):,} images{labels} "
            f"(SHA-256 {header.get('sha256', 'unknown')}). `labelloop snapshot show "
            f"{found.row['snapshot_id']}` tells what is in it, `labelloop card` describes it."
        )
    if found.sizes:
        yield from _parts(found)
    elif "imported" in found.about:
        yield Paragraph("It was trained elsewhere: what it learned from is not known here.")
    licenses = sorted({text.splitlines()[0] if text else "not stated" for text in found.licenses})
    yield Paragraph(f"Licence of the images: {', '.join(licenses) or 'not stated'}.")
    notes = [note for note in found.material.get("notes", []) if note]
    plan = found.material.get("plan", {})
    if plan:
        notes.append(f"A balance plan was in force: {plan.get('remedy', 'unnamed')}.")
    if notes:
        yield Bullets(tuple(notes))


def _parts(found: Facts) -> Iterator[Block]:
    names = found.material.get("classes") or list(found.project.record.classes)
    total = {name: sum(counts[name] for counts in found.labels.values()) for name in names}
    shown = sorted(names, key=lambda name: -total[name])[:MOST_CLASSES]
    held = [part for part in PARTS if found.sizes.get(part)]
    rows = [("all", *(f"{found.sizes[part]:,}" for part in held))]
    rows += [(name, *(f"{found.labels[part][name]:,}" for part in held)) for name in shown]
    yield Grid(("images", *held), tuple(rows))
    if len(names) > len(shown):
        yield Paragraph(f"Left out are the {len(names) - len(shown):,} smallest classes.")
    origins = found.material.get("origins", {})
    if origins:
        yield Bullets(
            tuple(f"{part}: {_ORIGINS.get(origin, origin)}." for part, origin in origins.items())
        )


def _settings(found: Facts) -> Iterator[Block]:
    settings = {name: value for name, value in found.row["settings"].items() if name != "plan"}
    yield Grid(
        ("setting", "value"),
        tuple((name, _value(value)) for name, value in settings.items()),
        numbers=2,
    )
    asked = found.about.get("asked", {}).get("settings", {})
    if asked:
        yield Paragraph(f"Asked for by name: {', '.join(asked)}. The rest was chosen.")
    if found.about.get("reasons"):
        yield Bullets(tuple(found.about["reasons"]))
    if found.epochs:
        last = found.epochs[-1]
        best = [epoch["number"] for epoch in found.epochs if epoch.get("best")]
        yield Paragraph(
            f"Epochs trained: {last['number']}; the model is that of epoch "
            f"{best[-1] if best else last['number']}."
        )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _diagnosis(found: Facts) -> Iterator[Block]:
    said = [f"{one['says']} {one['next_step']}" for one in found.about.get("diagnosis", [])]
    if said:
        yield Bullets(tuple(said))
    elif "diagnosis" in found.about:
        yield Paragraph("Nothing was found wrong with this training.")
    else:
        yield Paragraph("Heads of rounds are not diagnosed. `labelloop train` diagnoses a model.")
