"""Searches on the sample data, embedded once a session."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from optuna.trial import TrialState

from curation import workspace as workspaces
from curation.errors import Cancelled, InputError, NotFound, TrainingError
from curation.workspace import Project
from tests.ui import commands
from training.settings import KINDS
from training.tuning import search_space, studies
from training.tuning.search import Budget, search
from training.tuning.studies import Asked
from training.tuning.study import Study


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    base = tmp_path_factory.getbasetemp()
    shop = commands.shop(base, tmp_path_factory.mktemp("tuning") / "shop")
    return workspaces.project(workspaces.open(shop))


Begin = Callable[..., Study]


@pytest.fixture
def begun(project: Project) -> Iterator[Begin]:
    """Begins studies, and closes them at the end."""
    with ExitStack() as stack:

        def begin(name: str, *, kind: str = "head", sampler: str = "tpe") -> Study:
            asked = Asked(kind=kind, sampler=sampler, study=name, seed=3)
            return stack.enter_context(closing(studies.begin(project, asked)))

        yield begin


def drawn(study: Study, kind: str = "head") -> list[dict[str, object]]:
    return [trial.params for trial in study.trials(kind).get_trials()]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_search__in_parts_draws_what_it_draws_in_one_go(
    project: Project, begun: Begin, sampler: str
) -> None:
    whole, parts = (begun(f"{sampler}-{n}", sampler=sampler) for n in ("whole", "parts"))
    search(project, whole, Budget(trials=7))
    for trials in (2, 5):
        search(project, parts, Budget(trials=trials))
    assert drawn(whole) == drawn(parts) and len(drawn(whole)) == 7
    assert len({str(params) for params in drawn(whole)}) == 7


def test_search__the_whole_grid_and_no_point_twice(project: Project, begun: Begin) -> None:
    study = begun("grid", sampler="grid")
    assert search(project, study, Budget(trials=5)) == []
    (note,) = search(project, study, Budget(trials=100))
    assert "grid of head has been tried as a whole" in note
    points = search_space.grid(study.space("head"), seed=3)
    assert sorted(map(str, drawn(study))) == sorted(map(str, points))
    search(project, study, Budget(trials=100))
    assert len(drawn(study)) == len(points)


def test_search__trials_that_did_not_end_fail_and_are_repeated(
    project: Project, begun: Begin
) -> None:
    study = begun("stopped", kind="mlp")
    # What a kill leaves: a trial that nobody works on.
    killed = study.trials("mlp").ask()
    search_space.suggest(killed, "mlp", study.space("mlp"), study.facts["base"]["mlp"])
    (note,) = search(project, study, Budget(trials=1))
    assert "killed" in note

    def stop(done: int, total: int, says: str) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        search(project, study, Budget(trials=3), report=stop)
    search(project, study, Budget(trials=1))
    dead, again, stopped, once_more = study.trials("mlp").get_trials()
    assert [one.state for one in (dead, stopped)] == [TrialState.FAIL] * 2
    assert stopped.user_attrs["says"] == "stopped"
    for failed, repeated in ((dead, again), (stopped, once_more)):
        assert repeated.user_attrs["repeats"] == failed.number
        assert failed.params.items() <= repeated.params.items()


def test_search__hopeless_trials_are_pruned(project: Project, begun: Begin) -> None:
    study = begun("pruned", kind="mlp")
    of_kind = study.trials("mlp")
    sound = {"hidden": 128, "dropout": 0.2, "weight-decay": 0.01, "batch-size": 64}
    for rate in (1e-3, 1.5e-3, 2e-3, 2.5e-3, 3e-3, 1e-4):
        of_kind.enqueue_trial({**sound, "label-smoothing": 0.0, "learning-rate": rate})
    # So many units left out, and such small steps, that it lags behind all others.
    of_kind.enqueue_trial(
        {**sound, "batch-size": 512, "label-smoothing": 0.1, "learning-rate": 1e-4}
    )
    search(project, study, Budget(trials=7))
    states = [trial.state for trial in study.trials("mlp").get_trials()]
    assert states[:5] == [TrialState.COMPLETE] * 5 and states[-1] == TrialState.PRUNED
    assert len(study.trials("mlp").get_trials()[-1].intermediate_values) < 30


def test_search__the_best_model_is_that_of_the_best_trial(project: Project, begun: Begin) -> None:
    from training.tuning import results

    study = begun("best", kind="mlp", sampler="random")
    search(project, study, Budget(trials=3))
    best = study.best()
    assert best is not None
    figure = results.judge(study)["balanced_accuracy"]
    assert figure["value"] == pytest.approx(best[1].value)


def test_search__time_is_over(project: Project, begun: Begin) -> None:
    study = begun("late", kind="mlp")
    search(project, study, Budget(minutes=1e-6))
    assert study.best() is None
    search(project, study, Budget(trials=50, minutes=0.05))
    assert 0 < len(drawn(study, "mlp")) < 50


@pytest.mark.slow
def test_search__in_two_processes(project: Project, begun: Begin) -> None:
    study = begun("together")
    search(project, study, Budget(trials=5, workers=2))
    found = study.trials("head").get_trials()
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 5
    assert len({str(trial.params) for trial in found}) == 5


def test_search__another_process_is_at_it(project: Project, begun: Begin) -> None:
    study = begun("taken")
    with study.alone(), pytest.raises(TrainingError, match="Another process works on"):
        search(project, study, Budget(trials=1))


def test_begin__what_cannot_be_searched(project: Project, begun: Begin) -> None:
    with pytest.raises(InputError, match=r"--sampler 'magic'.*tpe, random, grid"):
        studies.begin(project, Asked(sampler="magic"))
    with pytest.raises(InputError, match="letters, digits"):
        studies.begin(project, Asked(study="../up"))
    begun("once")
    with pytest.raises(InputError, match="begun with --metric 'balanced-accuracy'"):
        studies.begin(project, Asked(study="once", metric="log-loss"))
    with pytest.raises(NotFound, match=r"There are: .*once"):
        studies.find(project, "nowhere")
    for budget, says in (
        (Budget(trials=-1), "--trials is -1"),
        (Budget(minutes=0.0), "--minutes is 0"),
        (Budget(workers=0), "--workers is 0"),
    ):
        with pytest.raises(InputError, match=says):
            budget.check()


@pytest.mark.parametrize("kind", sorted(search_space.SPACES))
def test_spaces__hold_settings_of_their_kind_and_their_grid(kind: str) -> None:
    base = KINDS[kind]().as_json()
    for name, dimension in search_space.SPACES[kind].items():
        for value in (*dimension.grid, *dimension.values):
            KINDS[kind].from_json({**base, name: value})
        if dimension.high:
            assert all(dimension.low <= float(value) <= dimension.high for value in dimension.grid)
        elif dimension.values:
            assert set(dimension.grid) <= set(dimension.values)


@pytest.mark.slow
def test_search__fine_tuning(project: Project, begun: Begin) -> None:
    study = begun("fine", kind="fine-tune")
    study.facts["base"]["fine-tune"] |= {"epochs": 2, "input-size": 64}
    search(project, study, Budget(trials=2))
    assert study.best() is not None
    assert (study.home / "fine-tune.safetensors").stat().st_size > 10_000_000
    assert not list((study.home / "trials").iterdir())
