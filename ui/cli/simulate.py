"""The command that tries strategies on images whose labels are known."""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli import session
from ui.cli.session import JsonOption

CACHE_VARIABLE = "LABELLOOP_CACHE"


def register(app: typer.Typer) -> None:
    """Adds this noun's commands."""
    app.command("simulate")(simulate)


def simulate(
    truth: Annotated[
        Path, typer.Option(metavar="CSV", help="A table with a filename and a label column.")
    ],
    test: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Photos that only score; without it a random fifth of the truth is set aside.",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Rounds; the first is the start.")] = 10,
    budget: Annotated[int, typer.Option(help="Labels a round.")] = 30,
    seeds: Annotated[int, typer.Option(help="How often, each with another start.")] = 5,
    strategies: Annotated[
        str, typer.Option(help="Names, separated by commas.")
    ] = "random,margin,max-herding",
    start: Annotated[
        str,
        typer.Option(
            help="random: all strategies start from the SAME random first batch for each seed, so "
            "that they can be compared in pairs; own: each chooses its first batch too."
        ),
    ] = "random",
    first_batch: Annotated[
        int | None, typer.Option(help="Labels of the first round; the budget if left out.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The images; else images/ beside the truth.")
    ] = None,
    test_images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The test's photos; else test/ beside its table."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where curves.json and curves.png go.")
    ] = Path("simulation"),
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            envvar=CACHE_VARIABLE,
            help="Where embeddings are kept for the next time; else the user's cache folder.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; as many as it is worth if left out.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare strategies on images whose labels are known, with no people and no Label Studio.

    Starts from no labels. Copies (rows with a defect_of) and files that cannot be read never enter
    the pool.

    Example: labelloop simulate --truth sample_data/truth.csv --test sample_data/test.csv
    --rounds 10 --budget 30 --seeds 20 --strategies random,margin,max-herding
    """
    from training.rounds import simulate as simulation
    from training.rounds.truth import load

    if workers is not None and workers < 1:
        raise typer.BadParameter(f"--workers is {workers}; give at least 1.")
    plan = simulation.Plan(
        rounds=rounds,
        budget=budget,
        seeds=seeds,
        strategies=tuple(name.strip() for name in strategies.split(",") if name.strip()),
        start=start,
        first_batch=first_batch,
    )
    _check_writable(out)
    with session.progress() as report:
        trial = load(
            truth,
            test=test,
            images_folder=images,
            test_folder=test_images,
            cache=cache or default_cache(),
            report=report,
        )
        curves = simulation.run(trial, plan, workers=workers, report=report)
    result, lines = _written(out, truth, trial, plan, curves)
    session.show(result, as_json=as_json, lines=lines)


def _written(
    out: Path, truth: Path, trial: Any, plan: Any, curves: list[Any]
) -> tuple[dict[str, Any], list[str]]:
    """Writes both files; what is printed, as JSON and as lines."""
    from curation import files
    from training.rounds import curves as learning_curves
    from training.rounds import simulate as simulation

    summary = learning_curves.summarise(curves)
    notes = simulation.notes(trial, plan, curves)
    result = {
        "curves": [asdict(curve) for curve in curves],
        "summary": summary,
        "settings": {**asdict(plan), "classes": list(trial.classes), "pool": len(trial.answers)},
        "notes": notes,
        "files": [str(out / "curves.json"), str(out / "curves.png")],
    }
    files.write_json(out / "curves.json", result)
    picture = learning_curves.draw(curves, summary, title=f"Simulation on {truth.name}")
    files.write_bytes(out / "curves.png", picture)
    lines = [
        *learning_curves.lines(curves, summary),
        "",
        *(f"- {note}" for note in notes),
        "",
        f"Wrote {out / 'curves.json'} and {out / 'curves.png'}.",
    ]
    return result, lines


def _check_writable(folder: Path) -> None:
    """Refuses before minutes of work what cannot be written after them."""
    from curation import files
    from curation.errors import InputError

    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder} is a file. Name a folder.")
    probe = folder / ".labelloop-can-write"
    files.write_bytes(probe, b"")
    probe.unlink(missing_ok=True)


def default_cache() -> Path:
    """The user's cache folder for labelloop, where the platform keeps such things."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "labelloop"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labelloop"
