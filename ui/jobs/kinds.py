"""What a job can be. A new kind is one function and one line in `KINDS`.

Every kind can be resumed: run again with the same arguments it goes on where it stopped, which is
why a job whose worker died is simply queued again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from curation.catalog import Connection
from curation.progress import Report
from curation.workspace import Project

Work = Callable[[Project, dict[str, Any], Report], dict[str, Any]]
Ended = Callable[[Connection, dict[str, Any]], None]


@dataclass(frozen=True)
class Kind:
    """One kind of job.

    Attributes:
        name: as the catalog and the app spell it.
        description: what it does, for people.
        function: does it; its arguments come from JSON, its result goes into JSON.
        ended: what else to write where the result is written, in one transaction with it.
    """

    name: str
    description: str
    function: Work
    ended: Ended | None = None


def _import(project: Project, arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    from ui import wiring

    return wiring.import_images_from(
        project,
        arguments["source"],
        table=arguments.get("table"),
        labels_from=arguments.get("labels_from", "auto"),
        format=arguments.get("format", "auto"),
        copy=bool(arguments.get("copy", False)),
        strict=bool(arguments.get("strict", False)),
        report=report,
    )


def _embed(project: Project, arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    from ui import wiring

    return wiring.embed(project, backbone=arguments.get("backbone", ""), report=report)


def _round(project: Project, arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    from ui import wiring

    return wiring.run_round(
        project,
        strategy=arguments.get("strategy", "auto"),
        budget=int(arguments.get("budget", 50)),
        reserve=int(arguments.get("reserve", 150)),
        unaided_share=float(arguments.get("unaided_share", 0.1)),
        answers=int(arguments.get("answers", 1)),
        report=report,
    )


def _pull(project: Project, arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    from ui import wiring

    return wiring.pull(project, report=report)


def _issues(project: Project, arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    from ui import findings

    found = findings.find_issues(project, arguments.get("kinds", ()), report=report)
    return {"images": found["images"], "counts": found["counts"]}


def _train(project: Project, arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    from ui import training

    found = training.train(
        project,
        kind=arguments.get("kind", "auto"),
        settings=arguments.get("settings"),
        minutes=arguments.get("minutes"),
        seed=arguments.get("seed"),
        processes=int(arguments.get("processes", 1)),
        # The newest run of when it was asked for: done again after a crash, the job goes on.
        fresh=arguments.get("fresh", False),
        report=report,
    )
    return {"run": found["run"], "metrics": found["metrics"]}


def _trained(connection: Connection, result: dict[str, Any]) -> None:
    from training import begun

    begun.answered(connection, result["run"])


def _calibrate_duplicates(
    project: Project, arguments: dict[str, Any], report: Report
) -> dict[str, Any]:
    from ui import findings

    return findings.calibrate_duplicates(
        project, precision=float(arguments.get("precision", 0.99)), report=report
    )


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("import", "Add images from a folder or a CSV.", _import),
        Kind("embed", "Embed the images that have no embedding yet.", _embed),
        Kind("round", "Train, evaluate, choose the next batch and send it to people.", _round),
        Kind("train", "Train a model on the labels and judge it.", _train, _trained),
        Kind("issues", "Look for copies, bad images, outliers, wrong labels and leaks.", _issues),
        Kind(
            "calibrate-duplicates",
            "Plant known copies and measure how well copies are found.",
            _calibrate_duplicates,
        ),
        Kind("pull", "Fetch the answers from Label Studio.", _pull),
    )
}
