from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError
from labeling import tasks
from labeling.interfaces import STANDARD

classes = st.lists(st.text(min_size=1), max_size=5, unique=True)
path_part = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=10
)


@given(classes, st.floats(0, 1), st.integers(1, 10**6), st.data())
def test_prediction__answer_round_trip(
    names: list[str], confidence: float, size: int, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(0, size - 1))
    made = tasks.prediction(
        names, confidence=confidence, model_version="round-1", rank=rank, size=size
    )
    assert 0 <= made["score"] < 1
    assert all(part["score"] == confidence for part in made["result"])
    said = tasks.answer(made["result"])
    assert said == tasks.Answer(tuple(names), skipped=False, accepted_prelabel=False)


@given(st.integers(2, 10**6))
def test_prediction__ranks_order_scores(size: int) -> None:
    scores = [
        tasks.prediction([], confidence=None, model_version="v", rank=rank, size=size)["score"]
        for rank in (0, size // 2, size - 1)
    ]
    assert scores == sorted(scores)
    assert scores[0] == 0


@pytest.mark.parametrize("rank", [-1, 3])
def test_prediction__rank_outside_the_batch(rank: int) -> None:
    with pytest.raises(InputError, match="not within a batch of 3"):
        tasks.prediction(["a"], confidence=0.1, model_version="v", rank=rank, size=3)


def test_task__carries_our_id_and_predictions() -> None:
    hint = tasks.prediction(["a"], confidence=0.5, model_version="v", rank=0, size=1)
    assert tasks.task("i-1", name="a.jpg", url="/u", predictions=[hint]) == {
        "data": {"image": "/u", "labelloop_image": "i-1", "name": "a.jpg"},
        "predictions": [hint],
    }
    assert "predictions" not in tasks.task("i-1", name="a.jpg", url="/u")


@given(path_part, st.lists(path_part, min_size=1, max_size=4).map("/".join))
def test_image_url__served_path_round_trip(served: str, path: str) -> None:
    url = tasks.image_url(served, path)
    assert url.isascii()
    assert tasks.served_path(url) == (served, path)


@pytest.mark.parametrize(
    "url", ["/data/upload/1/a.png", "https://x/a.png", "/data/local-files/?d="]
)
def test_served_path__other_addresses(url: str) -> None:
    assert tasks.served_path(url) is None


def test_answer__skip_wins_over_its_result() -> None:
    said = tasks.answer(tasks.chosen(["a"]), was_cancelled=True, parent_prediction=1)
    assert said == tasks.Answer((), skipped=True, accepted_prelabel=False)


@pytest.mark.parametrize(
    ("origin", "parent", "accepted"),
    [
        ("prediction", 7, True),
        ("prediction", None, False),
        ("prediction-changed", 7, False),
        ("manual", 7, False),
    ],
)
def test_answer__accepted_prelabel(origin: str, parent: int | None, accepted: bool) -> None:
    result = [{**part, "origin": origin} for part in tasks.chosen(["a"])]
    assert tasks.answer(result, parent_prediction=parent).accepted_prelabel is accepted


def test_answer__ignores_what_was_not_asked_with_a_reason() -> None:
    result = [
        *tasks.chosen(["a", "gone", "a"]),
        {"type": "rectanglelabels", "from_name": "box", "value": {"x": 1}},
        {"type": "choices", "from_name": "other", "value": {"choices": ["a"]}},
        {"type": "choices", "from_name": "label", "value": {"choices": [1]}},
        {"type": "choices", "from_name": "label", "value": None},
        {},
    ]
    said = tasks.answer(result, known_classes=["a", "b"])
    assert said.classes == ("a",)
    assert len(said.ignored) == 6
    assert "'gone' is not one of the project's" in said.ignored[0]
    assert "rectanglelabels of 'box'" in said.ignored[1]


def test_answer__control_of_another_interface() -> None:
    result = [{"type": "choices", "from_name": "verdict", "value": {"choices": ["a"]}}]
    assert tasks.answer(result, interface=replace(STANDARD, control="verdict")).classes == ("a",)
    assert tasks.answer(result).classes == ()
