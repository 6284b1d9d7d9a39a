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


def test_answer__doubts_and_comments() -> None:
    said = tasks.answer(tasks.doubting(unsure=True, comment=" a scratch?\x00 "))
    assert (said.classes, said.unsure, said.comment) == ((), True, "a scratch?")
    mixed = [*tasks.chosen(["a"]), *tasks.doubting(unsure=False, comment="x" * 5_000)]
    said = tasks.answer(mixed)
    assert (said.classes, said.unsure, said.ignored) == (("a",), False, ())
    assert len(said.comment) == tasks.LONGEST_COMMENT
    skip = tasks.answer(tasks.doubting(unsure=True, comment="black"), was_cancelled=True)
    assert (skip.skipped, skip.unsure, skip.comment) == (True, False, "black")
    for broken in ({"text": 3}, {"text": [3, "b"]}, None):
        part = {"from_name": "comment", "type": "textarea", "value": broken}
        assert tasks.answer([part]).comment == ("b" if broken == {"text": [3, "b"]} else "")


BOXES = replace(STANDARD, task="boxes")
place = st.floats(0, 1)


@given(
    st.lists(st.tuples(place, place, place, place), max_size=4),
    st.integers(1, 9000),
    st.integers(1, 9000),
)
def test_drawn__boxes_come_back_in_pixels(
    places: list[tuple[float, float, float, float]], width: int, height: int
) -> None:
    size = (width, height)
    boxes = [
        tasks.Rectangle(
            "a", x * width / 2, y * height / 2, (1 + w) * width / 4, (1 + h) * height / 4
        )
        for x, y, w, h in places
    ]
    said = tasks.answer(tasks.drawn(boxes, size=size), size=size, interface=BOXES)
    assert said.ignored == ()
    for box, found in zip(boxes, said.rectangles, strict=True):
        drawn = [getattr(box, side) for side in ("x", "y", "width", "height")]
        assert [getattr(found, side) for side in ("x", "y", "width", "height")] == pytest.approx(
            drawn, abs=0.001
        )


def test_answer__boxes_that_cannot_be_used_are_named() -> None:
    (good,) = tasks.drawn([tasks.Rectangle("a", 1, 2, 3, 4)], size=(10, 20))
    turned = {**good, "value": {**good["value"], "rotation": 30}}
    outside = {**good, "value": {**good["value"], "x": 120}}
    unknown = {**good, "value": {**good["value"], "rectanglelabels": ["b"]}}
    broken = {**good, "value": {**good["value"], "width": "wide"}}
    said = tasks.answer(
        [good, turned, outside, unknown, broken, *tasks.chosen(["a"])],
        known_classes=["a"],
        size=(10, 20),
        interface=BOXES,
    )
    assert said.rectangles == (tasks.Rectangle("a", 1, 2, 3, 4),)
    assert [reason.split(" (")[0] for reason in said.ignored] == [
        "A box turned by 30 degrees.",
        "A box outside its image of 10x20",
        "The class 'b' is not one of the project's.",
        "A box whose place is not four numbers.",
        "choices of 'label' is not asked for by this interface.",
    ]
    # The catalog's size counts, and Label Studio's where there is none.
    assert tasks.answer([good], interface=BOXES).rectangles == said.rectangles


def test_answer__control_of_another_interface() -> None:
    result = [{"type": "choices", "from_name": "verdict", "value": {"choices": ["a"]}}]
    assert tasks.answer(result, interface=replace(STANDARD, control="verdict")).classes == ("a",)
    assert tasks.answer(result).classes == ()
