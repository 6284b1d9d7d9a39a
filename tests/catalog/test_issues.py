from curation.catalog import Catalog, images, issues
from curation.catalog.issues import IssueRow
from curation.issues.table import Issue
from tests.catalog.rows import add_images, add_project, hashes


def dark(image_id: int, score: float, *, is_issue: bool = True) -> Issue:
    return Issue(image_id, "dark", score, is_issue, f"darkness {score}")


def test_replace__only_the_kinds_named(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(3))
        copy = Issue(ids[1], "near-duplicate", 0.9, True, "mirrored", (ids[0],))
        wrong = Issue(ids[2], "wrong-label", 0.7, True, "like bad", (), project.class_ids[1])
        issues.replace(connection, project.id, ["near-duplicate", "wrong-label"], [copy, wrong])
        issues.replace(connection, project.id, ["dark", "bright"], [dark(ids[0], 0.5)])
        assert issues.replace(connection, project.id, ["dark"], [dark(ids[1], 0.25)]) == 1
        found = list(issues.find(connection, project.id))
    assert found == [
        IssueRow(ids[1], "photos/00001.png", "dark", 0.25, True, "darkness 0.25", (), None),
        IssueRow(
            ids[1], "photos/00001.png", "near-duplicate", 0.9, True, "mirrored", (ids[0],), None
        ),
        IssueRow(
            ids[2],
            "photos/00002.png",
            "wrong-label",
            0.7,
            True,
            "like bad",
            (),
            project.class_ids[1],
        ),
    ]


def test_replace__leaves_other_projects(catalog: Catalog) -> None:
    with catalog.write() as connection:
        one, other = add_project(connection, "one"), add_project(connection, "other")
        (mine,), (yours,) = (add_images(connection, project, ["a"]) for project in (one, other))
        issues.replace(connection, one.id, ["dark"], [dark(mine, 0.5)])
        issues.replace(connection, other.id, ["dark"], [dark(yours, 0.5)])
        issues.replace(connection, one.id, ["dark"], [])
        assert list(issues.find(connection, one.id)) == []
        assert [row.image_id for row in issues.find(connection, other.id)] == [yours]


def test_find__worst_first_and_in_pages(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(2500))
        rows = [dark(key, (key * 7 % 100) / 99) for key in ids]
        rows += [Issue(key, "bright", key / 5000, True, "light") for key in ids[:5]]
        issues.replace(connection, project.id, ["dark", "bright"], iter(rows))
        whole = list(issues.find(connection, project.id))
        assert len(whole) == 2505
        assert [row.kind for row in whole] == ["bright"] * 5 + ["dark"] * 2500
        scores = [row.score for row in whole[5:]]
        assert scores == sorted(scores, reverse=True)
        paged: list[IssueRow] = []
        while page := list(
            issues.find(connection, project.id, after=paged[-1] if paged else None, most=997)
        ):
            paged += page
        assert paged == whole
        assert list(issues.find(connection, project.id, kinds=["dark"], most=3)) == whole[5:8]
        assert list(issues.find(connection, project.id, kinds=[], most=3)) == []


def test_find__innocent_and_set_aside_images_only_when_asked_for(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(3))
        rows = [dark(ids[0], 0.9), dark(ids[1], 0.8), dark(ids[2], 0.1, is_issue=False)]
        issues.replace(connection, project.id, ["dark"], rows)
        images.set_state(connection, [ids[0]], "excluded", reason="dark")
        assert [row.image_id for row in issues.find(connection, project.id)] == [ids[1]]
        innocent = issues.find(connection, project.id, only_issues=False)
        assert [row.image_id for row in innocent] == ids[1:]
        every = issues.find(connection, project.id, usable_only=False)
        assert [row.image_id for row in every] == ids[:2]
        assert issues.count_by_kind(connection, project.id) == {"dark": 1}
        images.set_state(connection, [ids[0]], "ok")
        assert issues.count_by_kind(connection, project.id) == {"dark": 2}


def test_count_by_kind__what_was_looked_for_and_not_found(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        (key,) = add_images(connection, project, ["a"])
        assert issues.count_by_kind(connection, project.id) == {}
        issues.replace(connection, project.id, ["dark"], [dark(key, 0.1, is_issue=False)])
        assert issues.count_by_kind(connection, project.id) == {"dark": 0}


def test_of_image__issues_first(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        ids = add_images(connection, project, hashes(2))
        rows = [
            Issue(ids[0], "bright", 0.9, False, ""),
            Issue(ids[0], "dark", 0.3, True, ""),
            Issue(ids[0], "outlier", 0.4, True, ""),
            Issue(ids[1], "dark", 0.4, True, ""),
        ]
        issues.replace(connection, project.id, ["bright", "dark", "outlier"], rows)
        assert [row.kind for row in issues.of_image(connection, ids[0])] == [
            "outlier",
            "dark",
            "bright",
        ]
