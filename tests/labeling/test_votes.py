"""What a few answers agree on, by counting them."""

from hypothesis import given
from hypothesis import strategies as st

from labeling.votes import majority

answer = st.lists(st.integers(1, 4), min_size=1, max_size=1).map(tuple)
several = st.sets(st.integers(1, 4)).map(lambda found: tuple(sorted(found)))


@given(st.lists(answer, min_size=1, max_size=9))
def test_majority__single_label(given_answers: list[tuple[int, ...]]) -> None:
    agreed = majority(given_answers, task="single-label")
    counts = {one: given_answers.count(one) for one in given_answers}
    assert counts[agreed.classes] == max(counts.values())
    assert agreed.confidence == counts[agreed.classes] / len(given_answers)
    ties = [one for one in given_answers if counts[one] == max(counts.values())]
    assert agreed.classes == ties[0]


@given(st.lists(several, min_size=1, max_size=9))
def test_majority__multi_label(given_answers: list[tuple[int, ...]]) -> None:
    agreed = majority(given_answers, task="multi-label")
    for class_id in range(1, 5):
        share = sum(class_id in one for one in given_answers) / len(given_answers)
        assert (class_id in agreed.classes) == (share > 0.5)
        assert agreed.confidence <= max(share, 1 - share)
    assert 0.5 <= agreed.confidence <= 1
