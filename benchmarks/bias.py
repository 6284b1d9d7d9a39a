"""Bias on the sample data: is the audit right, and does any remedy help?

Three tables, on the photos of the sample's catalogue (copies and bad photos are left out of the
remedies, since nobody would train on them):

1. The audit. False alarms: how many of so many copies, in which `studio` is shuffled over the
   images, give any finding at all. Power: how often studio c's quality is found from so many labels
   drawn at random, by the probability of the label (what the audit tests) and by right or wrong.
2. The interval of a gap: how often it covers, on simulated slices of three sizes.
3. The remedies. The true labels are cut in two halves by photo; 300 labels drawn at random from
   one half train the default head, the other half scores, and the other way round. Weights
   are given to the head as they are, its own class weights off, as a round does under a plan;
   reweighing, which leaves the classes' totals as they are, also with the class weights on.
   The quota adds 100 labels to 200, as an audit of the 200 divides them, drawn at random within a
   studio; the same number is added at random. All differences are paired by seed.

Nothing was chosen on these figures but the score of the test (see docs/explanation/bias.md).

    python -m benchmarks.bias --seeds 20 --shuffles 100 --cache DIR
"""

import argparse
import csv
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation import features, ingest, scan, sources, workspace
from curation.bias import audit, gaps, power, remedies, shuffles, slices
from curation.bias.evidence import Evidence, answers, gather, with_model
from curation.bias.slices import Slices
from curation.catalog import images as image_rows
from curation.embeddings import EmbeddingStore
from curation.intervals import wilson
from curation.workspace import Project
from training.heads import out_of_fold
from training.heads.head import fit_head
from training.rounds.curves import mean_of_seeds
from training.settings import HeadSettings

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
STUDIO_B, STUDIO_C = 1, 2
COMMON = ("sneaker", "t-shirt")
"""The classes that studio b mostly photographs."""

LABELS, START, MORE = 300, 200, 100
PLAIN = HeadSettings(class_weight="none")

Labels = NDArray[np.int64]
Measures = dict[str, float]


@dataclass(frozen=True, eq=False)
class Data:
    """The sample's usable images.

    Attributes:
        evidence: with the 300 labels of the shop.
        studio: slices of all images.
        X: (N, d) embeddings.
        y: (N,) true classes.
        plain: (N,) whether nothing is wrong with the photo itself.
        properties: by name (N,).
    """

    evidence: Evidence
    studio: Slices
    X: NDArray[np.float32]
    y: Labels
    plain: NDArray[np.bool_]
    properties: dict[str, NDArray[np.float64]]


def load(folder: Path) -> Data:
    """The sample as a project in this folder, made if there is none."""
    with (SAMPLE / "truth.csv").open(encoding="utf-8", newline="") as file:
        truth = {row["filename"]: row for row in csv.DictReader(file)}
    project = _project(folder, sorted({row["label"] for row in truth.values()}))
    evidence = gather(project, out_of_fold=out_of_fold.probabilities)
    (studio,) = slices.read(project, evidence.ids, ["studio"])
    prepared = features.prepare(project)
    store = EmbeddingStore(prepared.folder, prepared.fingerprint)
    scans, _ = scan.prepare(project)
    rows = scans.read(evidence.ids)
    with project.catalog.read() as connection:
        names = image_rows.names_by_id(connection, evidence.ids.tolist())
    known = [truth[names[key]] for key in evidence.ids.tolist()]
    return Data(
        evidence,
        studio,
        store.read(evidence.ids),
        np.array([evidence.classes.index(row["label"]) for row in known]),
        np.array([not row["defect"] or row["defect"].startswith("wrong") for row in known]),
        {
            "brightness": rows["mean"].astype(np.float64),
            "sharpness": rows["sharpness"].astype(np.float64),
        },
    )


def _project(folder: Path, classes: list[str]) -> Project:
    if (folder / "labelloop.toml").exists():
        return workspace.project(workspace.open(folder))
    project = workspace.create_project(folder, name="sample", class_names=classes, seed=1)
    plan = sources.understand(
        SAMPLE / "images",
        known_classes=project.record.classes,
        table=SAMPLE / "labels.csv",
    )
    ingest.run(project, plan)
    return project


def labeled_as(data: Data, rows: Labels) -> Evidence:
    """The evidence had these images their true label and no other one."""
    rows = np.sort(rows)
    bare = replace(
        data.evidence,
        labeled=rows,
        truth=np.eye(len(data.evidence.classes), dtype=np.int64)[data.y[rows]],
    )
    return with_model(
        bare,
        data.X[rows],
        out_of_fold=out_of_fold.probabilities,
        properties={name: values[rows] for name, values in data.properties.items()},
    )


# The audit ----------------------------------------------------------------------------------------


def count_false_alarms(data: Data, copies: int) -> int:
    """Copies with the studios shuffled in which the audit finds anything."""
    found = 0
    for seed in range(copies):
        codes = np.random.default_rng(seed).permutation(data.studio.codes)
        done = audit.examine(data.evidence, [replace(data.studio, codes=codes)], seed=0)
        found += bool(done.settled.findings)
    return found


def measure_power(data: Data, labels: int, repeats: int) -> dict[str, int]:
    """How often studio c is found worse, corrected for 17 tests, by two scores."""
    found = {"probability": 0, "right or wrong": 0}
    for seed in range(repeats):
        rng = np.random.default_rng([seed, labels])
        rows = rng.choice(np.flatnonzero(data.plain), labels, replace=False)
        evidence = labeled_as(data, rows)
        given = answers(evidence)
        if given is None:
            continue
        codes = data.studio.codes[evidence.labeled][given.rows]
        for name, score in (("probability", given.sure), ("right or wrong", given.right)):
            p = shuffles.p_lower(
                score,
                codes,
                groups=evidence.label_groups[given.rows],
                strata=evidence.strata()[given.rows],
                count=3,
                rng=rng,
            )
            found[name] += bool(p[STUDIO_C] <= 0.05 / 17)
    return found


def measure_coverage(n: int, repeats: int) -> float:
    """How often the interval covers a gap of 20 points, of a slice with about n labels of 300."""
    rng = np.random.default_rng(n)
    covered = 0
    for _ in range(repeats):
        y = rng.integers(0, 5, 300)
        inside = rng.random(300) < n / 300
        right = (rng.random(300) < np.where(inside, 0.7, 0.9) - 0.1 * y).astype(np.float64)
        gap = gaps.measure(right, inside, strata=y, groups=np.arange(300))
        covered += gap is not None and gap.ci[0] <= 0.2 <= gap.ci[1]
    return covered / repeats


# The remedies -------------------------------------------------------------------------------------


def score(
    data: Data, train: Labels, test: Labels, weights: Any, settings: HeadSettings
) -> Measures:
    """What a head trained on some labels does on other photos."""
    head = fit_head(
        data.X[train],
        data.y[train],
        classes=data.evidence.classes,
        settings=settings,
        sample_weight=weights,
    )
    right = (head.probabilities(data.X[test]).argmax(axis=1) == data.y[test]).astype(np.float64)
    y, codes = data.y[test], data.studio.codes[test]
    common = [data.evidence.classes.index(name) for name in COMMON]
    gap = gaps.measure(right, codes == STUDIO_C, strata=y, groups=np.arange(len(y)))
    assert gap is not None  # both halves hold photos of all studios
    return {
        "accuracy": float(right.mean()),
        "balanced accuracy": float(np.mean([right[y == one].mean() for one in np.unique(y)])),
        "accuracy on c": float(right[codes == STUDIO_C].mean()),
        "gap of c": gap.value,
        "b's rare classes": float(right[(codes == STUDIO_B) & ~np.isin(y, common)].mean()),
    }


def compare_weights(data: Data, pool: Labels, test: Labels, rng: Any) -> dict[str, Measures]:
    """The default head, one without any weights, and the two remedies by weights."""
    train = rng.choice(pool, LABELS, replace=False)
    codes, y = data.studio.codes[train], data.y[train]
    ways: dict[str, tuple[Any, HeadSettings]] = {
        "default head": (None, HeadSettings()),
        "no weights": (None, PLAIN),
        "reweigh": (remedies.reweigh(codes, y), PLAIN),
        "reweigh, default head": (remedies.reweigh(codes, y), HeadSettings()),
        "group-balanced": (remedies.balance_groups(codes, y), PLAIN),
    }
    return {name: score(data, train, test, *how) for name, how in ways.items()}


def compare_quota(data: Data, pool: Labels, test: Labels, rng: Any) -> dict[str, Measures]:
    """100 labels more at random, or as the quota of an audit divides them."""
    order = rng.permutation(pool)
    start, left = order[:START], order[START:]
    evidence = labeled_as(data, start)
    done = audit.examine(evidence, [data.studio], seed=0)
    failing = [
        any(
            one.tested.kind == "quality" and one.tested.slice == data.studio.named(code)
            for one in done.settled.findings
        )
        for code in range(3)
    ]
    held = np.bincount(data.studio.codes[start], minlength=3)
    given = answers(evidence)
    rate = float(given.right.mean()) if given else 0.7
    wanted = remedies.quota(
        held.tolist(),
        np.bincount(data.studio.codes[left], minlength=3).tolist(),
        [power.needed(START - int(n), rate=rate, tests=3) for n in held],
        MORE,
        failing=failing,
    )
    chosen = [left[data.studio.codes[left] == code][:n] for code, n in enumerate(wanted)]
    ways = {"100 more at random": left[:MORE], "quota": np.concatenate(chosen)}
    return {
        name: score(data, np.concatenate([start, more]), test, None, HeadSettings())
        for name, more in ways.items()
    }


def over_seeds(
    data: Data, seeds: int, compare: Callable[..., dict[str, Measures]]
) -> dict[str, dict[str, Any]]:
    """Means, and paired differences to the first way, over seeds and both directions."""
    rows: dict[str, list[Measures]] = {}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        mixed = rng.permutation(np.flatnonzero(data.plain))
        halves = mixed[::2], mixed[1::2]
        both = [compare(data, halves[at], halves[1 - at], rng) for at in (0, 1)]
        for name in both[0]:
            mean = {key: (both[0][name][key] + both[1][name][key]) / 2 for key in both[0][name]}
            rows.setdefault(name, []).append(mean)
    first = next(iter(rows))
    return {
        name: {
            key: {
                "value": _figure([one[key] for one in found]),
                "less-first": None
                if name == first
                else _figure([a[key] - b[key] for a, b in zip(found, rows[first], strict=True)]),
            }
            for key in found[0]
        }
        for name, found in rows.items()
    }


def _figure(values: list[float]) -> dict[str, Any]:
    return mean_of_seeds(np.array(values), rng=np.random.default_rng(0)).as_json()


def main() -> None:
    """Print tables, or one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--shuffles", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=40, help="draws of labels for the power")
    parser.add_argument("--cache", type=Path, help="keep the workspace here between runs")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data = load((given.cache or Path(name)) / "bias-sample")
        report: dict[str, Any] = {
            "shuffles": given.shuffles,
            "false alarms": count_false_alarms(data, given.shuffles),
            "power": {n: measure_power(data, n, given.repeats) for n in (100, 150, 200, 300)},
            "coverage": {n: measure_coverage(n, 2_000) for n in (20, 50, 100)},
            "weights": over_seeds(data, given.seeds, compare_weights),
            "quota": over_seeds(data, given.seeds, compare_quota),
        }
    if given.json:
        print(json.dumps(report))
    else:
        print("\n".join(_tables(report, given.repeats, given.seeds)))


def _tables(report: dict[str, Any], repeats: int, seeds: int) -> list[str]:
    alarms, copies = report["false alarms"], report["shuffles"]
    low, high = wilson(alarms, copies) if copies else (0.0, 1.0)
    lines = [
        f"{alarms} of {copies} copies with shuffled studios give a finding "
        f"({100 * low:.1f} to {100 * high:.1f} %)",
        "",
        f"| Labels | studio c found by probability, of {repeats} | by right or wrong |",
        "|---:|---:|---:|",
    ]
    for n, found in report["power"].items():
        lines.append(f"| {n} | {found['probability']} | {found['right or wrong']} |")
    lines += [
        "",
        "| Labels of the slice | 95 % interval of the gap covers, of 2,000 |",
        "|---:|---:|",
    ]
    lines += [f"| {n} | {100 * share:.1f} % |" for n, share in report["coverage"].items()]
    for table in ("weights", "quota"):
        found = report[table]
        names = list(next(iter(found.values())))
        lines += [
            "",
            f"| {seeds} seeds, in % | {' | '.join(names)} |",
            "|---|" + "---|" * len(names),
        ]
        for way, row in found.items():
            cells = [_cell(one) for one in row.values()]
            lines.append(f"| {way} | {' | '.join(cells)} |")
    return lines


def _cell(one: dict[str, Any]) -> str:
    value = f"{100 * one['value']['value']:.1f}"
    if one["less-first"] is None:
        low, high = one["value"]["ci"]
        return f"{value} ({100 * low:.1f} to {100 * high:.1f})"
    low, high = one["less-first"]["ci"]
    gain = one["less-first"]["value"]
    return f"{value}, {100 * gain:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


if __name__ == "__main__":
    main()
