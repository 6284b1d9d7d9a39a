"""What the balance plan asks, trainings, searches and cross-validations do."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from curation.catalog import plans
from curation.workspace import Project
from tests import trained
from training import choices, material
from training.settings import FineTuneSettings, HeadSettings
from training.tuning import search_space, studies

BACKBONE = FineTuneSettings().backbone


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    base = tmp_path_factory.getbasetemp()
    return trained.copied(base, tmp_path_factory.mktemp("choices") / "w")


def test_of_fine_tuning__a_recipe_by_name_of_the_workspace_or_by_path(
    project: Project, tmp_path: Path
) -> None:
    held = material.gather(project)
    assert choices.of_fine_tuning(project, held, backbone=BACKBONE) == {}
    own = str(project.workspace.path / "recipes" / "mine.toml")
    for recipe, path in (
        ("strong", "strong"),
        ("mine", own),
        (str(tmp_path / "mine.toml"), str(tmp_path / "mine.toml")),
    ):
        planned = replace(held, plan={"augmentation": {"dress": 5}, "recipe": recipe})
        found = choices.of_fine_tuning(project, planned, backbone=BACKBONE)
        assert {name: value for name, (value, _) in found.items()} == {
            "augmentation": path,
            "sampling": "weighted",
            "class-weight": "none",
        }


def test_choose__weights_of_the_plan_unless_others_are_asked_for(project: Project) -> None:
    held = replace(material.gather(project), plan={"class_weights": {"dress": 2.0}})
    for asked, weight in (({}, "none"), ({"class-weight": "balanced"}, "balanced")):
        chosen = choices.choose(project, held, "head", asked=asked, backbone=BACKBONE)
        assert isinstance(chosen.settings, HeadSettings)
        assert chosen.settings.class_weight == weight


def test_begin__trials_keep_to_the_plans_recipe(project: Project) -> None:
    with project.catalog.write() as connection:
        wanted = {"remedy": "augmentation", "augmentation": {"dress": 9}, "recipe": "strong"}
        plans.put(connection, project.id, "balance", wanted)
    asked = studies.Asked(kind="fine-tune", study="planned")
    with closing(studies.begin(project, asked)) as study:
        space = study.space("fine-tune")
        assert "augmentation" not in space and "backbone-learning-rate" in space
        point = search_space.grid(space, seed=0)[0]
        settings = study.settings("fine-tune", point)
    assert isinstance(settings, FineTuneSettings)
    assert (settings.augmentation, settings.sampling) == ("strong", "weighted")
    assert settings.class_weight == "none"
