"""Simulations: fair starts, nothing of the test in the pool, the same result however it is run."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from curation.errors import Cancelled, InputError, NeedsModel, SelectionError
from training.rounds import curves as learning_curves
from training.rounds.simulate import Curve, Plan, notes, run, set_aside
from training.rounds.truth import Trial, load
from training.strategies import STRATEGIES

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data"
PLAN = Plan(rounds=4, budget=10, seeds=3, strategies=("random", "margin", "max-herding"))


def clusters(rng: np.random.Generator, *, each: tuple[int, ...], width: int = 12) -> tuple:
    """Unit-norm points around one centre a class, and their classes."""
    centres = np.random.default_rng(99).normal(size=(len(each), width))
    answers = np.repeat(np.arange(len(each)), each)
    points = centres[answers] + rng.normal(scale=0.9, size=(len(answers), width))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points.astype(np.float32), answers.astype(np.int64)


@pytest.fixture
def trial() -> Trial:
    rng = np.random.default_rng(1)
    embeddings, answers = clusters(rng, each=(90, 40, 20, 10))
    test_embeddings, test_answers = clusters(rng, each=(50, 50, 50, 50))
    return Trial(
        classes=("a", "b", "c", "d"),
        embeddings=embeddings,
        answers=answers,
        groups=np.arange(len(answers)),
        test_embeddings=test_embeddings,
        test_answers=test_answers,
    )


# Rounds -------------------------------------------------------------------------------------------


def test_run__gives_a_value_for_each_round_strategy_and_seed(trial: Trial) -> None:
    found = run(trial, PLAN, workers=1)
    assert [(c.strategy, c.seed) for c in found] == [
        (name, seed) for name in PLAN.strategies for seed in range(3)
    ]
    for curve in found:
        assert curve.labels == (10, 20, 30, 40)
        assert len(curve.accuracy) == len(curve.balanced_accuracy) == 4
        assert all(0 <= value <= 1 for value in curve.accuracy + curve.balanced_accuracy)


def test_run__learns(trial: Trial) -> None:
    for curve in run(trial, replace(PLAN, rounds=10), workers=1):
        assert curve.balanced_accuracy[-1] > 0.6 > 1 / 4


def test_run__starts_all_strategies_from_the_same_batch(trial: Trial) -> None:
    found = run(trial, PLAN, workers=1)
    for seed in range(3):
        firsts = {c.balanced_accuracy[0] for c in found if c.seed == seed}
        assert len(firsts) == 1
    assert len({c.balanced_accuracy[0] for c in found}) == 3
    assert len({c.balanced_accuracy[1:] for c in found}) == 9


def test_run__own_start_lets_a_strategy_choose_the_first_batch(trial: Trial) -> None:
    both = {"strategies": ("random", "max-herding"), "rounds": 1}
    paired = run(trial, replace(PLAN, **both), workers=1)
    own = run(trial, replace(PLAN, **both, start="own"), workers=1)
    assert paired[:3] == own[:3]
    assert paired[3:] != own[3:]
    assert len({curve.accuracy for curve in own[3:]}) == 1  # max-herding draws nothing


def test_run__is_the_same_in_processes(trial: Trial) -> None:
    assert run(trial, PLAN, workers=2) == run(trial, PLAN, workers=1)


def test_run__seed_does_not_depend_on_what_else_runs(trial: Trial) -> None:
    alone = run(trial, replace(PLAN, seeds=2, strategies=("margin",)), workers=1)
    assert alone == [c for c in run(trial, PLAN, workers=1) if c.strategy == "margin"][:2]


@pytest.mark.parametrize("name", STRATEGIES)
def test_run__works_with_every_strategy(trial: Trial, name: str) -> None:
    (curve,) = run(trial, replace(PLAN, seeds=1, strategies=(name,)), workers=1)
    assert curve.labels == (10, 20, 30, 40)


def test_run__takes_what_is_left_and_says_so(trial: Trial) -> None:
    plan = replace(PLAN, budget=50, rounds=6, strategies=("margin",))
    found = run(trial, plan, workers=1)
    assert {curve.labels for curve in found} == {(50, 100, 150, 160)}
    assert any("exhausted" in note and "160" in note for note in notes(trial, plan, found))
    assert not any("exhausted" in note for note in notes(trial, PLAN, run(trial, PLAN, workers=1)))


def test_run__labels_one_of_each_group(trial: Trial) -> None:
    grouped = replace(trial, groups=trial.groups // 2)
    (curve,) = run(grouped, replace(PLAN, budget=50, seeds=1, strategies=("random",)), workers=1)
    assert curve.labels == (50, 80)


def test_run__first_batch_may_have_its_own_size(trial: Trial) -> None:
    found = run(trial, replace(PLAN, first_batch=25), workers=1)
    assert {curve.labels for curve in found} == {(25, 35, 45, 55)}


def test_run__without_a_model_yet_answers_the_only_class(trial: Trial) -> None:
    plan = Plan(rounds=3, budget=1, seeds=1, strategies=("random", "margin"))
    for curve in run(trial, plan, workers=1):
        assert curve.accuracy[0] == 0.25 == curve.balanced_accuracy[0]


def test_run__stops_when_it_is_cancelled(trial: Trial) -> None:
    def report(done: int, total: int, says: str) -> None:
        if done == 2:
            raise Cancelled("stop")

    for workers in (1, 2):
        with pytest.raises(Cancelled):
            run(trial, PLAN, workers=workers, report=report)


def test_set_aside__splits_by_group_and_by_seed(trial: Trial) -> None:
    grouped = replace(trial, groups=trial.groups // 2, test_embeddings=None, test_answers=None)
    split = set_aside(grouped, np.random.default_rng(0))
    assert split.test_embeddings is not None and split.test_answers is not None
    assert len(split.test_answers) == 32
    assert len(np.unique(split.groups)) == 64
    everything = np.concatenate([split.embeddings, split.test_embeddings])
    assert np.array_equal(np.unique(everything, axis=0), np.unique(trial.embeddings, axis=0))
    other = set_aside(grouped, np.random.default_rng(1))
    assert not np.array_equal(other.test_embeddings, split.test_embeddings)
    plan = replace(PLAN, strategies=("random", "margin"))
    found = run(grouped, plan, workers=1)
    assert any(
        "random fifth" in note and "16 of 80" in note for note in notes(grouped, plan, found)
    )


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"budget": 0}, InputError, "--budget is 0"),
        ({"rounds": 0}, InputError, "--rounds is 0"),
        ({"seeds": -1}, InputError, "--seeds is -1"),
        ({"first_batch": 0}, InputError, "--first-batch is 0"),
        ({"start": "warm"}, InputError, "random, own"),
        ({"strategies": ()}, InputError, "--strategies is empty"),
        ({"strategies": ("margin", "margin")}, InputError, "twice"),
        ({"strategies": ("random", "best")}, SelectionError, "'best'.*random, .*margin"),
        ({"start": "own"}, NeedsModel, "'margin' needs a trained model.*--start random"),
    ],
)
def test_plan__refuses(change: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        replace(PLAN, **change)


# Curves -------------------------------------------------------------------------------------------


def test_summarise__pairs_the_seeds() -> None:
    rng = np.random.default_rng(0)
    starts = rng.normal(0.5, 0.1, 20)
    curves = [
        Curve(name, seed, (10, 20), (0.5, 0.5), (start, start + gain + rng.normal(0, 0.002)))
        for name, gain in (("random", 0.1), ("margin", 0.14))
        for seed, start in enumerate(starts)
    ]
    plain, better = learning_curves.summarise(curves)
    assert plain["difference_to_random"] is None
    final = better["difference_to_random"]["final"]
    assert final["n"] == 20
    assert final["value"] == pytest.approx(0.04, abs=0.002)
    assert 0.035 < final["ci"][0] < final["value"] < final["ci"][1] < 0.045
    # Unpaired, the spread of the starts would hide the difference.
    low, high = better["final_balanced_accuracy"]["ci"]
    assert high - low > 0.05
    mean = better["mean_balanced_accuracy"]["value"]
    assert mean == pytest.approx(starts.mean() + 0.07, abs=0.002)


def test_mean_of_seeds__covers_as_often_as_it_promises() -> None:
    rng = np.random.default_rng(3)
    hits = sum(
        low <= 0.0 <= high
        for low, high in (
            learning_curves.mean_of_seeds(rng.normal(size=6), rng=rng).ci for _ in range(400)
        )
    )
    assert 0.92 < hits / 400 < 0.985


def test_summarise__says_of_one_seed_that_nothing_is_known(trial: Trial) -> None:
    found = run(trial, replace(PLAN, seeds=1), workers=1)
    summary = learning_curves.summarise(found)
    assert summary[0]["final_balanced_accuracy"]["ci"] == [None, None]
    assert "one seed" in "\n".join(learning_curves.lines(found, summary))
    assert learning_curves.draw(found, summary, title="one").startswith(b"\x89PNG")


def test_draw__is_the_same_picture_again(trial: Trial) -> None:
    found = run(trial, PLAN, workers=1)
    summary = learning_curves.summarise(found)
    first = learning_curves.draw(found, summary, title="Clusters")
    assert first == learning_curves.draw(found, summary, title="Clusters")
    assert first != learning_curves.draw(found, summary, title="Other")


# Truth --------------------------------------------------------------------------------------------


def write_table(path: Path, header: str, rows: list[tuple[str, ...]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """30 photos of the sample with their truth, and 8 of its test: a folder like the sample."""
    with (SAMPLE / "truth.csv").open(newline="", encoding="utf-8") as file:
        truth = list(csv.DictReader(file))
    clean = [row for row in truth if not row["defect"] and row["label"] in {"bag", "trouser"}][:24]
    broken = [row for row in truth if row["defect"] == "undecodable"][:2]
    copies = [row for row in truth if row["defect_of"]][:4]
    (tmp_path / "images").mkdir()
    rows = []
    for row in clean + broken + copies:
        shutil.copy(SAMPLE / "images" / row["filename"], tmp_path / "images")
        # The column of defects is made useless on purpose: only defect_of may be read.
        label = row["label"] if row in clean else "bag"
        rows.append((row["filename"], label, "dark", row["defect_of"]))
    write_table(tmp_path / "truth.csv", "filename,label,defect,defect_of", rows)
    with (SAMPLE / "test.csv").open(newline="", encoding="utf-8") as file:
        test = [row for row in csv.DictReader(file) if row["label"] in {"bag", "trouser"}][:8]
    (tmp_path / "test").mkdir()
    for row in test:
        shutil.copy(SAMPLE / "test" / row["filename"], tmp_path / "test")
    write_table(
        tmp_path / "test.csv", "filename,label", [(r["filename"], r["label"]) for r in test]
    )
    return tmp_path


def load_shop(shop: Path, cache: Path) -> Trial:
    return load(shop / "truth.csv", test=shop / "test.csv", cache=cache)


def test_load__keeps_copies_and_undecodable_files_out_of_the_pool(shop: Path, cache: Path) -> None:
    trial = load_shop(shop, cache)
    assert trial.classes == ("bag", "trouser")
    assert trial.embeddings.shape == (24, 1280)
    assert len(trial.answers) == len(np.unique(trial.groups)) == 24
    assert trial.test_embeddings is not None and len(trial.test_embeddings) == 8
    said = " ".join(trial.notes)
    assert "4 copies left out" in said
    assert "2 images that cannot be read" in said


def test_load__embeds_nothing_a_second_time(shop: Path, cache: Path) -> None:
    first = load_shop(shop, cache)
    steps: list[str] = []
    again = load(
        shop / "truth.csv",
        test=shop / "test.csv",
        cache=cache,
        report=lambda done, total, says: steps.append(says),
    )
    assert "embed" not in steps
    assert np.array_equal(first.embeddings, again.embeddings)
    assert np.array_equal(first.test_embeddings, again.test_embeddings)
    assert first.notes == again.notes


def test_load__enlarges_small_test_photos_as_the_sample_was_made(shop: Path, cache: Path) -> None:
    """The same photo, enlarged beforehand as the sample's README says, must embed alike."""
    small = load_shop(shop, cache)
    for path in (shop / "test").iterdir():
        with Image.open(path) as photo:
            assert photo.size == (28, 28)
            larger = photo.resize((112, 112), Image.Resampling.BICUBIC)
        larger.save(path)
    large = load_shop(shop, cache)
    assert small.test_embeddings is not None and large.test_embeddings is not None
    cosine = (small.test_embeddings * large.test_embeddings).sum(axis=1)
    assert cosine.min() > 0.9999


def test_load__groups_files_of_the_same_content(shop: Path, cache: Path) -> None:
    rows = (shop / "truth.csv").read_text("utf-8")
    name, label, *_ = rows.splitlines()[1].split(",")
    shutil.copy(shop / "images" / name, shop / "images" / "again.jpg")
    (shop / "truth.csv").write_text(f"{rows}again.jpg,{label},,\n", encoding="utf-8")
    trial = load_shop(shop, cache)
    assert len(trial.answers) == 25
    assert len(np.unique(trial.groups)) == 24


def test_load__does_not_choose_what_is_in_the_test(shop: Path, cache: Path) -> None:
    rows = (shop / "truth.csv").read_text("utf-8")
    name, label, *_ = rows.splitlines()[1].split(",")
    shutil.copy(shop / "images" / name, shop / "test" / "leak.jpg")
    with (shop / "test.csv").open("a", encoding="utf-8") as file:
        file.write(f"leak.jpg,{label}\n")
    trial = load_shop(shop, cache)
    assert len(trial.answers) == 23
    assert any("are in the test" in note for note in trial.notes)


def test_load__leaves_rows_without_a_label_out(shop: Path, cache: Path) -> None:
    lines = (shop / "truth.csv").read_text("utf-8").splitlines()
    name, _, *rest = lines[1].split(",")
    lines[1] = ",".join([name, "", *rest])
    (shop / "truth.csv").write_text("\n".join(lines), encoding="utf-8")
    trial = load_shop(shop, cache)
    assert len(trial.answers) == 23
    assert any("1 rows without a label" in note for note in trial.notes)


@pytest.mark.parametrize(
    ("truth", "test", "says"),
    [
        ("filename,answer\nx.jpg,bag\n", None, "no column holds labels"),
        ("filename,label\nx.jpg,bag|trouser\n", None, "line 2: 2 labels"),
        ("filename,label\nx.jpg,bag\nx.jpg,bag\n", None, "line 3: x.jpg stands in line 2"),
        ("filename,label\n../x.jpg,bag\n", None, "leads out of"),
        ("filename,label\nx.jpg,\n", None, "names no image with a label"),
        ("filename,label\nx.jpg,bag,more\n", None, "number of cells"),
        (None, "filename,label\ntest-1.png,hat\n", "'hat'. Its labels: bag, trouser"),
    ],
)
def test_load__refuses_tables(
    shop: Path, cache: Path, truth: str | None, test: str | None, says: str
) -> None:
    if truth is not None:
        (shop / "truth.csv").write_text(truth, encoding="utf-8")
    if test is not None:
        (shop / "test.csv").write_text(test, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        load_shop(shop, cache)


def test_load__refuses_a_single_class(shop: Path, cache: Path) -> None:
    text = (shop / "truth.csv").read_text("utf-8").replace("trouser", "bag")
    (shop / "truth.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"fewer than two classes \(bag\)"):
        load(shop / "truth.csv", cache=cache)


def test_load__names_the_folder_that_is_missing(shop: Path, cache: Path) -> None:
    shutil.rmtree(shop / "images")
    with pytest.raises(InputError, match="--images"):
        load_shop(shop, cache)
    with pytest.raises(InputError, match="no table"):
        load(shop / "other.csv", cache=cache)


# Command ------------------------------------------------------------------------------------------


def invoke(shop: Path, cache: Path, *more: str) -> tuple[int, str, BaseException | None]:
    import typer

    from ui.cli import simulate as command

    app = typer.Typer()
    command.register(app)
    app.callback()(lambda: None)
    arguments = ["simulate", "--truth", str(shop / "truth.csv"), "--out", str(shop / "out")]
    arguments += ["--rounds", "3", "--budget", "4", "--seeds", "2", *more]
    result = CliRunner(env={"LABELLOOP_CACHE": str(cache)}).invoke(app, arguments)
    return result.exit_code, result.stdout, result.exception


def test_command__prints_one_json_object_and_writes_it(shop: Path, cache: Path) -> None:
    code, stdout, _ = invoke(shop, cache, "--test", str(shop / "test.csv"), "--json")
    assert code == 0
    result = json.loads(stdout)
    assert len(result["curves"]) == 6
    assert set(result["curves"][0]) == {
        "strategy",
        "seed",
        "labels",
        "accuracy",
        "balanced_accuracy",
    }
    assert result["curves"][0]["labels"] == [4, 8, 12]
    assert json.loads((shop / "out" / "curves.json").read_text("utf-8")) == result
    with Image.open(shop / "out" / "curves.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 500
    assert sorted(path.name for path in (shop / "out").iterdir()) == ["curves.json", "curves.png"]


def test_command__prints_tables_and_says_what_scored(shop: Path, cache: Path) -> None:
    code, stdout, _ = invoke(shop, cache, "--strategies", "random,max-herding", "--start", "own")
    assert code == 0
    assert "max-herding" in stdout
    assert "With 95 % intervals over 2 seeds" in stdout
    assert "random fifth of the truth (5 of 24" in stdout


def test_command__refuses_a_file_as_out_before_any_work(shop: Path, tmp_path: Path) -> None:
    (shop / "out").write_text("taken", encoding="utf-8")
    cache = tmp_path / "untouched"
    _, _, error = invoke(shop, cache)
    assert isinstance(error, InputError)
    assert "--out" in str(error)
    assert not cache.exists()
