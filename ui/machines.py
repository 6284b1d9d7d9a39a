"""What machines label: by words, by rules, by a model; and what people think of it.

Functions return what the command line prints with `--json`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.errors import InputError
from curation.progress import Report, silent
from curation.workspace import Project

if TYPE_CHECKING:
    from curation.text_search import Clip
    from labeling.accepting import Accepted, Audited
    from labeling.rules.applying import Applied
    from labeling.rules.definitions import Function, Rule

SOURCES = ("predictions", "rules")


def prompts_of(file: Path | None, given: Sequence[str]) -> dict[str, list[str]]:
    """Prompts of a TOML file and of words such as `shirt=a photo of a shirt`, by class.

    Raises:
        InputError: the file cannot be read, or a word is no `CLASS=TEXT`.
    """
    from labeling import zero_shot

    found = zero_shot.read(file.expanduser()) if file else {}
    words: dict[str, list[str]] = {}
    for word in given:
        name, equals, text = word.partition("=")
        if not equals or not name.strip() or not text.strip():
            raise InputError(
                f"--prompt {word!r}: write it as CLASS=TEXT, as in --prompt 'shirt=a photo of a "
                "shirt'."
            )
        words.setdefault(name.strip(), []).append(text.strip())
    return {**found, **words}


def zero_shot(
    project: Project,
    *,
    prompts: Mapping[str, Sequence[str]] | None = None,
    above: float = 0.9,
    accept: bool = False,
    audit: int = 50,
    risk: float | None = None,
    model: str = "",
    weights: str = "",
    clip: "Clip | None" = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Says what labels words would give, and with `accept` gives them.

    Args:
        project: whose images they are.
        prompts: texts by class, kept in the project; the other classes keep theirs.
        above: the least probability that is accepted.
        accept: give the labels; else only say what would be accepted.
        audit: so many of the accepted images go to people.
        risk: share of wrong labels that is tolerated.
        model: architecture, as open_clip names it.
        weights: a tag of open_clip, or a local safetensors file.
        clip: a model that is open already, instead.
        report: told of the progress.

    Raises:
        InputError: a class, a prompt or a number cannot be used.
        BackboneError: open_clip is not installed, or the weights cannot be had.
    """
    from curation import similar, text_search
    from labeling import accepting
    from labeling import zero_shot as words
    from training.calibration import fit_temperature

    accepting.check(project, above=above, sample=audit, risk=risk)
    similar.check_not_empty(project)
    described = words.describe(project, prompts or {})
    report(0, 0, "load CLIP")
    opened = clip or text_search.open(
        model or text_search.MODEL, weights=weights or text_search.WEIGHTS
    )
    words.remember(project, prompts or {})
    scored = words.score(
        project,
        opened,
        described,
        calibrate=lambda logits, labels: fit_temperature(logits, labels).temperature,
        report=report,
    )
    rows = list(words.candidates(scored, described, above=above))
    held = words.preview(project, rows)
    done = accepting.accept(
        project,
        rows,
        source="zero-shot",
        above=above,
        sample=audit,
        risk=risk,
        facts={"model": opened.name, "temperature": round(scored.temperature, 4)},
        dry_run=not accept,
    )
    accuracy = scored.accuracy(above=above)
    return {
        "pool": len(scored.ids),
        "above": above,
        "calibrated": scored.is_calibrated,
        "temperature": scored.temperature,
        "calibration": {"n": scored.calibration, "accuracy": accuracy.as_json()},
        "warning": _warning(scored.calibration, words.FEWEST),
        "prompts": dict(
            zip(
                project.record.class_names(described.class_ids),
                map(list, described.texts),
                strict=True,
            )
        ),
        "classes": {
            name: {"count": one.count, "least_sure": list(one.least_sure)}
            for name, one in held.items()
        },
        **_accepted(project, done, is_done=accept),
    }


def _warning(n: int, fewest: int) -> str:
    if n >= fewest:
        return ""
    return (
        f"Not calibrated: people have answered {n} images of the reserve's calibration half, and "
        f"it takes {fewest}. Until then 0.9 does not mean that nine of ten are right; look at the "
        "audit sample."
    )


def _accepted(project: Project, done: "Accepted", *, is_done: bool) -> dict[str, Any]:
    return {
        "would_accept": done.count,
        "accepted": done.count if is_done else 0,
        "act": done.act,
        "audit": len(done.audited),
        "passed_over": done.passed_over,
    }


def audits(project: Project) -> dict[str, Any]:
    """Every acceptance of machines' labels, with what people say of its sample; newest first."""
    from labeling import accepting

    return {
        "acceptances": [
            {
                "act": one.act.id,
                "source": one.act.subject.get("source", ""),
                "above": one.act.subject.get("above"),
                "undone": one.act.undone,
                "accepted": one.accepted,
                "standing": one.standing,
                "sampled": one.sampled,
                "answered": one.answered,
                "skipped": one.skipped,
                "error": one.error.as_json(),
                "risk": one.act.subject.get("risk"),
                "verdict": one.verdict,
                "wrong": list(one.wrong),
                "says": _says(one),
            }
            for one in accepting.audited(project)
        ]
    }


def _says(one: "Audited") -> str:
    """An acceptance in one line, with the next step."""
    if one.act.undone:
        return "Taken back."
    if not one.error.n or one.error.value is None:
        if not one.sampled:
            return "Nobody audits it: it was accepted with --audit 0."
        return f"{one.sampled} images wait for people: the next `labelloop round` sends them."
    low, high = one.error.ci
    rate = f"{100 * one.error.value:.1f} % ({100 * low:.1f} to {100 * high:.1f}) of the labels"
    told = f"{rate} are wrong by people's word, n = {one.error.n}."
    allowed = f"{100 * (one.act.subject.get('risk') or 0):g} %"
    undo = f"`labelloop restore --act {one.act.id}` takes its labels back."
    after = {
        "exceeded": f"More than the {allowed} that were allowed: {undo}",
        "cannot tell yet": f"Whether it is more than {allowed} cannot be told yet.",
        "holds": f"No more than the {allowed} that were allowed.",
    }
    return f"{told} {after.get(one.verdict, undo)}"


def accept(
    project: Project,
    source: str,
    *,
    above: float = 0.9,
    audit: int = 50,
    risk: float | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Makes labels of what the newest model or the rules in force say of the pool.

    Args:
        project: whose images they are.
        source: of `SOURCES`.
        above: the least probability that is accepted.
        audit: so many of the accepted images go to people.
        risk: share of wrong labels that is tolerated.
        dry_run: only say what would be done.

    Raises:
        InputError: there is no such source, it has said nothing, or a number cannot be used.
    """
    from labeling import accepting
    from labeling import zero_shot as words

    if source not in SOURCES:
        raise InputError(f"--from {source!r} is none of: {', '.join(SOURCES)}.")
    accepting.check(project, above=above, sample=audit, risk=risk)
    read = {"predictions": accepting.of_predictions, "rules": accepting.of_rules}[source]
    name, rows = read(project)
    held = words.preview(project, [row for row in rows if row.confidence >= above])
    done = accepting.accept(
        project, rows, source=name, above=above, sample=audit, risk=risk, dry_run=dry_run
    )
    return {
        "source": name,
        "above": above,
        "classes": {
            name: {"count": one.count, "least_sure": list(one.least_sure)}
            for name, one in held.items()
        },
        **_accepted(project, done, is_done=not dry_run),
    }


# Rules --------------------------------------------------------------------------------------------


def _read(project: Project, file: Path | None, functions: Sequence[Any]) -> "list[Rule | Function]":
    from labeling.rules import definitions

    rules: list[Rule | Function] = []
    if file:
        rules += definitions.read(file.expanduser(), project.record)
    rules += definitions.of_functions(functions)
    if not rules:
        raise InputError("Name a file of rules, or give Python functions.")
    definitions.check_names(rules)
    return rules


def check_rules(
    project: Project,
    file: Path | None = None,
    *,
    functions: Sequence[Any] = (),
    report: Report = silent,
) -> dict[str, Any]:
    """Says how good rules are; puts nothing in force.

    Raises:
        InputError: a rule cannot be used.
    """
    from labeling.rules import applying

    rules = _read(project, file, functions)
    return _rules_json(applying.check(project, rules, progress=report))


def apply_rules(
    project: Project,
    file: Path | None = None,
    *,
    functions: Sequence[Any] = (),
    weight: float | None = None,
    in_rounds: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Puts rules in force, for `labelloop train --rules` and, if so wanted, for rounds.

    Raises:
        InputError: a rule or the weight cannot be used, or no rule votes on any image.
    """
    from labeling.rules import applying

    rules = _read(project, file, functions)
    found = applying.apply(
        project,
        rules,
        weight=weight,
        in_rounds=in_rounds,
        progress=report,
    )
    return {**_rules_json(found), "plan": found.plan, "in_rounds": in_rounds}


def _rules_json(found: "Applied") -> dict[str, Any]:
    told = found.report
    return {
        "images": told.images,
        "covered": told.covered,
        "conflicting": told.conflicting,
        "labeled": found.labeled,
        "accuracy": found.accuracy.as_json(),
        "rules": [
            {
                "rule": one.name,
                "fired": one.fired,
                "coverage": one.coverage,
                "overlaps": one.overlaps,
                "conflicts": one.conflicts,
                "accuracy": one.accuracy.as_json(),
                "classes": one.classes,
                "says": one.says,
            }
            for one in told.rules
        ],
        "contradictions": list(told.contradictions),
    }


def show_rules(project: Project, image: str) -> dict[str, Any]:
    """Which rules voted for an image, and what they make of it together."""
    from labeling.rules import applying

    return applying.show(project, image)


def clear_rules(project: Project) -> dict[str, Any]:
    """Takes the rules out of force."""
    from labeling.rules import applying

    return {"cleared": applying.clear(project)}
