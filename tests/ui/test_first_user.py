"""The first user's path, word for word, with the truth in the annotator's place.

Every step is the installed command in a process of its own; the servers are the real ones.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from PIL import Image

from labeling import tasks
from labeling.connection import Connection, connect
from labeling.transport import Session

pytestmark = pytest.mark.label_studio

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data"
LABELLOOP = Path(sys.executable).with_name("labelloop")
COUNT = 200
QUEUE = re.compile(r"(reserve|batch) queue: (http\S+/projects/(\d+)/data\?labeling=1)")


def labelloop(*words: str, cwd: Path) -> str:
    """What the command prints, once it has ended well."""
    environment = {k: v for k, v in os.environ.items() if k != "LABELLOOP_WORKSPACE"}
    done = subprocess.run(
        [LABELLOOP, *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def own_photos(folder: Path) -> dict[str, str]:
    """JPEGs as a camera names them; what each of them shows, by name."""
    folder.mkdir()
    with (SAMPLE / "truth.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["defect"]]
    truth = {}
    for number, row in enumerate(rows[:: len(rows) // COUNT][:COUNT]):
        name = f"IMG_{number:04}.jpg"
        with Image.open(SAMPLE / "images" / row["filename"]) as photo:
            photo.convert("RGB").save(folder / name, quality=92)
        truth[name] = row["label"]
    return truth


def sign_up(invitation: str, email: str) -> Connection:
    """What a person does with the link: opens it, chooses a password, is logged in."""
    parts = urlsplit(invitation)
    url = f"{parts.scheme}://{parts.netloc}"
    with Session(url) as visit:
        visit.submit(f"{parts.path}?{parts.query}", {"email": email, "password": "correct-horse-9"})
        return connect(url, str(visit.get_json("/api/current-user/token")["token"]))


def answer_queues(person: Connection, printed: str, truth: dict[str, str]) -> int:
    """Opens each address that `labelloop round` printed and answers until nothing comes."""
    queues = QUEUE.findall(printed)
    answered = 0
    for _name, url, number in queues:
        assert httpx.get(url, trust_env=False).status_code in (200, 302)
        while (task := person.next_task(int(number))) is not None:
            shown = person.download(task.data["image"])
            assert shown[:3] == b"\xff\xd8\xff", "the photo itself is shown"
            said = tasks.chosen([truth[task.data["name"]]])
            person.create_annotation(task.id, said, lead_time=2.0)
            answered += 1
    return answered


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Path]:
    """The folder of the workspace; whatever runs on it is stopped afterwards."""
    folder = tmp_path / "parts"
    yield folder
    if (folder / "labelloop.toml").exists():
        subprocess.run([LABELLOOP, "down"], cwd=folder, capture_output=True, check=False)


def test_first_user__from_nothing_to_a_model_with_an_interval(
    tmp_path: Path, parts: Path, label_studio_folder: Callable[[], Path]
) -> None:
    truth = own_photos(tmp_path / "photos")
    classes = ",".join(sorted(set(truth.values())))
    labelloop(
        *("init", "--workspace", str(parts), "--classes", classes),
        *("--target", "balanced-accuracy=0.92"),
        cwd=tmp_path,
    )
    # Spares the minute that Label Studio's very first start takes.
    shutil.copytree(label_studio_folder(), parts / "label-studio")
    printed = labelloop("import", str(tmp_path / "photos"), cwd=parts)
    assert str(COUNT) in printed
    labelloop("up", "--detach", cwd=parts)

    printed = labelloop("annotators", "add", "annotator-1", cwd=parts)
    (invitation,) = re.findall(r"http\S+", printed)
    with sign_up(invitation, "annotator-1@example.org") as person:
        first = labelloop("round", "--budget", "20", "--reserve", "30", cwd=parts)
        assert [name for name, _, _ in QUEUE.findall(first)] == ["reserve", "batch"]
        assert answer_queues(person, first, truth) == 50
        second = labelloop("round", "--budget", "20", cwd=parts)
        assert "learned from 20 labels" in second
        assert answer_queues(person, second, truth) == 20

    shown = json.loads(labelloop("rounds", "show", "latest", "--json", cwd=parts))
    assert (shown["round"], shown["state"], shown["labels"]) == (1, "waiting", 20)
    figure = shown["metrics"]["accuracy"]
    assert figure["n"] > 0
    assert 0 <= figure["ci"][0] <= figure["value"] <= figure["ci"][1] <= 1
    assert "recall" in labelloop("rounds", "show", "latest", cwd=parts)

    labelloop("label", "pull", cwd=parts)
    status = json.loads(labelloop("label", "status", "--json", cwd=parts))
    people = {row["name"]: row for row in status["annotators"] if row["answered"]}
    assert list(people) == ["annotator-1"]
    assert people["annotator-1"]["answered"] == status["annotations"] == 70
    assert status["waiting"] == {"reserve": 0, "batch": 0}

    labelloop("down", cwd=parts)
    left = [process.pid for process in psutil.process_iter() if runs_on(parts, process)]
    assert left == []


def runs_on(folder: Path, process: psutil.Process) -> bool:
    """Whether a process works on this workspace."""
    try:
        words: list[Any] = [*process.cmdline(), *process.environ().values()]
    except psutil.Error:
        return False
    return any(str(folder) in str(word) for word in words)
