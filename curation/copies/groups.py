"""Groups of copies: what hangs together by verified pairs, but never by a chain of look-alikes."""

from collections.abc import Iterable, Sequence

COHESION = 0.5
"""Share of the compared pairs between two groups that must be copies for the two to become one."""


def join(
    copies: Iterable[tuple[int, int]], others: Iterable[tuple[int, int]]
) -> list[tuple[int, ...]]:
    """Groups of two and more.

    Pairs of copies are taken in their order, surest first. Two groups become one only where most of
    the pairs between them that were compared are copies: of three pictures of which the first is
    like the second and the second like the third, but not the first like the third, the surer pair
    stays together.

    Args:
        copies: pairs that are copies, surest first.
        others: pairs that were compared and are not.

    Returns:
        Groups in the order of their smallest members, members ascending.
    """
    pairs = list(copies)
    member_of: dict[int, int] = {}
    members: dict[int, set[int]] = {}
    for node in {node for pair in pairs for node in pair}:
        member_of[node], members[node] = node, {node}
    alike = _neighbours(pairs, member_of)
    unlike = _neighbours(others, member_of)
    for first, second in pairs:
        one, other = member_of[first], member_of[second]
        if one == other:
            continue
        if len(members[one]) < len(members[other]):
            one, other = other, one
        yes = _links(members[other], members[one], alike)
        no = _links(members[other], members[one], unlike)
        if yes >= COHESION * (yes + no):
            for node in members[other]:
                member_of[node] = one
            members[one] |= members.pop(other)
    return sorted(tuple(sorted(group)) for group in members.values() if len(group) > 1)


def _neighbours(pairs: Iterable[tuple[int, int]], known: dict[int, int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for first, second in pairs:
        if first in known and second in known:
            found.setdefault(first, set()).add(second)
            found.setdefault(second, set()).add(first)
    return found


def _links(small: set[int], large: set[int], neighbours: dict[int, set[int]]) -> int:
    return sum(len(neighbours.get(node, set()) & large) for node in small)


def keep(
    members: Sequence[int],
    *,
    reserved: set[int],
    area: dict[int, int],
    sharpness: dict[int, float],
    labeled: set[int],
) -> tuple[int, str]:
    """The member to keep, and why in words.

    The reserve is never touched; then the clearly larger one, the clearly sharper one, a labeled
    one, and the one that was imported first.
    """
    left = sorted(members)
    rules = (
        ("is part of the reserve", lambda node: float(node in reserved), 1.0),
        ("is the largest", lambda node: float(area[node]), 1.05),
        ("is the sharpest", lambda node: sharpness[node], 1.25),
        ("has a label", lambda node: float(node in labeled), 1.0),
    )
    for why, value, margin in rules:
        best = max(value(node) for node in left)
        ahead = [node for node in left if value(node) * margin >= best]
        if len(ahead) == 1:
            return ahead[0], why
        left = ahead
    return left[0], "came first"
