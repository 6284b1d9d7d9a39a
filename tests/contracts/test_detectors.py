"""What every detector promises, whichever it is."""

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from curation import features, issues
from curation.catalog import images as image_rows
from curation.catalog import labels
from curation.embeddings import EmbeddingStore
from curation.issues import DETECTORS
from curation.issues.evidence import Evidence
from curation.issues.table import Issue, Kind
from curation.scan import ScanStore
from curation.workspace import Project
from labeling import consensus
from tests import searchable
from tests.catalog.rows import add_imported
from training.heads import out_of_fold

NAMES = sorted(DETECTORS)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """24 real photos, labeled in two classes at random, so that there is something to doubt."""
    base = tmp_path_factory.getbasetemp()
    made = searchable.copied(base, tmp_path_factory.mktemp("detectors") / "shop")
    with made.catalog.write() as connection:
        ids = sorted(key for key, _ in image_rows.usable(connection, made.id))
        first, second = made.record.class_ids
        given = {key: (first if at % 2 else second,) for at, key in enumerate(ids)}
        add_imported(connection, made.id, given)
        consensus.settle(connection, made, ids)
    issues.detect(made, out_of_fold=out_of_fold.probabilities)
    return made


@pytest.fixture(scope="module")
def evidence(project: Project) -> Evidence:
    with project.catalog.read() as connection:
        ids = np.array(sorted(key for key, _ in image_rows.usable(connection, project.id)))
        groups = image_rows.groups_of(connection, ids.tolist())
        labeled = {row.image_id: row for row in labels.every(connection, project.id)}
    prepared = features.prepare(project)
    made = Evidence(
        project=project,
        ids=ids,
        groups=np.array([groups[key] for key in ids.tolist()]),
        scans=ScanStore(project.workspace.folder("scans")),
        embeddings=EmbeddingStore(prepared.folder, prepared.fingerprint),
        labels=labeled,
        out_of_fold=out_of_fold.probabilities,
    )
    assert len(made.scans.ids()) == len(ids)
    return made


def rows(name: str, evidence: Evidence) -> list[Issue]:
    return list(DETECTORS[name].find(evidence))


def pieces(evidence: Evidence) -> Iterator[tuple[int, Evidence]]:
    """The evidence of none, one, two and three images."""
    for count in range(4):
        yield (
            count,
            replace(evidence, ids=evidence.ids[:count], groups=evidence.groups[:count]),
        )


def test_kinds__each_belongs_to_one_detector() -> None:
    assert sorted(issues.KINDS) == sorted(get_args(Kind))


@pytest.mark.parametrize("name", NAMES)
def test_find__rows_are_within_the_contract(name: str, evidence: Evidence) -> None:
    found = rows(name, evidence)
    assert len({(row.image_id, row.kind) for row in found}) == len(found)
    assert [row.image_id for row in found] == sorted(row.image_id for row in found)
    for row in found:
        assert row.kind in DETECTORS[name].kinds
        assert row.image_id in evidence.ids
        assert np.isfinite(row.score)
        assert 0 <= row.score <= 1
        assert row.reason.strip()
        assert "\n" not in row.reason
        assert row.image_id not in row.related
        assert set(row.related) <= set(evidence.ids.tolist())
        if row.suggested_class_id is not None:
            assert row.kind in ("wrong-label", "group-conflict")
            assert row.suggested_class_id in evidence.project.record.class_ids


@pytest.mark.parametrize("name", NAMES)
def test_find__is_repeatable(name: str, evidence: Evidence) -> None:
    assert rows(name, evidence) == rows(name, evidence)


@pytest.mark.parametrize("name", NAMES)
def test_find__of_hardly_any_images_is_a_table(name: str, evidence: Evidence) -> None:
    for count, few in pieces(evidence):
        found = rows(name, few)
        assert {row.image_id for row in found} <= set(few.ids.tolist())
        assert not [row for row in found if row.is_issue], count


@pytest.mark.parametrize("name", NAMES)
def test_find__writes_nothing(name: str, evidence: Evidence, project: Project) -> None:
    with project.catalog.read() as connection:
        labeled, groups = (
            labels.every(connection, project.id),
            image_rows.groups_of(connection, evidence.ids.tolist()),
        )
    rows(name, evidence)
    with project.catalog.read() as connection:
        assert labels.every(connection, project.id) == labeled
        assert image_rows.groups_of(connection, evidence.ids.tolist()) == groups
