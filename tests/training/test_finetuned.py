import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from curation import inference
from curation.errors import TrainingError
from tests.training import discs
from tests.training.discs import CLASSES, QUICK
from training.finetuning import network
from training.finetuning.finetuned import FineTuned


@pytest.fixture
def model(tmp_path: Path) -> FineTuned:
    module = network.build(QUICK, 3, seed=0, weights=discs.weights(tmp_path / "weights"))
    return FineTuned(module, CLASSES, (True, True, False), "single-label", QUICK)


def test_load__what_was_saved(model: FineTuned, tmp_path: Path) -> None:
    rows = discs.make(tmp_path / "images", count=40)
    model.calibrated(1.5).save(tmp_path / "model.safetensors")
    again = FineTuned.load(tmp_path / "model.safetensors")
    assert (again.classes, again.known) == (CLASSES, (True, True, False))
    assert (again.settings, again.temperature, again.task) == (QUICK, 1.5, "single-label")
    p = again.probabilities(rows.paths)
    assert p.sum(axis=1) == pytest.approx(1)
    assert (p[:, 2] == 0).all()
    assert (again.logits(rows.paths) == model.logits(rows.paths)).all()
    pixels = np.stack([inference.prepare(path, again.preprocessing) for path in rows.paths])
    assert (again.probabilities_of(pixels) == p).all()
    assert (again.logits_of(pixels[:0])).shape == (0, 3)
    with pytest.raises(TrainingError, match=r"looks at pixels \(N, 32, 32, 3\)"):
        again.logits_of(pixels[:, :30])


@pytest.mark.parametrize(
    "content", ["broken", "foreign", "other-format", "other-weights", "bad-settings", "pickle"]
)
def test_load__broken_or_foreign_file(content: str, model: FineTuned, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    about = {
        "format": "labelloop-fine-tuned-1",
        "classes": ["a"],
        "known": [True],
        "task": "single-label",
        "settings": QUICK.as_json(),
        "temperature": 1.0,
        "recipe": None,
    }
    if content == "broken":
        path.write_bytes(b"\x40\x00\x00\x00\x00\x00\x00\x00{")
    elif content == "pickle":
        torch.save({"weight": torch.zeros(2)}, path)
    else:
        about |= {
            "foreign": {},
            "other-format": {"format": "another"},
            "other-weights": {},
            "bad-settings": {"settings": {"kind": "fine-tune", "input-size": 1}},
        }[content]
        metadata = {} if content == "foreign" else {"labelloop": json.dumps(about)}
        save_file({"weight": torch.zeros(2)}, path, metadata=metadata or None)
    with pytest.raises(TrainingError, match=r"not a fine-tuned model .*Train it again"):
        FineTuned.load(path)
