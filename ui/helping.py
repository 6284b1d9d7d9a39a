"""What pre-labels do for people, and to them.

Functions return what the command line prints with `--json`, as those of `ui/wiring.py` do.
"""

from typing import Any

import numpy as np

from curation.catalog import plans
from curation.catalog import prelabels as rows
from curation.catalog import rounds as round_rows
from curation.errors import InputError
from curation.workspace import Project

NOTHING = (
    "Nothing to compare yet. A round holds the pre-labels of some images back (--unaided-share), "
    "and people have to answer images of both kinds first."
)


def measure(project: Project) -> dict[str, Any]:
    """What pre-labels save, how often they are accepted, and how far they sway people.

    See `labelloop label prelabels`.
    """
    from labeling import prelabels

    seed = project.record.seed
    with project.catalog.read() as connection:
        every = round_rows.every(connection, project.id)
        together, by_round = prelabels.compare(seed, every, rows.judged(connection, project.id))
    rng = np.random.default_rng([seed, *b"prelabels"])
    found = together.as_json(rng)
    return {
        **found,
        "rounds": [
            {
                "round": one.number,
                "share_held_back": prelabels.share_of(one),
                **by_round[one.number].as_json(rng),
            }
            for one in every
            if prelabels.share_of(one)
        ],
        "says": _says(found),
    }


def _says(found: dict[str, Any]) -> str:
    """The figures as a sentence or two."""
    both = found["images"]
    if not both["shown"] or not both["held_back"]:
        return NOTHING
    parts = []
    saved = found["seconds"]["saved"]
    if saved["value"] is not None:
        verb = "save" if saved["value"] >= 0 else "cost"
        sign = 1 if saved["value"] >= 0 else -1
        ends = sorted(sign * end for end in saved["ci"] if end is not None)
        between = f"{ends[0]:.1f} to {ends[1]:.1f}, " if ends else ""
        parts.append(
            f"pre-labels {verb} {abs(saved['value']):.1f} s an image ({between}n = {saved['n']:,})"
        )
    more = found["says_what_the_model_says"]["more"]
    low, high = (100 * end for end in more["ci"])
    points = 100 * more["value"]
    parts.append(
        f"people say what the model says {abs(points):.0f} points "
        f"{'more' if points >= 0 else 'less'} often when they see it "
        f"({low:.0f} to {high:.0f}, n = {more['n']:,})"
    )
    line = "; ".join(parts)
    return f"{line[0].upper()}{line[1:]}."


def show_live(project: Project) -> dict[str, Any]:
    """Whether tasks are pre-labeled when they are opened; see `labelloop label live`."""
    from ui import jobs
    from ui.jobs import live

    wish = live.wish(project)
    runs = jobs.worker_runs(project.workspace)
    says = (
        "Live pre-labels are off."
        if wish is None
        else "Live pre-labels are on"
        + ("; trainings asked for in Label Studio start a round" if wish.rounds else "")
        + ("." if runs else ", once `labelloop up` runs.")
    )
    return {
        "live": wish is not None,
        "rounds": wish is not None and wish.rounds,
        "worker": runs,
        "says": says,
    }


def set_live(project: Project, state: str, *, rounds: bool = False) -> dict[str, Any]:
    """Turns live pre-labels on or off; a running worker follows within seconds.

    Raises:
        InputError: it is neither, or the project holds boxes.
    """
    from ui import wiring
    from ui.jobs import live

    wanted = wiring.choice(state, ("on", "off"), "label live")
    if wanted == "on" and project.record.task == "boxes":
        raise InputError(
            f"{project.record.name!r} holds boxes, and models are of whole images: there is "
            "nothing to pre-label with."
        )
    with project.catalog.write() as writing:
        plans.clear(writing, project.id, live.PLAN)
        if wanted == "on":
            plans.put(writing, project.id, live.PLAN, {"rounds": rounds})
    return show_live(project)
