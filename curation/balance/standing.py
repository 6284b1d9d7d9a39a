"""Plans are put in force and taken back; the audit log tells of both."""

from dataclasses import replace

from curation.balance.plan import Plan
from curation.catalog import audit, plans
from curation.errors import InputError
from curation.workspace import Project


def apply(project: Project, plan: Plan, *, actor: str = "") -> Plan:
    """Puts a plan in force, in place of the one of its kind, and says so in the audit log."""
    with project.catalog.write() as connection:
        plan_id = plans.put(connection, project.id, plan.kind, plan.settings)
        subject = {"plan": plan_id, "kind": plan.kind, "remedy": plan.settings["remedy"]}
        audit.append(connection, project.id, act="apply-plan", subject=subject, actor=actor)
    return replace(plan, id=plan_id)


def clear(project: Project, *, kind: str = "", actor: str = "") -> list[str]:
    """Takes plans back: that of a kind, or all; returns the kinds.

    Raises:
        InputError: none is in force.
    """
    with project.catalog.write() as connection:
        found = plans.in_force(connection, project.id)
        kinds = [name for name in found if kind in ("", name)]
        if not kinds:
            of_kind = f" of kind {kind!r}" if kind else ""
            raise InputError(f"No plan{of_kind} is in force, so there is nothing to clear.")
        for name in kinds:
            plans.clear(connection, project.id, name)
            subject = {"plan": found[name]["id"], "kind": name}
            audit.append(connection, project.id, act="clear-plan", subject=subject, actor=actor)
    return kinds
