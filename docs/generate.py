"""The parts of the docs that come from the code, so that they cannot drift. See `make docs`."""

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
        says, _, example = " ".join((command.help or "").split()).partition("Example: ")
        lines += [f"## `{prefix} {name}`", "", says.strip(), "", "```", example, "```", ""]
        for parameter in command.params:
            if parameter.name in ("help", "workspace", "as_json"):
                continue
            shown = " ".join(parameter.opts)
            if not shown.startswith("-"):
                shown = parameter.metavar or shown.upper()
            lines.append(f"- `{shown}`: {getattr(parameter, 'help', '')}")
        lines.append("")
    return lines


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
