"""Commands about people and what they answer."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli import asking, helping, session
from ui.cli.asking import NameArgument
from ui.cli.session import JsonOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    nouns = typer.Typer(no_args_is_help=True, help="Answers: pull them, see how far they are.")
    nouns.command("send")(send)
    nouns.command("pull")(pull)
    nouns.command("status")(status)
    nouns.command("agreement")(agreement)
    nouns.command("consensus")(consensus)
    nouns.command("ask-again")(asking.ask_again)
    nouns.command("settings")(asking.settings)
    nouns.command("import")(import_)
    helping.register(nouns)
    nouns.command("rebuild")(rebuild)
    nouns.command("take-over")(take_over)
    app.add_typer(nouns, name="label")
    people = typer.Typer(no_args_is_help=True, help="The people who label.")
    people.command("add")(add)
    people.command("list")(list_)
    people.command("show")(show)
    people.command("disable")(asking.disable)
    people.command("enable")(asking.enable)
    app.add_typer(people, name="annotators")
    app.command("adopt")(adopt)


def send(
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE]...", help="Names, as imported; at random if left out."),
    ] = None,
    count: Annotated[int, typer.Option(help="How many images to draw at random.")] = 50,
    answers: Annotated[int, typer.Option(help="How many people draw the boxes of each image.")] = 1,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send unlabeled images of a project of boxes to people, who draw them.

    In other projects a round chooses the images. What was interrupted goes on.

    Example: labelloop label send --count 100
    """
    from ui import wiring

    project = session.project(workspace)
    with session.progress() as report:
        result = wiring.send(project, images or [], count=count, answers=answers, report=report)
    lines = [f"{result['sent']:,} images wait for people."]
    lines += [f"{link['queue']} queue: {link['url']}" for link in wiring.queue_links(project)]
    session.show(result, as_json=as_json, lines=lines)


def pull(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Bring in what people have answered since the last time.

    Example: labelloop label pull
    """
    from ui import wiring

    project = session.project(workspace)
    with session.progress() as report:
        result = wiring.pull(project, thoroughly=True, report=report)
    lines = [
        f"{result['images']:,} images have new or changed answers; {result['annotations']:,} "
        "answers in all."
    ]
    if result.get("asked_again"):
        lines.append(f"{result['asked_again']:,} images are asked of one person more.")
    lines += [
        f"{name} answers gold questions wrongly too often and is paused; see `labelloop annotators "
        f"show {name}`."
        for name in result.get("paused", ())
    ]
    if kept := result.get("kept_after_restore"):
        lines.append(
            f"Label Studio's database was brought back from a backup. {kept:,} answers that it has "
            "lost are kept here; `labelloop label rebuild` sends again what still waits."
        )
    session.show(result, as_json=as_json, lines=lines)


def status(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Say what waits for people and what each of them has done.

    Example: labelloop label status
    """
    from ui import wiring

    result = wiring.label_status(session.project(workspace))
    lines = [f"{queue} queue: {n:,} images wait" for queue, n in result["waiting"].items()]
    if result["second_opinions"]["says"]:
        lines.append(result["second_opinions"]["says"])
    lines += [
        f"{row['name']} answers gold questions wrongly too often: {session.percent(row['gold'])}"
        for row in result["golds"]
        if row["gold_verdict"] in ("warned", "too low")
    ]
    if result["doubles"]:
        lines.append(f"{result['doubles']:,} answers more than asked for; all are kept.")
    lines += [
        f"{row['name']}: {row['answered']:,} answered, {row['skipped']:,} skipped"
        + (f", {row['median_seconds']:.1f} s each (median)" if row["median_seconds"] else "")
        for row in result["annotators"]
    ]
    session.show(result, as_json=as_json, lines=lines)


def agreement(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Say how far people agree beyond chance, in all, two by two, and class by class.

    1 is full agreement and 0 what chance gives; 0.8 is often asked for. Brackets are 95 %
    intervals. Only images that two people have answered count.

    Example: labelloop label agreement
    """
    from ui.agreement import agree

    result = agree(session.project(workspace))
    session.show(result, as_json=as_json, lines=_agreement_lines(result))


def _agreement_lines(result: dict[str, Any]) -> list[str]:
    if not result["images_with_two"]:
        return [
            "No image has answers of two people yet. Every fifth image of the reserve is asked of "
            "two; invite a second person with `labelloop annotators add NAME`."
        ]
    lines = [
        f"{result['annotators']} people, {result['images_with_two']:,} of {result['images']:,} "
        "images answered by two or more",
        f"Krippendorff's alpha: {_coefficient(result['krippendorff_alpha'])}",
    ]
    if result["fleiss_kappa"]["n"]:
        lines.append(f"Fleiss' kappa: {_coefficient(result['fleiss_kappa'])}")
    pairs = result["cohen_kappa"] or result.get("alpha_of_pairs")
    if pairs:
        name = "Cohen's kappa" if result["cohen_kappa"] else "Alpha"
        lines += ["", f"{name} of two people:"]
        lines += [f"  {who}: {_coefficient(found)}" for who, found in pairs.items()]
    lines += ["", "Alpha of each class against all others:"]
    lines += [f"  {name}: {_coefficient(found)}" for name, found in result["per_class"].items()]
    if result["disputes"]:
        lines += ["", "Confused most; write into the guidelines how to tell them apart:"]
        lines += [
            f"  {' / '.join(', '.join(said) or 'none' for said in row['answers'])}: "
            f"{row['images']:,} of {row['of']:,} shared images, such as "
            f"{', '.join(row['examples'][:3])}"
            for row in result["disputes"]
        ]
    return lines


def _coefficient(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return f"cannot be told (n = {found['n']:,})"
    low, high = found["ci"]
    return f"{found['value']:.2f} ({low:.2f} to {high:.2f}, n = {found['n']:,})"


def consensus(
    method: Annotated[
        str,
        typer.Option(
            help="majority, dawid-skene (weighs how each person errs) or crowdlab (and a model); "
            "the one in force if left out."
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many labels would change.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose how several answers become one label, and settle every image anew by it.

    Answers that come later are settled in the same way; the same command learns from them too. A
    label's confidence is how likely it is right by the method: by majority the share of answers
    that agree. What a reviewer says stands in any case.

    Example: labelloop label consensus --method dawid-skene --dry-run
    """
    from ui.agreement import choose_consensus

    project = session.project(workspace)
    with session.progress() as report:
        result = choose_consensus(project, method, dry_run=dry_run, report=report)
    session.show(result, as_json=as_json, lines=_consensus_lines(result))


def _consensus_lines(result: dict[str, Any]) -> list[str]:
    would = "would change" if result["dry_run"] else "changed"
    lines = [
        f"{result['method']}: {result['changed']:,} of {result['images']:,} labels {would}, and "
        f"{result['reweighed']:,} have another confidence; learned from {result['answers']:,} "
        "answers."
    ]
    lines += [
        f"  {row['image']}: {', '.join(row['before']) or 'none'} -> "
        f"{', '.join(row['after']) or 'none'} ({row['confidence']:.2f})"
        for row in result["examples"]
    ]
    if result["kept"]:
        lines.append(
            f"{result['kept']:,} labels that do not follow from the answers, such as those of a "
            "restored snapshot, stay."
        )
    if result["annotators"]:
        lines += ["", "Right, as far as can be told, the least first:"]
        lines += [
            f"  {row['name']}: {session.percent(row['right'])}" for row in result["annotators"]
        ]
    if not result["dry_run"] and result["before"] != result["method"]:
        lines.append(f"Undo: labelloop label consensus --method {result['before']}")
    return lines


def import_(
    table: Annotated[
        Path, typer.Argument(metavar="ANSWERS.csv", help="Columns image, worker, answer, time.")
    ],
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse the file if a row cannot be used.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring in answers that were collected elsewhere, such as on a crowd platform.

    One row per answer: image (its name as imported, or the address it came from), worker, answer
    (several classes divided by |), and perhaps the seconds it took. Usual spellings of the columns
    are understood. The same file again adds nothing; a changed answer keeps its history.

    Example: labelloop label import answers.csv
    """
    from ui.agreement import import_answers

    project = session.project(workspace)
    with session.progress() as report:
        result = import_answers(project, table, strict=strict, report=report)
    taken = ", ".join(f"{what} from {column!r}" for what, column in result["columns"].items())
    lines = [
        f"Took {taken}.",
        f"{result['annotations']:,} answers added, {result['changed']:,} changed, "
        f"{result['already']:,} there already; of {len(result['annotators']):,} people.",
    ]
    if result["superseded"]:
        lines.append(f"{result['superseded']:,} were answered anew further down in the file.")
    if result["untimed"]:
        lines.append(f"{result['untimed']:,} have a time that is no number of seconds.")
    if result["left_out"]:
        lines.append("Left out:")
        lines += [f"  {reason}: {count:,}" for reason, count in result["left_out"].items()]
        lines += [
            f"    line {row['line']}: {row['value']}: {row['reason']}" for row in result["examples"]
        ]
    session.show(result, as_json=as_json, lines=lines)


def rebuild(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Make a project that was deleted in Label Studio anew; all answers stay.

    Tasks that were deleted there are sent again where they still wait for an answer.

    Example: labelloop label rebuild
    """
    from ui import wiring

    project = session.project(workspace)
    with session.progress() as report:
        result = wiring.rebuild(project, report=report)
    lines = [
        f"Made {result['projects']} projects anew and sent {result['images']:,} images again."
        if result["projects"] or result["images"]
        else "Nothing is missing in Label Studio."
    ]
    session.show(result, as_json=as_json, lines=lines)


def take_over(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Go on with Label Studio's projects here, where another copy of this workspace kept them.

    Needed after a workspace was copied and the copy goes on in its place: two copies at once would
    send the same images twice, so only one is let in.

    Example: labelloop label take-over
    """
    from ui import wiring

    result = wiring.take_over(session.project(workspace))
    lines = [
        f"Took over {result['projects']} projects."
        if result["projects"]
        else "Nothing is kept by another copy of this workspace."
    ]
    session.show(result, as_json=as_json, lines=lines)


def add(name: NameArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Invite an annotator: prints the link with which they choose their own password.

    Example: labelloop annotators add annotator-1
    """
    from ui import wiring

    result = wiring.add_annotator(session.project(workspace), name)
    lines = [
        f"Send {name} this link; it lets them make their own log-in:",
        result["invitation"],
        f"Their answers count as {name}'s if the e-mail address they choose begins with that name "
        "(spaces and punctuation aside), and otherwise stand under the address.",
    ]
    session.show(result, as_json=as_json, lines=lines)


def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the annotators: what each did, how fast, and how often the others agree.

    Agreement is the share of images on which somebody says what most of the others say. Brackets
    are 95 % intervals.

    Example: labelloop annotators list
    """
    from ui.people import list_people

    result = list_people(session.project(workspace))
    lines = [line for row in result["annotators"] for line in _person_lines(row)]
    session.show(
        result,
        as_json=as_json,
        lines=lines or ["Nobody yet. Invite people with `labelloop annotators add NAME`."],
    )


def show(
    name: NameArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Show one annotator: the same figures, and how they find each class.

    Of each class: of the images whose label, which two people or more answered, is that class, the
    share that this person gave it, too. Their own answer has a say in the label.

    Example: labelloop annotators show annotator-1
    """
    from ui.people import show_person

    result = show_person(session.project(workspace), name)
    lines = [*_person_lines(result), "Of the labels that rest on two people, gave the same:"]
    lines += [
        f"  {class_name}: {session.percent(figure)}"
        for class_name, figure in result["per_class"].items()
    ]
    session.show(result, as_json=as_json, lines=lines)


def _person_lines(row: dict[str, Any]) -> list[str]:
    counts = [f"{row['answered']:,} answered", f"{row['skipped']:,} skipped"]
    counts += [
        f"{row[key]:,} {key.replace('_', ' ')}"
        for key in ("unsure", "reviews", "set_aside")
        if row[key]
    ]
    lines = [f"{row['name']} ({row['state']}): {', '.join(counts)}"]
    seconds = row["seconds"]
    if seconds["n"]:
        low, high = seconds["ci"]
        between = "" if low is None else f"{low:.1f} to {high:.1f}, "
        lines.append(
            f"  seconds each (median): {seconds['value']:.1f} ({between}n = {seconds['n']:,})"
        )
    for says, key in (
        ("agrees with most others", "agreement"),
        ("accepts pre-labels", "acceptance"),
        ("right in gold questions", "gold"),
    ):
        if row[key]["n"]:
            verdict = f", {row['gold_verdict']}" if key == "gold" else ""
            lines.append(f"  {says}: {session.percent(row[key])}{verdict}")
    return lines


def adopt(
    project: Annotated[int, typer.Option(help="The number of the project in Label Studio.")],
    name: Annotated[str, typer.Option(help="What the project is called here.")] = "",
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take over a project that already lives in Label Studio, with its annotations.

    Example: labelloop adopt --project 12
    """
    from ui import wiring

    with session.progress() as report:
        result = wiring.adopt(session.workspace(workspace), project, name=name, report=report)
    lines = [
        f"Took over {result['project']!r}: {result['images']:,} images, "
        f"{result['annotations']:,} answers, classes {', '.join(result['classes'])}."
    ]
    if result["quarantined"]:
        lines.append(f"Set aside {len(result['quarantined']):,}:")
        lines += [f"  {row['image']}: {row['reason']}" for row in result["quarantined"][:20]]
    session.show(result, as_json=as_json, lines=lines)
