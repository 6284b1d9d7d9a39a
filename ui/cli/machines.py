"""Commands about labels that machines give: by words, by a model, by rules."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption, WorkspaceOption

AboveOption = Annotated[float, typer.Option(help="The least probability that is accepted.")]
AuditOption = Annotated[
    int, typer.Option(help="So many of the accepted images go to people, at random and blind.")
]
RiskOption = Annotated[
    float | None,
    typer.Option(help="Share of wrong labels that is tolerated, as in 0.05; the audit tells."),
]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Rules, in TOML.")]


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("zero-shot")(zero_shot)
    app.command("accept")(accept)
    app.command("accepted")(accepted)
    nouns = typer.Typer(
        no_args_is_help=True, help="Rules that label images, and how good they are."
    )
    nouns.command("check")(check)
    nouns.command("apply")(apply)
    nouns.command("show")(show)
    nouns.command("clear")(clear)
    app.add_typer(nouns, name="rules")


def zero_shot(
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='TOML: class = ["a photo of a ...", "..."].'),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS=TEXT", help="One text of a class; can be repeated."),
    ] = None,
    above: AboveOption = 0.9,
    give: Annotated[
        bool, typer.Option("--accept", help="Give the labels; otherwise only say what they are.")
    ] = False,
    audit: AuditOption = 50,
    risk: RiskOption = None,
    model: Annotated[str, typer.Option(help="Architecture, as open_clip names it.")] = "",
    weights: Annotated[
        str, typer.Option(help="A tag of open_clip, or a local .safetensors file.")
    ] = "",
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Label images by describing the classes in words, with a CLIP model (the extra clip).

    Several texts of a class are averaged; the default is "a photo of a CLASS". Without --accept
    nothing is labeled. `labelloop restore` takes an acceptance back.

    Example: labelloop zero-shot --prompt "shirt=a shirt on a hanger" --above 0.9 --accept
    """
    from ui import machines

    project = session.project(workspace)
    with session.progress() as report:
        result = machines.zero_shot(
            project,
            prompts=machines.prompts_of(prompts, prompt or []),
            above=above,
            accept=give,
            audit=audit,
            risk=risk,
            model=model,
            weights=weights,
            report=report,
        )
    lines = [result["warning"]] if result["warning"] else []
    calibration = result["calibration"]
    if calibration["n"]:
        lines.append(
            f"On people's answers in the reserve's calibration half (n = {calibration['n']:,}): of "
            f"what would be accepted {session.percent(calibration['accuracy'])} is right."
        )
    lines += _labels(result, given=give)
    session.show(result, as_json=as_json, lines=lines)


def accept(
    source: Annotated[
        str, typer.Option("--from", help="predictions (of the newest model) or rules.")
    ] = "predictions",
    above: AboveOption = 0.9,
    audit: AuditOption = 50,
    risk: RiskOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make labels of what the newest model, or the rules in force, are sure of.

    Only unlabeled images outside the reserve are labeled. A random sample goes to people with the
    next round, and `labelloop accepted` says how often they disagree.

    Example: labelloop accept --from predictions --above 0.98 --audit 100 --risk 0.02
    """
    from ui import machines

    result = machines.accept(
        session.project(workspace), source, above=above, audit=audit, risk=risk, dry_run=dry_run
    )
    session.show(result, as_json=as_json, lines=_labels(result, given=not dry_run))


def _labels(result: dict[str, Any], *, given: bool) -> list[str]:
    """What was, or would be, accepted."""
    n, above = result["would_accept"], result["above"]
    verb = "Labeled" if given else "Would label"
    lines = [f"{verb} {n:,} images that are sure to {above:g} or more:"]
    lines += [
        f"  {name}: {one['count']:,}"
        + (f", least sure: {', '.join(one['least_sure'][:3])}" if one["count"] else "")
        for name, one in result["classes"].items()
    ]
    lines += [f"{k:,} left alone: {reason}." for reason, k in result["passed_over"].items()]
    if result["act"] is not None:
        lines.append(
            f"{result['audit']:,} of them go to people with the next `labelloop round`; "
            "`labelloop accepted` says how often they disagree."
        )
        lines.append(f"Undo: labelloop restore --act {result['act']}")
    return lines


def accepted(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Say what machines labeled in bulk, and how often people disagree, by the audit samples.

    Example: labelloop accepted
    """
    from ui import machines

    result = machines.audits(session.project(workspace))
    lines = []
    for one in result["acceptances"]:
        lines.append(
            f"Act {one['act']}: {one['accepted']:,} labels by {one['source']} (at least "
            f"{one['above']:g} sure), {one['standing']:,} stand; {one['answered']:,} of "
            f"{one['sampled']:,} audited"
        )
        lines.append(f"  {one['says']}")
        if one["wrong"]:
            lines.append(f"  wrong: {', '.join(one['wrong'][:5])}")
    session.show(result, as_json=as_json, lines=lines or ["No machine's label was accepted yet."])


def check(
    file: FileArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Say what rules cover, where they contradict each other, and how often they are right.

    Accuracy is measured on what people labeled, outside the reserve's holdout half. See
    docs/how-to/machine-labels.md for how to write rules.

    Example: labelloop rules check rules.toml
    """
    from ui import machines

    project = session.project(workspace)
    with session.progress() as report:
        result = machines.check_rules(project, file, report=report)
    session.show(result, as_json=as_json, lines=_rules(result))


def apply(
    file: FileArgument,
    weight: Annotated[
        float | None,
        typer.Option(
            help="How much one image of rules counts beside one of a person; measured if left out."
        ),
    ] = None,
    in_rounds: Annotated[
        bool, typer.Option("--in-rounds", help="Rounds learn from them as well.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put rules in force: they make probable labels, which `labelloop train --rules` learns from.

    Images stay unlabeled and people's answers win. Applied again, they take the place of the rules
    before, also for images and labels that came since.

    Example: labelloop rules apply rules.toml --in-rounds
    """
    from ui import machines

    project = session.project(workspace)
    with session.progress() as report:
        result = machines.apply_rules(
            project, file, weight=weight, in_rounds=in_rounds, report=report
        )
    use = "Rounds and `labelloop train --rules`" if in_rounds else "`labelloop train --rules`"
    lines = [*_rules(result), f"{use} learn from {result['labeled']:,} images of the pool."]
    session.show(result, as_json=as_json, lines=lines)


def _rules(result: dict[str, Any]) -> list[str]:
    images = result["images"]
    lines = [
        f"{result['covered']:,} of {images:,} images have a vote, {result['conflicting']:,} have "
        "votes that disagree"
    ]
    for one in result["rules"]:
        figure = one["accuracy"]
        right = f"right {session.percent(figure)}" if figure["n"] else "not judged"
        lines.append(
            f"  {one['rule']}: votes on {one['fired']:,} ({100 * one['coverage']:.1f} %), {right}, "
            f"shared {100 * one['overlaps']:.0f} %, contradicted {100 * one['conflicts']:.0f} %"
        )
        if one["says"]:
            lines.append(f"    {one['says']}")
    lines += [
        f"  {one['rules'][0]} and {one['rules'][1]} contradict each other on {one['images']:,} of "
        f"{one['of']:,} images that both vote on."
        for one in result["contradictions"]
    ]
    if result["accuracy"]["n"]:
        lines.append(
            f"Together they are right {session.percent(result['accuracy'])} where people answered "
            "in the reserve's calibration half."
        )
    return lines


def show(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Its name, as imported.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which rules voted for an image, and how likely they make each class together.

    Example: labelloop rules show photos/0001.jpg
    """
    from ui import machines

    result = machines.show_rules(session.project(workspace), image)
    lines = [f"{one['rule']}: {one['class']}" for one in result["votes"]]
    likely = sorted(result["probabilities"].items(), key=lambda pair: -pair[1])[:5]
    lines += [f"  {name} {100 * p:.1f} %" for name, p in likely]
    session.show(result, as_json=as_json, lines=lines or ["No rule votes on it."])


def clear(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Take the rules out of force; nothing is learned from them any more.

    Example: labelloop rules clear
    """
    from ui import machines

    result = machines.clear_rules(session.project(workspace))
    lines = ["The rules are out of force." if result["cleared"] else "No rules were in force."]
    session.show(result, as_json=as_json, lines=lines)
