"""A round follows the plans in force: real embeddings, and the truth in people's place."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from curation import balance
from curation.balance import Options, copies
from curation.balance.quotas import Quota
from curation.catalog import images as image_rows
from curation.catalog import labels, plans, reserve, rounds, runs
from curation.records import LabelRow, RoundRecord
from curation.workspace import Project
from tests.catalog.rows import add_label
from tests.searchable import copied
from training import runs as run_files
from training.heads.head import Head, fit_head
from training.rounds import active_loop, batch
from training.rounds.active_loop import RoundSettings
from training.settings import HeadSettings
from training.strategies import Selection


class Nobody:
    """People who answer nothing: every label stands in the catalog already."""

    def offer(self, round: RoundRecord, report: object) -> None:
        pass

    def collect(self, report: object) -> dict[str, int]:
        return {"images": 0, "annotations": 0}


@pytest.fixture
def project(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """24 photos, half of them the reserve; of the others, six have a label: five a, one b."""
    found = copied(tmp_path_factory.getbasetemp(), tmp_path / "w")
    with found.catalog.write() as connection:
        reserve.freeze(connection, found.id)
        kept = {row.image_id for row in reserve.rows(connection, found.id)}
        ids = [key for key, _ in image_rows.usable(connection, found.id) if key not in kept]
        first, second = found.record.class_ids
        for key, class_id in zip(ids, [first] * 5 + [second], strict=False):
            add_label(connection, found.record, key, class_id)
        studios = {key: {"studio": "x" if n % 3 else "y"} for n, key in enumerate(ids)}
        image_rows.put_metadata(connection, found.id, studios)
    yield found
    found.catalog.close()


def run(project: Project, *, budget: int = 4) -> RoundRecord:
    return active_loop.run(project, RoundSettings(budget=budget, reserve=2), Nobody())


def trained(project: Project, round: RoundRecord) -> tuple[Head, dict[str, object]]:
    assert round.run_id is not None
    with project.catalog.read() as connection:
        settings = runs.get(connection, round.run_id)["settings"]
    return run_files.load_head(project, round.run_id), settings


def known(project: Project) -> list[LabelRow]:
    with project.catalog.read() as connection:
        return labels.for_training(connection, project.id)


def put(project: Project, remedy: str, options: Options | None = None) -> int:
    plan = balance.apply(project, balance.propose(project, remedy, options))
    assert plan.id is not None
    return plan.id


def test_train__without_a_plan_as_before(project: Project) -> None:
    _, settings = trained(project, run(project))
    assert settings["class-weight"] == "balanced"
    assert "plan" not in settings


def test_train__the_plan_replaces_the_own_weights_and_is_named(project: Project) -> None:
    plan = put(project, "class-weights", Options(rule="effective-number", beta=0.0))
    head, settings = trained(project, run(project))
    assert settings["class-weight"] == "none"
    assert settings["plan"] == {"id": plan, "remedy": "class-weights"}

    # With beta 0 a label is a label: the head of a training without any weights.
    X, y, classes = labeled(project)
    plain = fit_head(X, y, classes=classes, settings=HeadSettings(class_weight="none"))
    assert np.allclose(head.weight, plain.weight, atol=1e-3)


def labeled(project: Project) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    from curation import features
    from curation.embeddings import EmbeddingStore

    prepared = features.prepare(project)
    store = EmbeddingStore(prepared.folder, prepared.fingerprint)
    rows = known(project)
    y = np.array([project.record.class_ids.index(row.classes[0]) for row in rows])
    return store.read([row.image_id for row in rows]), y, project.record.classes


def test_train__what_a_plan_leaves_out_is_not_seen(project: Project) -> None:
    put(project, "undersampling", Options(target=2))
    rows = known(project)
    kept = balance.weights(project, rows) > 0
    assert kept.sum() == 3
    head, _ = trained(project, run(project))

    X, y, classes = labeled(project)
    fewer = fit_head(X[kept], y[kept], classes=classes)
    assert np.allclose(head.probabilities(X), fewer.probabilities(X), atol=1e-3)


def test_train__augmented_copies_are_learned_from(project: Project) -> None:
    put(project, "augmentation", Options(target=4, recipe="light"))
    head, settings = trained(project, run(project))
    assert settings["plan"]["remedy"] == "augmentation"  # type: ignore[index]
    X, y, classes = labeled(project)
    plan = balance.in_force(project)["balance"]
    assert plan["augmentation"] == {"b": 3}
    of, more = copies.embed(project, known(project), plan, backbone="tf_efficientnet_lite0")
    assert [classes[y[row]] for row in of] == ["b"] * 3
    likeness = more @ X[of[0]]
    assert np.all(likeness > 0.5)
    assert np.all(likeness < 0.999)
    filled = fit_head(np.concatenate([X, more]), np.concatenate([y, y[of]]), classes=classes)
    assert np.allclose(head.probabilities(X), filled.probabilities(X), atol=1e-3)


def test_select__a_quota_by_slice_comes_first(project: Project) -> None:
    plan = put(project, "labeling-quota", Options(by="studio", budget=4))
    found = run(project)
    with project.catalog.read() as connection:
        ledger = rounds.ledger(connection, found.id, queue="batch")
        studios = image_rows.metadata_of_many(connection, [row.image_id for row in ledger])
        chosen = rounds.steps(connection, found.id)["select"]["result"]
    first = [studios[row.image_id]["studio"] for row in ledger[:2]]
    assert first == ["y", "y"]
    assert [row.reason.startswith("quota for studio y; ") for row in ledger] == [
        True,
        True,
        False,
        False,
    ]
    assert len({row.image_id for row in ledger}) == 4
    assert chosen["quota"] == {"plan": plan, "filled": {"y": 2}}


def test_select__a_quota_by_predicted_class(project: Project) -> None:
    with project.catalog.write() as connection:
        for row in known(project)[:2]:  # so that the model says b now and then
            add_label(connection, project.record, row.image_id, project.record.class_ids[1])
        plans.put(connection, project.id, "labeling-quota", {"column": None, "quota": {"b": 0.5}})
    found = run(project)
    with project.catalog.read() as connection:
        ledger = rounds.ledger(connection, found.id, queue="batch")
        filled = rounds.steps(connection, found.id)["select"]["result"]["quota"]["filled"]
    wanted = [row for row in ledger if row.reason.startswith("quota for predicted class b; ")]
    assert len(wanted) == filled["b"] > 0
    assert {row.prelabel_class_id for row in wanted} == {project.record.class_ids[1]}
    assert len(ledger) == 4


def test_of_batch__shares_smaller_than_half_an_image_are_not_rounded_away() -> None:
    shares = {f"s{number:02}": 0.05 for number in range(20)}
    quota = Quota(plan=1, column="studio", shares=shares, poured=None)
    many = dict.fromkeys(shares, 9)
    given = quota.of_batch(9, now={"s00": 4, "s01": 4}, room=many)
    assert sum(given.values()) == 9
    assert max(given.values()) == 1
    assert given["s00"] == given["s01"] == 0, "those with fewest labels come first"
    assert quota.of_batch(40, now={}, room=many) == dict.fromkeys(shares, 2)


def test_select__a_bias_quota_is_followed(project: Project) -> None:
    from ui import auditing

    made = auditing.plan(project, ["studio"], "quota", budget=4, apply=True)
    asked = {row["slice"]["studio"]: row["given"] for row in made["slices"] if row["given"]}
    found = run(project)
    with project.catalog.read() as connection:
        ledger = rounds.ledger(connection, found.id, queue="batch")
        quota = rounds.steps(connection, found.id)["select"]["result"]["quota"]
    names = [row.reason.split("; ")[0].removeprefix("quota for studio ") for row in ledger]
    assert Counter(names) == {name or "(no value)": n for name, n in asked.items()}
    assert quota == {"plan": made["plan"], "filled": dict(Counter(names))}


def test_fill__what_the_pool_lacks_goes_to_others() -> None:
    def choose(ids: Sequence[int], n: int, besides: Sequence[int]) -> Selection:
        assert not set(ids) & set(besides)
        picked = np.array(ids[:n])
        return Selection(ids=picked, scores=np.zeros(n), reasons=("first",) * n, strategy="first")

    members = {"bag": [7], "coat": [7, 8, 9], "boot": []}
    wanted = {"bag": 2, "coat": 1, "boot": 2}
    chosen, filled = batch.fill(wanted, members, list(range(10)), 5, choose, of="class")
    assert chosen.ids.tolist() == [7, 8, 0, 1, 2]
    assert filled == {"bag": 1, "coat": 1, "boot": 0}
    assert chosen.reasons[:3] == (
        "quota for class bag; first",
        "quota for class coat; first",
        "first",
    )
