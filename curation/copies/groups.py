"""Groups of copies: what hangs together by verified pairs, but never by a chain of look-alikes."""

from collections.abc import Iterable, Sequence

LARGER = 1.05
"""So many times the pixels make a picture clearly the larger one."""

SHARPER = 1.25
"""So many times the sharpness make it clearly the sharper one."""


def join(
    copies: Iterable[tuple[int, int]],
    others: Iterable[tuple[int, int]],
    *,
    never: Iterable[tuple[int, int]] = (),
) -> list[tuple[int, ...]]:
    """Groups of two and more.

    Pairs of copies are taken in their order, surest first. Two groups become one only where most of
    the pairs between them that were compared are copies: of three pictures of which the first is
    like the second and the second like the third, but not the first like the third, the surer pair
    stays together.

    Args:
        copies: pairs that are copies, surest first.
        others: pairs that were compared and are not; a pair that is among `copies` is one.
        never: pairs that a person told apart: no group holds both.

    Returns:
        Groups in the order of their smallest members, members ascending.
    """
    pairs = list(copies)
    member_of: dict[int, int] = {}
    members: dict[int, set[int]] = {}
    for node in {node for pair in pairs for node in pair}:
        member_of[node], members[node] = node, {node}
    alike = _neighbours(pairs, member_of)
    certain = {frozenset(pair) for pair in pairs}
    unlike = _neighbours((pair for pair in others if frozenset(pair) not in certain), member_of)
    apart = _neighbours(never, member_of)
    for first, second in pairs:
        one, other = member_of[first], member_of[second]
        if one == other:
            continue
        if len(members[one]) < len(members[other]):
            one, other = other, one
        yes = _links(members[other], members[one], alike)
        no = _links(members[other], members[one], unlike)
        if yes > no and not _links(members[other], members[one], apart):
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
    rules: tuple[tuple[str, dict[int, float], float], ...] = (
        ("is part of the reserve", {node: float(node in reserved) for node in members}, 1.0),
        ("is the largest", {node: float(area[node]) for node in members}, LARGER),
        ("is the sharpest", {node: float(sharpness[node]) for node in members}, SHARPER),
        ("has a label", {node: float(node in labeled) for node in members}, 1.0),
    )
    left = sorted(members)
    for why, value, margin in rules:
        best = max(value[node] for node in left)
        ahead = [node for node in left if value[node] * margin >= best]
        if len(ahead) == 1:
            return ahead[0], why
        left = ahead
    return left[0], "came first"
