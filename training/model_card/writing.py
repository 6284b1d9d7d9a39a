"""Writing a model card: Markdown for repositories, HTML for people."""

import json
from pathlib import Path
from typing import Any

from curation import files
from curation.card import blocks
from curation.errors import InputError
from curation.workspace import Project
from training.model_card import facts, sections
from training.model_card.facts import Facts

MARKDOWN, PAGE = "card.md", "card.html"

_MARK = "<!-- written by labelloop models card -->"
_PAGES = frozenset({".html", ".htm"})


def write(project: Project, run_id: str, path: Path, *, about: str = "") -> tuple[Path, ...]:
    """Writes the card of a finished run.

    Args:
        project: whose run it is.
        run_id: of the run.
        path: a `.md` or `.html` file, or a folder for both, as card.md and card.html.
        about: what the model is for, in the user's own Markdown.

    Returns:
        The files that were written.

    Raises:
        NotFound: there is no such run.
        TrainingError: it is not finished, or its files are gone.
        InputError: the file would replace one that is no model card.
    """
    suffix = path.suffix.lower()
    if suffix and suffix not in {".md", *_PAGES} and not path.is_dir():
        raise InputError(f"A card is Markdown or HTML: {path} is no .md, no .html and no folder.")
    targets = (path,) if suffix in {".md", *_PAGES} else (path / MARKDOWN, path / PAGE)
    for target in targets:
        if target.exists() and _MARK not in target.read_text(encoding="utf-8", errors="replace"):
            raise InputError(
                f"{target} was not written by labelloop and would be lost. Name another file."
            )
    found = facts.gather(project, run_id)
    told = sections.every(found, about)
    title = f"Model card: {found.run} of {project.record.name}"
    for target in targets:
        if target.suffix.lower() == ".md":
            content = f"{_front_matter(found)}\n{blocks.markdown(title, told)}\n{_MARK}\n"
        else:
            content = f"{blocks.page(title, told)}{_MARK}\n"
        files.write_bytes(target, content.encode())
    return targets


def _front_matter(found: Facts) -> str:
    """The YAML block on top of a Hugging Face model card, between its lines of dashes."""
    about: dict[str, Any] = {
        "pipeline_tag": "image-classification",
        "tags": ["labelloop", found.row["kind"], found.project.record.task],
    }
    if found.backbone:
        about["base_model"] = f"timm/{found.backbone}"
    # A JSON value is a YAML value.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in about.items()]
    return "\n".join(["---", *lines, "---", ""])
