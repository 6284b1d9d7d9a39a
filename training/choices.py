"""Settings for a project's labels: what is asked for, then what its plans ask, then automatic."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curation import balance
from curation.workspace import Project
from training import auto
from training.auto import Chosen
from training.material import Material
from training.settings import AUGMENTATIONS, FineTuneSettings
from training.suggestions import Preferred


def choose(
    project: Project,
    material: Material,
    kind: str,
    *,
    asked: Mapping[str, Any],
    backbone: str,
    images: int | None = None,
    validation: int | None = None,
    minutes: float | None = None,
) -> Chosen:
    """Complete settings for a training on this material.

    Args:
        project: whose labels they are.
        material: that is learned from.
        kind: `auto`, or of `settings.KINDS`.
        asked: settings in kebab-case that stand.
        backbone: the workspace's.
        images: to learn from; those of the train part if None.
        validation: images to steer by; those of the validation part if None.
        minutes: that fine-tuning may take.

    Raises:
        LabelloopError: as `auto.choose`.
    """
    return auto.choose(
        kind,
        images=len(material.train) if images is None else images,
        classes=len(material.classes),
        task=material.task,
        typical_side=material.side,
        validation=len(material.validation) if validation is None else validation,
        minutes=minutes,
        asked={**of_weights(material), **asked},
        preferred=of_fine_tuning(project, material, backbone=backbone),
        probes=probes(project),
    )


def of_weights(material: Material) -> dict[str, Any]:
    """What the balance plan settles for every kind of training, unless something else is asked."""
    # Weights that the training chooses would undo the plan's.
    return {"class-weight": "none"} if balance.sets_weights(material.plan) else {}


def of_fine_tuning(project: Project, material: Material, *, backbone: str) -> Preferred:
    """What the workspace's backbone and the balance plan ask of fine-tuning."""
    found: dict[str, tuple[Any, str]] = {}
    if backbone != FineTuneSettings().backbone:
        found["backbone"] = (backbone, "the workspace's")
    if material.plan.get("augmentation"):
        recipe = material.plan["recipe"]
        if recipe not in AUGMENTATIONS:
            own = project.workspace.path / "recipes" / f"{recipe}.toml"
            path = Path(recipe) if recipe.endswith(".toml") else own
            recipe = str(path.expanduser().resolve())
        found["augmentation"] = (recipe, "the balance plan's recipe")
        # In the loss, the weights of copies would be taken back by those of the classes.
        found["sampling"] = ("weighted", "the balance plan's copies are further looks at an image")
        found["class-weight"] = ("none", "the balance plan's copies take its place")
    return found


def probes(project: Project) -> Path:
    """Where it is kept how fast this machine trains, as it was measured once."""
    return project.workspace.path / "probes"
