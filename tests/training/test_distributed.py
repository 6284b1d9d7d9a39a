import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

from curation import backbones
from curation import workspace as workspaces
from curation.errors import Cancelled, TrainingError
from curation.workspace import Project
from tests.training import together
from tests.ui import commands
from training import begun, experiments, runs
from training.asked import Asked
from training.finetuning import distributed


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes that met through gloo have written."""
    folder = tmp_path_factory.mktemp("pair")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *command, "-m", "tests.training.together", str(folder)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_two_processes__give_the_model_of_one(pair: Path) -> None:
    found = load_file(pair / "0-of-2.safetensors")
    alone = together.train()
    for name, tensor in alone.state_dict().items():
        assert torch.allclose(found[name], tensor, rtol=1e-9, atol=1e-12), name
    assert np.allclose(found["scores"].numpy(), together.scores(alone), rtol=1e-9)


def test_two_processes__stay_alike_to_the_last_bit(pair: Path) -> None:
    first, second = (load_file(pair / f"{rank}-of-2.safetensors") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["sum"].tolist() == [2.0, 1.0]


def test_functions__alone() -> None:
    rows = np.arange(3)
    assert (distributed.rank(), distributed.world()) == (0, 1)
    assert np.array_equal(distributed.share(rows), rows)
    assert np.array_equal(distributed.portion(3), rows)
    assert distributed.total([2.0, 3.0]).tolist() == [2.0, 3.0]
    with distributed.group():
        distributed.barrier()
        assert distributed.world() == 1


@pytest.mark.parametrize("count", [8, 9, 11, 17, 64])
@pytest.mark.parametrize("processes", [2, 3, 4])
def test_share__mirrors_stay_together(
    count: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).permutation(1_000)[:count]
    monkeypatch.setattr(distributed, "world", lambda: processes)
    parts = []
    for rank in range(processes):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        parts.append(distributed.share(rows))
    assert sorted(np.concatenate(parts)) == sorted(rows)
    assert max(map(len, parts)) - min(map(len, parts)) <= 2
    partner = dict(zip(rows.tolist(), rows[::-1].tolist(), strict=True))
    for part in parts:
        assert [partner[row] for row in part.tolist()] == part[::-1].tolist()


def test_share__too_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world", lambda: 4)
    with pytest.raises(TrainingError, match="7 images cannot be shared by 4 processes"):
        distributed.share(np.arange(7))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    base = tmp_path_factory.getbasetemp()
    folder = commands.shop(base, tmp_path_factory.mktemp("together") / "shop")
    return workspaces.project(workspaces.open(folder))


def asked(processes: int) -> Asked:
    # Batch normalisation stays frozen: trained, at so few pixels, it makes so much of rounding that
    # even another layout in memory gives another model. `together` has it, in float64.
    settings = {"input-size": 32, "epochs": 2, "batch-size": 48, "batch-norm": "frozen"}
    mixed = {"mixup": 0.4, "head-warmup": "none", "augmentation": "light", "accumulate": 2}
    return Asked("fine-tune", settings=settings | mixed, seed=3, processes=processes)


@pytest.mark.slow
def test_launch__two_processes_train_the_model_of_one(shop: Project) -> None:
    told: list[tuple[int, int, str]] = []

    def model_of(processes: int) -> dict[str, torch.Tensor]:
        words = asked(processes)
        run_id = experiments.train(shop, words, report=lambda *line: told.append(line))
        with shop.catalog.write() as connection:
            begun.answered(connection, run_id)  # or the next one gets this run too
        return load_file(runs.folder(shop, run_id) / runs.MODEL)

    pair, alone = model_of(2), model_of(1)
    start = backbones.load_model().state_dict()
    moved = sum(float((alone[name] - start[name]).square().sum()) for name in start)
    apart = sum(float((alone[name] - pair[name]).square().sum()) for name in start)
    # AdamW makes whole steps of gradients that are but rounding, so that a few weights differ.
    assert 0 < apart < 1e-3 * moved
    assert any(line[2].startswith("train: epoch 2 of 2") for line in told)


@pytest.mark.slow
def test_launch__raises_what_a_process_says(shop: Project) -> None:
    folder = runs.folder(shop, "broken")
    folder.mkdir()
    with pytest.raises(TrainingError, match=r"settings\.json cannot be read"):
        distributed.launch(shop, "broken", processes=2)


@pytest.mark.slow
def test_launch__stops_with_the_one_who_asked(shop: Project) -> None:
    def stop(done: int, total: int, says: str) -> None:
        if "epoch 1 of 2" in says:
            raise Cancelled("asked to stop")

    with pytest.raises(Cancelled):
        experiments.train(shop, replace(asked(2), seed=4), report=stop)
    here = str(shop.workspace.path)
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if "training.worker" in line and here in line]


def test_launch__no_process(shop: Project) -> None:
    with pytest.raises(TrainingError, match="Asked for 0 processes; give 1"):
        distributed.launch(shop, "any", processes=0)
