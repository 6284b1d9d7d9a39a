"""Groups of copies, and the member to keep."""

from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.copies.groups import join, keep

Pairs = list[tuple[int, int]]
pairs = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] != pair[1]),
    max_size=25,
)


def connected(found: Pairs) -> list[tuple[int, ...]]:
    """What hangs together, by another way."""
    groups: list[set[int]] = []
    for pair in found:
        touched = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if not group & set(pair)]
        groups.append(set(pair).union(*touched))
    return sorted(tuple(sorted(group)) for group in groups)


def test_join__nothing() -> None:
    assert join([], [(1, 2)]) == []


def test_join__what_hangs_together() -> None:
    assert join([(5, 2), (9, 4), (2, 7)], []) == [(2, 5, 7), (4, 9)]


def test_join__no_chain_of_look_alikes() -> None:
    assert join([(1, 2), (2, 3)], [(1, 3)]) == [(1, 2)]
    assert join([(2, 3), (1, 2)], [(1, 3)]) == [(2, 3)]  # the surer pair stays together


def test_join__two_groups_do_not_merge_by_one_pair_of_many() -> None:
    first, second = [(0, 1), (0, 2), (1, 2)], [(5, 6), (5, 7), (6, 7)]
    across = [(a, b) for a in (0, 1, 2) for b in (5, 6, 7)]
    assert join([*first, *second, across[0]], across[1:]) == [(0, 1, 2), (5, 6, 7)]


def test_join__one_doubt_among_many_copies_does_not_part_them() -> None:
    copies = [pair for pair in combinations(range(5), 2) if pair != (0, 4)]
    assert join(copies, [(0, 4)]) == [(0, 1, 2, 3, 4)]


def test_join__what_a_person_told_apart_outranks_many_copies() -> None:
    copies = [pair for pair in combinations(range(5), 2) if pair != (0, 4)]
    assert join(copies, [], never=[(4, 0)]) == [(0, 1, 2, 3)]
    assert join([(1, 2)], [], never=[(2, 1)]) == []


def test_join__a_pair_on_both_lists_is_a_copy() -> None:
    assert join([(1, 2)], [(2, 1)]) == [(1, 2)]


@given(pairs)
def test_join__without_objections_what_is_connected(copies: Pairs) -> None:
    assert join(copies, []) == connected(copies)


@given(pairs, pairs, pairs)
def test_join__groups_are_disjoint_and_never_hold_who_was_told_apart(
    copies: Pairs, others: Pairs, never: Pairs
) -> None:
    found = join(copies, others, never=never)
    members = [key for group in found for key in group]
    assert len(members) == len(set(members))
    assert set(members) <= {key for pair in copies for key in pair}
    for first, second in never:
        assert not any(first in group and second in group for group in found)


@given(pairs, pairs, pairs, st.randoms(use_true_random=False))
def test_join__whatever_the_order_of_what_has_none(
    copies: Pairs, others: Pairs, never: Pairs, random: Random
) -> None:
    def turned(listed: Pairs) -> Pairs:
        return [pair if random.random() < 0.5 else pair[::-1] for pair in listed]

    def shuffled(listed: Pairs) -> Pairs:
        return random.sample(turned(listed), len(listed))

    assert join(turned(copies), shuffled(others), never=shuffled(never)) == join(
        copies, others, never=never
    )


@given(pairs, pairs)
def test_join__three_are_never_joined_against_an_objection(copies: Pairs, others: Pairs) -> None:
    agreed = {frozenset(pair) for pair in copies}
    against = {frozenset(pair) for pair in others} - agreed
    for group in join(copies, others):
        if len(group) == 3:
            assert not any(frozenset(pair) in against for pair in combinations(group, 2))


EQUAL = {"reserved": set(), "area": dict.fromkeys((3, 5, 8), 100), "labeled": set()}
SHARP = dict.fromkeys((3, 5, 8), 10.0)


@pytest.mark.parametrize(
    ("differs", "kept", "why"),
    [
        ({}, 3, "came first"),
        ({"labeled": {5}}, 5, "has a label"),
        ({"labeled": {5}, "sharpness": SHARP | {8: 13.0}}, 8, "is the sharpest"),
        ({"sharpness": SHARP | {8: 13.0}, "area": {3: 100, 5: 110, 8: 100}}, 5, "is the largest"),
        ({"area": {3: 100, 5: 110, 8: 100}, "reserved": {3}}, 3, "is part of the reserve"),
        ({"area": {3: 100, 5: 104, 8: 100}}, 3, "came first"),
        ({"sharpness": SHARP | {8: 12.0}, "labeled": {5, 8}}, 5, "came first"),
        ({"reserved": {5, 8}, "labeled": {3, 8}}, 8, "has a label"),
    ],
)
def test_keep__and_why(differs: dict[str, object], kept: int, why: str) -> None:
    said = {**EQUAL, "sharpness": SHARP, **differs}
    for members in ((3, 5, 8), (8, 5, 3)):
        assert keep(members, **said) == (kept, why)  # type: ignore[arg-type]


@given(st.data())
def test_keep__a_member_in_whatever_order(data: st.DataObject) -> None:
    members = data.draw(st.lists(st.integers(0, 99), min_size=1, max_size=6, unique=True))
    some = st.sets(st.sampled_from(members))
    said = {
        "reserved": data.draw(some),
        "labeled": data.draw(some),
        "area": {key: data.draw(st.integers(0, 10**8)) for key in members},
        "sharpness": {key: data.draw(st.floats(0, 1e4)) for key in members},
    }
    kept, _ = keep(members, **said)  # type: ignore[arg-type]
    assert kept in members
    assert keep(data.draw(st.permutations(members)), **said)[0] == kept  # type: ignore[arg-type]
    if said["reserved"]:
        assert kept in said["reserved"]
