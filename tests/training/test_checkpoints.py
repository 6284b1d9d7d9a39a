from pathlib import Path

import pytest
import torch

from curation.errors import LabelloopError, TrainingError
from training.finetuning import checkpoints


def state(number: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((3, 2), number), "step": torch.tensor(number)}


def write(folder: Path, number: float) -> None:
    checkpoints.write(folder, state(number), job="a", facts={"number": number, "loss": 0.1 + 0.2})


def test_read__what_was_written(tmp_path: Path) -> None:
    assert checkpoints.read(tmp_path, job="a") is None
    write(tmp_path, 1)
    write(tmp_path, 2)
    found = checkpoints.read(tmp_path, job="a")
    assert found is not None and not found.says
    assert found.facts == {"number": 2, "loss": 0.1 + 0.2}
    assert all((found.tensors[name] == tensor).all() for name, tensor in state(2).items())
    with pytest.raises(TrainingError, match="other images, labels, settings or seed"):
        checkpoints.read(tmp_path, job="b")


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "foreign", "gone", "partial"])
def test_read__the_one_before_where_the_newest_is_damaged(damage: str, tmp_path: Path) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    newest = tmp_path / checkpoints.NEWEST
    content = newest.read_bytes()
    if damage == "gone":  # killed between the two renames
        newest.unlink()
    elif damage == "partial":  # killed while writing
        (tmp_path / ".checkpoint.safetensors.partial").write_bytes(content[:100])
    else:
        changed = {
            "cut": content[:-8],
            "flipped": content[:-1] + bytes([content[-1] ^ 4]),
            "emptied": b"",
            "foreign": (tmp_path / checkpoints.BEFORE)
            .read_bytes()
            .replace(b"labelloop", b"other0123"),
        }
        newest.write_bytes(changed[damage])
    found = checkpoints.read(tmp_path, job="a")
    assert found is not None
    assert found.facts["number"] == (2 if damage == "partial" else 1)
    assert bool(found.says) == (damage in {"cut", "flipped", "emptied", "foreign"})


def test_read__both_damaged(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / checkpoints.NEWEST).write_bytes(b"none")
    found = checkpoints.read(tmp_path, job="a")
    assert found is not None and not found.tensors
    assert "is damaged" in found.says


def test_drop_newest__a_kill_between_the_renames_leaves_the_sound_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    (tmp_path / checkpoints.NEWEST).write_bytes(b"none")
    checkpoints.drop_newest(tmp_path)
    rename = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError("killed")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(LabelloopError):
            write(tmp_path, 3)
    found = checkpoints.read(tmp_path, job="a")
    assert found is not None and found.facts["number"] == 1


def test_write__where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(LabelloopError, match="Cannot write"):
        write(tmp_path / "file", 1)


def test_finish__keeps_no_weights(tmp_path: Path) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    checkpoints.finish(tmp_path, job="a", facts={"finished": True})
    assert [path.name for path in tmp_path.iterdir()] == [checkpoints.NEWEST]
    found = checkpoints.read(tmp_path, job="a")
    assert found is not None and found.facts == {"finished": True}
