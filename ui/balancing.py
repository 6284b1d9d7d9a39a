"""What curators ask about balance: a report, remedies, and plans in force.

Functions return what the command line prints with `--json`.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from curation import balance
from curation.balance import Options, Plan
from curation.errors import InputError
from curation.progress import Report, silent
from curation.workspace import Project


def describe(project: Project, *, by: str = "") -> dict[str, Any]:
    """Counts, imbalance, what is missing, and what labeling the pool would change."""
    return balance.describe(project, by=by)


def plan_remedy(
    project: Project,
    remedy: str,
    options: Options | None = None,
    *,
    apply: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Works a remedy out, and puts it in force if asked to."""
    plan = balance.propose(project, remedy, options, report=report)
    if apply:
        plan = balance.apply(project, plan)
    return _as_json(plan)


def options(given: Mapping[str, Any]) -> Options:
    """Options of a remedy by name.

    Raises:
        InputError: there is none of a name.
    """
    known = [field.name for field in fields(Options)]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InputError(f"No option {', '.join(unknown)}. Choose from: {', '.join(known)}.")
    return Options(**given)


def _as_json(plan: Plan) -> dict[str, Any]:
    return {
        "remedy": plan.settings["remedy"],
        "kind": plan.kind,
        "applied": plan.id is not None,
        "plan": plan.id,
        "before": plan.before,
        "after": plan.after,
        "settings": plan.settings,
        "says": " ".join(plan.says),
    }


def clear(project: Project, *, kind: str = "") -> dict[str, Any]:
    """Takes back the plan of a kind, or all that are in force."""
    return {"cleared": balance.clear(project, kind=kind)}
