"""Splits over real catalogs, whose images need no files; what is divided is drawn by Hypothesis."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from curation import ingest, sources, splits, workspace
from curation.catalog import audit, groups, images, labels, pool, reserve, rounds
from curation.catalog import splits as split_rows
from curation.errors import Cancelled, InputError, NotFound
from curation.records import LedgerRow
from curation.splits.division import Components, divide, drawn
from curation.workspace import Project
from tests.catalog.rows import add_images, add_label, hashes

NAMES = (f"project-{number}" for number in itertools.count())


@dataclass(frozen=True)
class Drawn:
    """One image: which pixels it has, whose it is, which class it bears; -1 for none."""

    pixels: int
    patient: int
    label: int


def fill(project: Project, drawn: Sequence[Drawn], *, folder: str = "photos") -> list[int]:
    with project.catalog.write() as connection:
        ids = add_images(
            connection,
            project.record,
            [f"hash-{image.pixels}" for image in drawn],
            folder=folder,
            metadata={
                number: {"patient": f"p{image.patient}"}
                for number, image in enumerate(drawn)
                if image.patient >= 0
            },
        )
        for image_id, image in zip(ids, drawn, strict=True):
            if image.label >= 0:
                add_label(
                    connection, project.record, image_id, project.record.class_ids[image.label]
                )
    return ids


def plain(project: Project, count: int, *, classes: int = 0) -> list[int]:
    """So many different images, labeled in turn where there are classes."""
    drawn = [Drawn(n, -1, n % classes if classes else -1) for n in range(count)]
    return fill(project, drawn)


def read(project: Project, name: str = "default") -> dict[int, str]:
    return dict(splits.parts(project, name))


def together(drawn: Sequence[Drawn], *, by_patient: bool) -> list[set[int]]:
    """Which of these images hang together, by searching."""
    left, found = set(range(len(drawn))), []
    while left:
        component, frontier = set(), {min(left)}
        while frontier:
            component |= frontier
            frontier = {
                other
                for other in left - component
                for one in component
                if drawn[one].pixels == drawn[other].pixels
                or (by_patient and drawn[one].patient == drawn[other].patient >= 0)
            }
        left -= component
        found.append(component)
    return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Project]:
    """Makes new projects in one workspace, which is quicker than a workspace each."""
    folder = tmp_path_factory.mktemp("splits") / "workspace"

    def make() -> Project:
        return workspace.create_project(
            folder, name=next(NAMES), class_names=["ok", "scratch", "dent"], seed=5
        )

    return make


IMAGES = st.lists(
    st.builds(Drawn, st.integers(0, 25), st.integers(-1, 12), st.integers(-1, 2)),
    min_size=6,
    max_size=40,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    first=IMAGES,
    later=IMAGES,
    by_patient=st.booleans(),
    stratify=st.sampled_from(["label", "none"]),
    folds=st.sampled_from([None, None, 3]),
)
def test_assign__never_leaks_and_never_moves(
    shared: Callable[[], Project],
    first: list[Drawn],
    later: list[Drawn],
    by_patient: bool,
    stratify: str,
    folds: int | None,
) -> None:
    project = shared()
    ids = fill(project, first)
    by = ["patient"] if by_patient and any(image.patient >= 0 for image in first) else []
    components = together(first, by_patient=bool(by))
    if len(components) < 3:
        with pytest.raises(InputError, match="sets of images that stay together"):
            splits.assign(project, by=by, folds=folds, stratify=stratify)
        return
    made = splits.assign(project, by=by, folds=folds, stratify=stratify)
    parts = read(project)
    assert set(parts) == set(ids)  # complete; one part each
    for component in components:
        assert len({parts[ids[row]] for row in component}) == 1
    assert made.leaks == made.left_out == 0
    assert dict(Counter(parts.values())) == made.parts
    largest = max(map(len, components))
    for part, share in made.settings.shares.items():
        assert abs(made.parts[part] - share * len(first)) <= 2 * largest + 2
    # Images that come later may tie together what lies in different parts.
    new = fill(project, later, folder="later")
    joined = splits.assign(project)
    assert joined.joined == len(new)
    now = read(project)
    assert set(now) == {*ids, *new}
    assert all(now[key] in (part, "left-out") for key, part in parts.items())
    assert [(n, p) for p, n in sorted(splits.check(project).parts.items())] == [
        (n, p) for p, n in sorted(joined.parts.items())
    ]
    everything = [*first, *later]
    every_id = [*ids, *new]
    for component in together(everything, by_patient=bool(by)):
        here = {now[every_id[row]] for row in component}
        assert len(here - {"left-out"}) == 1
        if len(before := {parts[key] for row in component if (key := every_id[row]) in parts}) == 1:
            assert here == before  # new images follow
    assert joined.left_out == sum(part == "left-out" for part in now.values())
    assert read(project) == now
    assert splits.assign(project).joined == 0


def test_assign__classes_keep_their_shares(project: Project) -> None:
    fill(project, [Drawn(n, -1, 0 if n % 10 else 1) for n in range(400)])
    made = splits.assign(project)
    assert made.parts == {"train": 280, "validation": 60, "test": 60}
    assert made.classes["test"] == {"ok": 54, "scratch": 6, "dent": 0}
    assert made.classes["train"]["scratch"] == 28


def test_assign__the_same_again_for_the_same_seed(shared: Callable[[], Project]) -> None:
    found = []
    for _ in range(2):
        project = shared()
        ids = plain(project, 60, classes=3)
        splits.assign(project, shares={"train": 0.5, "test": 0.5})
        parts = read(project)
        found.append([parts[key] for key in ids])
    assert found[0] == found[1]


def test_assign__by_a_column(project: Project) -> None:
    drawn = [Drawn(n, n % 4, -1) for n in range(80)]
    fill(project, drawn)
    made = splits.assign(project, stratify="patient", shares={"train": 0.5, "test": 0.5})
    assert made.parts == {"train": 40, "test": 40}
    with pytest.raises(InputError, match="30 values in 40 images"):
        splits.assign(
            project_of(project, [Drawn(n, n % 30, -1) for n in range(40)]), stratify="patient"
        )


def project_of(other: Project, drawn: Sequence[Drawn]) -> Project:
    """Another project in the same workspace."""
    made = workspace.create_project(
        other.workspace.path, name=next(NAMES), class_names=["ok", "bad"], seed=1
    )
    fill(made, drawn)
    return made


def test_divide__several_labels_at_once() -> None:
    """Each label keeps its share, also those that often come together."""
    rng = np.random.default_rng(3)
    table = (rng.random((600, 6)) < [0.5, 0.3, 0.1, 0.05, 0.3, 0.02]).astype(np.int64)
    table[:, 4] |= table[:, 0]
    table = table[table.any(axis=1)]
    shares = np.array([0.7, 0.15, 0.15])
    components = Components(np.ones(len(table), np.int64), csr_array(table))
    part = divide(components, shares, fixed=np.full(len(table), -1, np.int16), rng=rng)
    for number, share in enumerate(shares):
        found = table[part == number].sum(axis=0)
        assert np.abs(found - share * table.sum(axis=0)).max() < 4
        assert abs((part == number).sum() - share * len(table)) < 12


def test_divide__many_rare_strata_do_not_all_go_to_train() -> None:
    table = csr_array(np.eye(300, dtype=np.int64))
    shares = np.array([0.7, 0.15, 0.15])
    fixed = np.full(300, -1, np.int16)
    part = divide(
        Components(np.ones(300, np.int64), table), shares, fixed=fixed, rng=np.random.default_rng(0)
    )
    assert np.abs(np.bincount(part) - 300 * shares).max() <= 1


def test_drawn__follows_the_shares() -> None:
    shares = np.array([0.7, 0.0, 0.3])
    numbers = np.arange(20_000)
    part = drawn(numbers, shares, seed=1, name="default")
    counts = np.bincount(part, minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] - 14_000) < 300  # a standard deviation is 65
    assert (part != drawn(numbers, shares, seed=2, name="default")).any()
    assert (drawn(numbers[5:9], shares, seed=1, name="default") == part[5:9]).all()


def test_assign__another_setting_is_refused_with_a_way_out(project: Project) -> None:
    plain(project, 30)
    splits.assign(project, shares={"train": 0.8, "test": 0.2})
    for wrong in ({"folds": 5}, {"shares": {"train": 0.7, "test": 0.3}}, {"stratify": "none"}):
        with pytest.raises(InputError, match=r"--name, or remove .* --remove default --yes"):
            splits.assign(project, **wrong)  # type: ignore[arg-type]
    splits.assign(project, shares={"train": 0.8, "test": 0.2})
    splits.assign(project, folds=5, name="folds")
    assert splits.remove(project, "folds") == 30
    with pytest.raises(NotFound, match="There are: default"):
        splits.remove(project, "folds")
    with project.catalog.read() as connection:
        acts = [row["act"] for row in audit.entries(connection, project.id)]
    assert acts[:3] == ["split-remove", "split", "split"]


def test_assign__dry_run_and_cancelling_write_nothing(project: Project) -> None:
    plain(project, 30)
    assert splits.assign(project, dry_run=True).images == 30

    def stop(done: int, total: int, says: str) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        splits.assign(project, report=stop)
    with pytest.raises(NotFound, match="labelloop split"):
        read(project)
    with project.catalog.read() as connection:
        assert not audit.has(connection, project.id, "split")


def test_assign__of_nothing_to_divide(project: Project) -> None:
    with pytest.raises(InputError, match="labelloop import"):
        splits.assign(project)
    fill(project, [Drawn(n, 1, -1) for n in range(10)])
    with pytest.raises(InputError, match=r"the 10 images are one set\. Name fewer columns"):
        splits.assign(project, by=["patient"])
    with pytest.raises(InputError, match=r"12 folds need 12 sets .* or lower --folds"):
        splits.assign(project, folds=12)
    with pytest.raises(InputError, match=r"has the column 'nope'\. The columns are patient\."):
        splits.assign(project, by=["nope"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("70/15/10", "sum to 95"), ("0.7/0.2/0.2", "sum to 1.1"), ("a/b/c", "Cannot read"),
        ("100/0/0", "train and one part more"), ("120/-10/-10", "between 0 and 1"),
    ],
)  # fmt: skip
def test_parse_shares__refuses(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        splits.parse_shares(text)


def test_parse_shares__reads_percents_and_fractions() -> None:
    assert splits.parse_shares("70/15/15") == splits.parse_shares("0.7/0.15/0.15")
    assert splits.parse_shares("80/20") == {"train": 0.8, "validation": 0.0, "test": 0.2}


def test_check__a_class_that_is_absent_from_a_part(project: Project) -> None:
    fill(project, [Drawn(n, -1, 0) for n in range(40)] + [Drawn(90, -1, 1)])
    splits.assign(project)
    said = {row.kind: row for row in splits.check(project).findings}
    assert "class scratch" in said["class-absent"].says
    assert sorted(said["class-absent"].counts.values()) == [0, 0, 1]


def test_check__copies_found_later_leave_the_training_side_out(project: Project) -> None:
    ids = plain(project, 40, classes=3)
    splits.assign(project)
    before = read(project)
    trained = next(key for key in ids if before[key] == "train")
    tested = next(key for key in ids if before[key] == "test")
    with project.catalog.write() as connection:
        groups.regroup(connection, project.id, [[trained, tested]])
    for _ in range(2):  # before the split is run again, and behind it
        assert read(project) == {**before, trained: "left-out"}
        found = splits.check(project)
        assert (found.leaks, found.left_out) == (1, 1)
        assert found.findings[0].kind == "leak"
        assert len(found.findings[0].images) == 2
        with project.catalog.read() as connection:
            learned = {row.image_id for row in labels.for_training(connection, project.id)}
        assert learned == {key for key in ids if before[key] == "train"} - {trained}
        splits.assign(project)
    with project.catalog.write() as connection:
        groups.regroup(connection, project.id, [])
    assert read(project) == before


# The reserve --------------------------------------------------------------------------------------


def test_assign__follows_a_reserve_that_was_drawn_before(project: Project) -> None:
    plain(project, 300)
    with project.catalog.write() as connection:
        reserve.freeze(connection, project.id)
    splits.assign(project)
    assert halves_lie_right(project)
    fill(project, [Drawn(n, -1, -1) for n in range(500, 800)], folder="later")
    with project.catalog.read() as connection:
        before = len(reserve.rows(connection, project.id))
    assert splits.join(project) == 300
    assert halves_lie_right(project)
    with project.catalog.write() as connection:
        grown = len(reserve.rows(connection, project.id)) - before
        assert reserve.freeze(connection, project.id) == 0
    # New images join the reserve as often as the first ones did: 150 of 300, deviation 8.7.
    assert abs(grown - 150) < 45


def halves_lie_right(project: Project) -> bool:
    parts = read(project)
    expected = {"holdout": "test", "calibration": "validation"}
    with project.catalog.read() as connection:
        rows = reserve.rows(connection, project.id)
    return bool(rows) and all(parts[row.image_id] == expected[row.half] for row in rows)


def test_assign__feeds_a_reserve_that_is_drawn_behind_it(project: Project) -> None:
    drawn = [Drawn(n, n // 4, n % 3) for n in range(400)]
    fill(project, drawn)
    splits.assign(project, by=["patient"])
    with project.catalog.write() as connection:
        reserve.freeze(connection, project.id)
    assert halves_lie_right(project)
    with pytest.raises(InputError, match="reserve was drawn from"):
        splits.remove(project, "default")
    later = fill(project, [Drawn(n, n // 4, -1) for n in range(400, 600)], folder="later")
    with project.catalog.write() as connection:
        assert reserve.freeze(connection, project.id) == 0  # they have no part yet
    splits.join(project)
    with project.catalog.write() as connection:
        assert reserve.freeze(connection, project.id) > 0
        chosen = {row.id for row in pool.find(connection, project.id)}
    assert halves_lie_right(project)
    parts = read(project)
    assert chosen == {key for key in later if parts[key] == "train"}


def test_assign__what_rounds_have_chosen_is_in_train(project: Project) -> None:
    ids = plain(project, 60)
    with project.catalog.write() as connection:
        started = rounds.start(connection, project.id, {})
        sent = [LedgerRow(key, "batch", rank) for rank, key in enumerate(ids[:20])]
        rounds.plan(connection, project.id, started.id, sent)
    made = splits.assign(project)
    parts = read(project)
    assert {parts[key] for key in ids[:20]} == {"train"}
    assert made.parts == {"train": 42, "validation": 9, "test": 9}
    assert "chosen" in {row.kind for row in made.findings}


def test_parts__an_excluded_image_keeps_its_part_and_does_not_count(project: Project) -> None:
    ids = plain(project, 40, classes=2)
    made = splits.assign(project)
    part_of = read(project)
    out = next(key for key in ids if part_of[key] == "test")
    with project.catalog.write() as connection:
        images.set_state(connection, [out], "excluded", reason="blurred")
    assert set(read(project)) == set(ids) - {out}
    found = splits.check(project)
    assert found.images == 39
    assert found.parts == {**made.parts, "test": made.parts["test"] - 1}
    assert found.labeled == found.parts
    assert sum(found.classes["test"].values()) == found.parts["test"]
    with project.catalog.write() as connection:
        images.set_state(connection, [out], "ok", reason="")
    assert read(project) == part_of


def test_join__copies_found_later_tie_what_a_column_holds_together(project: Project) -> None:
    ids = fill(project, [Drawn(n, n // 2, -1) for n in range(80)])
    splits.assign(project, by=["patient"])
    part_of = read(project)
    train = next(key for key in ids[::2] if part_of[key] == "train")
    test = next(key for key in ids[::2] if part_of[key] == "test")
    with project.catalog.write() as connection:
        groups.regroup(connection, project.id, [[train, test]])
    assert splits.join(project) == 0, "no image is new"
    # The patient's other image has no copy in test, but the patient is there now.
    assert [read(project)[key] for key in (train, train + 1)] == ["left-out"] * 2
    with project.catalog.read() as connection:
        assert train + 1 not in {row.id for row in pool.find(connection, project.id)}


# Folds --------------------------------------------------------------------------------------------


def test_folds__each_image_is_tested_once(project: Project) -> None:
    ids = fill(project, [Drawn(n, n // 2, n % 3) for n in range(90)])
    splits.assign(project, folds=5, by=["patient"], name="cv")
    found = list(splits.folds(project, "cv"))
    assert [fold.name for fold in found] == [f"fold-{number}" for number in range(1, 6)]
    assert sorted(key for fold in found for key in fold.test.tolist()) == ids
    for fold in found:
        assert sorted([*fold.train.tolist(), *fold.test.tolist()]) == ids
        assert abs(len(fold.test) - 18) <= 2  # by twos, whose classes differ
    splits.assign(project, name="plain")
    with pytest.raises(InputError, match="--folds 5"):
        list(splits.folds(project, "plain"))


@pytest.mark.parametrize("with_reserve", [False, True])
def test_folds__without_the_reserve_unless_asked(project: Project, with_reserve: bool) -> None:
    ids = plain(project, 100)
    with project.catalog.write() as connection:
        reserve.freeze(connection, project.id)
        reserved = {row.image_id for row in reserve.rows(connection, project.id)}
    splits.assign(project, folds=4, with_reserve=with_reserve, name="cv")
    tested = {key for fold in splits.folds(project, "cv") for key in fold.test.tolist()}
    assert tested == (set(ids) if with_reserve else set(ids) - reserved)
    assert reserved


# Imported splits ----------------------------------------------------------------------------------


def test_assign__adopts_the_split_of_a_column(project: Project) -> None:
    names = ["train"] * 12 + ["val"] * 4 + ["test"] * 4
    with project.catalog.write() as connection:
        ids = add_images(
            connection,
            project.record,
            [*hashes(19), "hash-0"],  # the last is a copy of the first, in test
            metadata={n: {"split": name, "patient": f"p{n}"} for n, name in enumerate(names)},
        )
    looked = splits.check(project)
    assert looked.parts == {"train": 12, "validation": 4, "test": 4}
    assert (looked.stored, looked.leaks) == (False, 1)
    made = splits.assign(project, from_imported=True)
    assert made.parts == looked.parts
    parts = read(project)
    assert parts[ids[0]] == "left-out"
    assert [parts[key] for key in ids[1:]] == ["train"] * 11 + ["validation"] * 4 + ["test"] * 4
    with project.catalog.write() as connection:
        new = add_images(
            connection,
            project.record,
            ["hash-1", "n-1", "n-2"],
            folder="later",
            metadata={1: {"split": "val"}},
        )
    assert splits.join(project) == 3
    now = read(project)
    assert {key: now[key] for key in ids} == parts
    assert [now[key] for key in new[:2]] == ["train", "validation"]
    assert now[new[2]] in split_rows.PARTS


def test_assign__adopts_the_split_of_folders(
    project: Project, make_images: Callable[..., Path]
) -> None:
    root = make_images(*(f"{part}/{n}.png" for part in ("train", "test") for n in range(3)))
    ingest.run(project, sources.understand(root, known_classes=project.record.classes))
    splits.assign(project, from_imported=True)
    with project.catalog.read() as connection:
        names = images.names_by_id(connection, list(read(project)))
    assert {names[key]: part for key, part in read(project).items()} == {
        f"{part}/{n}.png": part for part in ("train", "test") for n in range(3)
    }


def test_assign__without_an_imported_split(project: Project) -> None:
    plain(project, 10)
    with pytest.raises(InputError, match="came without a split"):
        splits.assign(project, from_imported=True)
    with pytest.raises(NotFound, match="nor did the images come with one"):
        splits.check(project)


def test_parts__of_folds_by_group(project: Project) -> None:
    """A copy that turns up in another fold is left out of one of them."""
    ids = plain(project, 20)
    splits.assign(project, folds=2)
    before = read(project)
    one = next(key for key in ids if before[key] == "fold-1")
    other = next(key for key in ids if before[key] == "fold-2")
    with project.catalog.write() as connection:
        groups.regroup(connection, project.id, [[one, other]])
    counted: dict[str, list[int]] = defaultdict(list)
    for key, part in read(project).items():
        counted[part].append(key)
    assert counted["left-out"] == [other]
