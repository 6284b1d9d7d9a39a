"""Networks as openvino graphs, in a process that goes on living beside them."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino")

SCRIPT = """
import os, signal, sys
from pathlib import Path
from torch import nn
from curation import compiled
from curation.backbones import Preprocessing

class Means(nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))

seen = Preprocessing(8, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0)
folder = Path(sys.argv[1])
first, second = (
    compiled.open(Means, seen, compiled.Place(folder, name), is_faithful=lambda made: True)
    for name in ("first", "second")
)
assert first and second
del first  # before the later one
del second
caught = []
signal.signal(signal.SIGINT, lambda *_: caught.append(True))
os.kill(os.getpid(), signal.SIGINT)
assert caught
"""


def test_open__a_signal_after_two_that_lived_beside_each_other(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
