"""What is learned from where a balance plan asks for more than there is."""

import numpy as np
import pytest

from curation import features
from curation import workspace as workspaces
from curation.balance.plan import MOST_COPIES
from tests.ui import commands
from training import examples, experiments, material, runs
from training.asked import Asked
from training.finetuning.objective import Objective
from training.settings import FineTuneSettings


def test_both_kinds__count_the_copies_that_the_plan_asks_for(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    base = tmp_path_factory.getbasetemp()
    shop = commands.shop(base, tmp_path_factory.mktemp("examples") / "shop")
    commands.run(shop, "balance", "--remedy", "augmentation", "--apply")
    project = workspaces.project(workspaces.open(shop))
    found = material.gather(project)
    more = found.plan["augmentation"]
    prepared = features.prepare(project)
    facts = {"fingerprint": prepared.fingerprint, "backbone": prepared.backbone}
    rows = examples.embedded(project, found, facts)
    held = np.bincount(found.train.targets, minlength=len(found.classes))
    wanted = [
        count + min(more.get(name, 0), MOST_COPIES * count)
        for name, count in zip(found.classes, held.tolist(), strict=True)
    ]
    assert sum(more.values()) > 0
    assert np.bincount(rows.y).tolist() == wanted
    assert len(rows.X) == len(rows.weight) == len(rows.groups) == sum(wanted)
    weight = examples.photos(project, found).weights
    assert np.bincount(found.train.targets, weight) == pytest.approx(wanted)
    # By default fine-tuning takes as many more looks, changed by the plan's recipe.
    run_id = experiments.prepare(project, Asked("fine-tune", {"input-size": 32}))
    settings = FineTuneSettings.from_json(runs.read(project, run_id, runs.SETTINGS))
    assert (settings.augmentation, settings.class_weight) == (found.plan["recipe"], "none")
    objective = Objective(
        examples.photos(project, found), classes=found.classes, task=found.task, settings=settings
    )
    assert objective.chance is not None
    looks = np.bincount(found.train.targets, objective.chance)
    assert looks == pytest.approx(np.array(wanted) / sum(wanted))
