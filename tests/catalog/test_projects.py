import pytest

from curation.catalog import Catalog, audit, projects
from curation.errors import InputError, NotFound
from curation.records import Target
from tests.catalog.rows import add_project


def test_create__keeps_what_was_asked_for(catalog: Catalog) -> None:
    with catalog.write() as connection:
        made = projects.create(
            connection,
            "parts",
            class_names=["ok", "scratch", "dent"],
            task="multi-label",
            target=Target("balanced-accuracy", 0.92),
            seconds_per_label=3.5,
            guidelines="Look at the edge.",
            seed=11,
        )
    with catalog.read() as connection:
        found = projects.get(connection, made.id)
    assert found == made
    assert found.classes == ("ok", "scratch", "dent")
    assert (found.task, found.seed, found.guidelines) == ("multi-label", 11, "Look at the edge.")
    assert found.target == Target("balanced-accuracy", 0.92)
    assert found.class_names(found.class_ids[::-1]) == ("dent", "scratch", "ok")
    assert found.ids_of(("dent", "ok")) == (found.class_ids[2], found.class_ids[0])


def test_create__a_seed_of_its_own(catalog: Catalog) -> None:
    with catalog.write() as connection:
        seeds = {
            projects.create(connection, f"p{n}", class_names=["a", "b"]).seed for n in range(3)
        }
    assert len(seeds) == 3


def test_create__name_taken(catalog: Catalog) -> None:
    with catalog.write() as connection:
        add_project(connection)
    with pytest.raises(InputError, match="already a project named 'parts'"), catalog.write() as c:
        add_project(c)
    with catalog.read() as connection:
        assert len(projects.every(connection)) == 1


@pytest.mark.parametrize("name", ["", " parts", "a\nb", "a\x00b", "x" * 201])
def test_create__unusable_name(catalog: Catalog, name: str) -> None:
    with catalog.write() as connection, pytest.raises(InputError, match="project name"):
        add_project(connection, name)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (["only"], "at least two"),
        (["a", "a"], "named twice: a"),
        (["a", ""], "Not a usable class name"),
        (["a", " b"], "Not a usable class name"),
        (["a", "b\x00"], "Not a usable class name"),
        (["a", "b\tc"], "Not a usable class name"),
        (["a", "x" * 201], "Not a usable class name"),
        (["\u00e9", "e\u0301"], "named twice"),
    ],
)
def test_create__unusable_classes(catalog: Catalog, classes: list[str], says: str) -> None:
    with catalog.write() as connection, pytest.raises(InputError, match=says):
        projects.create(connection, "parts", class_names=classes)


def test_create__class_names_are_composed(catalog: Catalog) -> None:
    with catalog.write() as connection:
        made = projects.create(connection, "parts", class_names=["e\u0301te", "ok"])
    assert made.classes == ("\u00e9te", "ok")


def test_find__names_the_projects_there_are(catalog: Catalog) -> None:
    with catalog.read() as connection, pytest.raises(NotFound, match="There are: none yet"):
        projects.find(connection, "parts")
    with catalog.write() as connection:
        add_project(connection)
    with catalog.read() as connection:
        assert projects.find(connection, "parts").name == "parts"
        with pytest.raises(NotFound, match="There are: parts"):
            projects.find(connection, "others")


def test_get__unknown(catalog: Catalog) -> None:
    with catalog.read() as connection, pytest.raises(NotFound, match="No project 99"):
        projects.get(connection, 99)


def test_set_state__there_and_back(catalog: Catalog) -> None:
    with catalog.write() as connection:
        made = add_project(connection)
    for state in ("archived", "deleted", "active"):
        with catalog.write() as connection:
            projects.set_state(connection, made.id, state)
        with catalog.read() as connection:
            assert projects.get(connection, made.id).state == state
    with catalog.read() as connection:
        acts = [entry["act"] for entry in audit.entries(connection, made.id)]
    assert acts == ["project-active", "project-deleted", "project-archived", "create-project"]


def test_add_classes__behind_the_known_ones(catalog: Catalog) -> None:
    with catalog.write() as connection:
        made = add_project(connection)
        grown = projects.add_classes(connection, made.id, ["bad", "worse"])
        again = projects.add_classes(connection, made.id, ["worse"])
    assert grown.classes == ("ok", "bad", "worse")
    assert grown.class_ids[:2] == made.class_ids
    assert again == grown


def test_create__none_of_these_only_where_it_says_something_new(catalog: Catalog) -> None:
    with catalog.write() as connection:
        for task in ("multi-label", "boxes"):
            with pytest.raises(InputError, match=f"A {task} project needs no class for none"):
                projects.create(
                    connection, "p", class_names=["a", "b"], task=task, none_of_these="none"
                )
        made = projects.create(connection, "p", class_names=["a", "b"], none_of_these="none")
        assert (made.classes, made.none_of_these) == (("a", "b", "none"), made.class_ids[2])
        assert projects.add_classes(connection, made.id, [], none_of_these="none") == made
