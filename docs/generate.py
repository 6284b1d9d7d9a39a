"""The parts of the docs that come from the code, so that they cannot drift. See `make docs`."""

import json
import re
from typing import Any

from typer.main import get_command


def commands() -> str:
    """One section per command: what it does, its example and its options."""
    from ui.cli import app

    return "\n" + "\n".join(_sections("labelloop", get_command(app)))


def _sections(prefix: str, group: Any) -> list[str]:
    lines: list[str] = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            lines += _sections(f"{prefix} {name}", command)
            continue
        says, *examples = " ".join((command.help or "").split()).split("Example: ")
        shown = [example.strip() for example in examples]
        lines += [f"## `{prefix} {name}`", "", says.strip(), "", "```", *shown, "```", ""]
        for parameter in command.params:
            if parameter.name in ("help", "workspace", "as_json"):
                continue
            shown = " ".join(parameter.opts)
            if not shown.startswith("-"):
                shown = parameter.metavar or shown.upper()
            lines.append(f"- `{shown}`: {getattr(parameter, 'help', '')}")
        lines.append("")
    return lines


def settings() -> str:
    """One table for each kind of training: name, default, meaning."""
    from dataclasses import fields
    from inspect import getdoc

    from training.settings import KINDS

    lines = [""]
    for name, kind in KINDS.items():
        intro, _, attributes = (getdoc(kind) or "").partition("Attributes:")
        meanings = _meanings(attributes)
        lines += [f"## `{name}`", "", " ".join(intro.split()), ""]
        lines += ["| Setting | Default | Meaning |", "|---|---|---|"]
        for field in fields(kind):
            default = json.dumps(field.default)
            shown = field.name.replace("_", "-")
            lines.append(f"| `{shown}` | `{default}` | {meanings[field.name]} |")
        lines.append("")
    return "\n".join(lines)


def _meanings(attributes: str) -> dict[str, str]:
    """What a docstring's attributes say, by name; continued lines are indented further."""
    found: dict[str, str] = {}
    name = ""
    for line in attributes.splitlines():
        if re.match(r"    \w", line):
            name, _, says = line.strip().partition(": ")
            found[name] = says
        elif line.strip():
            found[name] += f" {line.strip()}"
    return found


def strategies() -> str:
    """One row per strategy."""
    from training.strategies import STRATEGIES

    rows = [
        f"| `{name}` | {'yes' if found.needs_model else 'no'} | {found.description} | "
        f"{found.source} |"
        for name, found in STRATEGIES.items()
    ]
    return "\n".join(
        ["", "| Name | Needs a model | Does | Source |", "|---|---|---|---|", *rows, ""]
    )
