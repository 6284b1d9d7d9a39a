"""What is learned from where a balance plan asks for more than there is."""

import numpy as np
import pytest

from curation import features
from curation import workspace as workspaces
from curation.balance.plan import MOST_COPIES
from tests.ui import commands
from training import examples, material


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
