import re

from curation import errors


def documented() -> dict[str, str]:
    """Parent by class name, as the tree in the docstring has it."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ((?:[│├└─ ])*)(\w+)(?:\s{2,}.*)?$", line)
        if found:
            depth = len(found[1]) // 4
            path = [*path[:depth], found[2]]
            parents[found[2]] = path[-2] if depth else "Exception"
    return parents


def defined() -> dict[str, str]:
    return {
        name: value.__base__.__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception) and value.__base__
    }


def test_docstring__is_the_tree_of_the_classes() -> None:
    assert documented() == defined()
