"""The audit: every test of the columns asked for, corrected together, and the table of slices."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from curation.bias import (
    association,
    discovery,
    quality,
    representation,
    shuffles,
    spurious,
    standing,
)
from curation.bias.evidence import Answers, Evidence, answers
from curation.bias.slices import Slices, cross
from curation.bias.spurious import Alone
from curation.bias.standing import Small, Table
from curation.bias.table import Settled, Tested, settle
from curation.progress import Report, silent

Counts = NDArray[np.int64]

MOST_TIMES = 19_999


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found.

    Attributes:
        classes: C names.
        settled: findings and everything that was tested.
        tables: of each column, and of two crossed.
        small: slices that cannot be judged yet.
        properties: how well each image property alone tells the label.
        notes: what to know about all this.
    """

    classes: tuple[str, ...]
    settled: Settled
    tables: tuple[Table, ...]
    small: tuple[Small, ...] = ()
    properties: dict[str, Alone] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def examine(
    evidence: Evidence,
    columns: Sequence[Slices],
    *,
    seed: int,
    discover: bool = False,
    report: Report = silent,
) -> Audit:
    """Tests everything about these columns, corrected together.

    Args:
        evidence: what is known of the images.
        columns: one or two, of all N images; or none, to discover slices only.
        seed: of all shuffles and intervals: the same data give the same audit.
        discover: whether to look for slices without a name.
        report: told of the progress.

    Raises:
        InputError: two columns make too many slices.
    """
    every = [*columns, cross(*columns)] if len(columns) == 2 else list(columns)
    plain = [standing.count(evidence, slices) for slices in every]
    if not len(evidence.labeled):
        return Audit(evidence.classes, settle([]), tuple(plain), notes=_notes(evidence, None))
    given = answers(evidence)
    auditor = _Auditor(evidence, given, seed=seed, times=_times(every), report=report)
    tables = [auditor.rated(table) for table in plain]
    tested: list[Tested] = []
    for table in tables:
        tested += auditor.test(table)
    if given is not None:
        tested += auditor.test_shortcuts()
        if discover:
            tested += auditor.discover(columns)
    single = [table for table in tables if len(table.slices.columns) == 1]
    settled = settle(tested, few_labels=any(standing.few(table) for table in single))
    failing = {
        tuple(one.tested.slice.items()) for one in settled.findings if one.tested.kind == "quality"
    }
    small = [
        one
        for table in tables
        for one in standing.too_small(table)
        if tuple(one.slice.items()) not in failing
    ]
    return Audit(
        evidence.classes,
        settled,
        tuple(tables),
        tuple(small),
        auditor.alone,
        _notes(evidence, given, discover=discover),
    )


class _Auditor:
    """One audit under way: each test gets its own randomness, whatever else is tested."""

    def __init__(
        self, evidence: Evidence, given: Answers | None, *, seed: int, times: int, report: Report
    ) -> None:
        self.evidence, self.given = evidence, given
        self.times = times
        self.alone: dict[str, Alone] = {}
        self._seed = seed
        self._report = report
        self._done = 0
        self._strata = evidence.strata()

    def rng(self, *key: int) -> np.random.Generator:
        """The randomness of one test."""
        self._done += 1
        self._report(self._done, 0, "tests")
        return np.random.default_rng([self._seed, *key])

    def rated(self, table: Table) -> Table:
        """The table with the model's quality on each slice."""
        if self.given is None:
            return table
        codes, groups, strata = self._judged(table.slices)
        count = len(table.slices.values)
        rated = quality.rate_slices(
            self.given,
            codes,
            classes=self.evidence.classes,
            groups=groups,
            strata=strata,
            count=count,
        )
        furthest = quality.widest(self.given, codes, groups=groups, strata=strata, count=count)
        return Table(
            table.slices, table.images, table.labels, table.labeled, tuple(rated), furthest
        )

    def test(self, table: Table) -> Iterable[Tested]:
        """All that is tested of one column; of two crossed only the model's quality."""
        slices, evidence = table.slices, self.evidence
        if len(slices.columns) == 1:
            yield from self._test_column(slices)
        if self.given is not None:
            codes, groups, strata = self._judged(slices)
            yield from quality.test(
                self.given,
                slices,
                codes,
                groups=groups,
                strata=strata,
                rng=self.rng(1, _number(slices)),
                times=self.times,
                rated=list(table.quality),
            )
            if len(slices.columns) == 1 and evidence.single:
                yield from self._test_properties(slices)

    def test_shortcuts(self) -> Iterable[Tested]:
        """Whether a property alone is enough to tell the label."""
        if self.given is None or not self.evidence.single:
            return
        rows = self.given.rows
        y = self._y(rows)
        held = np.unique(y)
        recalls = [float(self.given.right[y == one].mean()) for one in held]
        for at, (name, values) in enumerate(self.evidence.properties.items()):
            if len(np.unique(values[rows])) < 2:
                continue
            self.alone[name] = spurious.rate_alone(
                values[rows],
                y,
                groups=self.evidence.label_groups[rows],
                rng=self.rng(2, at),
                times=self.times,
            )
            yield spurious.test_shortcut(
                name, self.alone[name], model=float(np.mean(recalls)), classes=len(held)
            )

    def discover(self, columns: Sequence[Slices]) -> list[Tested]:
        """Slices without a name."""
        if self.given is None or self.evidence.X is None:
            return []
        rows = self.given.rows
        return discovery.test(
            self.given,
            self.evidence.X[rows],
            ids=self.evidence.ids[self.evidence.labeled][rows],
            classes=self.evidence.classes,
            groups=self.evidence.label_groups[rows],
            strata=self._strata[rows],
            named=[(slices, self._judged(slices)[0]) for slices in columns],
            rng=self.rng(3),
            times=self.times,
        )

    def _test_column(self, slices: Slices) -> Iterable[Tested]:
        evidence = self.evidence
        codes = slices.codes[evidence.labeled]
        groups, key = evidence.label_groups, _number(slices)
        is_labeled = np.zeros(len(evidence.ids), bool)
        is_labeled[evidence.labeled] = True
        yield from representation.test_labeled(is_labeled, slices, groups=evidence.groups)
        yield from representation.test_mix(
            evidence.truth,
            codes,
            slices,
            classes=evidence.classes,
            groups=groups,
            rng=self.rng(4, key),
            times=self.times,
        )
        yield association.test(
            evidence.truth, codes, slices, groups=groups, rng=self.rng(5, key), times=self.times
        )

    def _test_properties(self, slices: Slices) -> Iterable[Tested]:
        if self.given is None:
            return
        codes, groups, _ = self._judged(slices)
        rows = self.given.rows
        p_association = association.p_value(
            self.evidence.truth[rows],
            codes,
            groups=groups,
            count=len(slices.values),
            rng=self.rng(6, _number(slices)),
            times=self.times,
        )
        for at, (name, values) in enumerate(self.evidence.properties.items()):
            if len(np.unique(values[rows])) > 1:
                yield spurious.test_slices(
                    name,
                    values[rows],
                    self._y(rows),
                    codes,
                    slices,
                    groups=groups,
                    p_association=p_association,
                    rng=self.rng(7, _number(slices), at),
                    times=self.times,
                )

    def _judged(self, slices: Slices) -> tuple[Counts, Counts, Counts]:
        """Slices, groups and strata of the labels that the model is judged by."""
        rows = self.given.rows if self.given is not None else np.zeros(0, np.int64)
        codes = slices.codes[self.evidence.labeled][rows].astype(np.int64)
        return codes, self.evidence.label_groups[rows], self._strata[rows]

    def _y(self, rows: Counts) -> Counts:
        """Class numbers, without those that no row has."""
        y = self.evidence.truth[rows].argmax(axis=1)
        return np.asarray(np.unique(y, return_inverse=True)[1].reshape(-1))


def _number(slices: Slices) -> int:
    """Of the columns, for randomness that does not depend on what else is audited."""
    return crc32(",".join(slices.columns).encode("utf-8", "surrogatepass"))


def _times(every: Sequence[Slices]) -> int:
    """Shuffles enough for the smallest p-value to survive the correction."""
    tests = sum(3 * len(slices.values) + 4 for slices in every) + 6
    return min(max(shuffles.TIMES, shuffles.PER_TEST * tests - 1), MOST_TIMES)


def _notes(evidence: Evidence, given: Answers | None, *, discover: bool = False) -> tuple[str, ...]:
    n = len(evidence.labeled)
    if given is None:
        why = "there are no labels yet" if not n else f"there are {n:,} usable labels"
        return (
            f"The model is not judged, as {why}; it takes 20 of two classes. Shown is only what "
            "the slices hold.",
        )
    notes = [
        "The model was judged on all labels, each by a model that saw no copy of its image (out of "
        "fold); the holdout alone would be too small for slices.",
    ]
    if left := n - len(given.rows):
        notes.append(
            f"{left:,} labels are left out of the model's quality: no other group has their class."
        )
    if not evidence.single:
        notes.append(
            "In a multi-label project accuracy is the share of right decisions, one for each image "
            "and class; slices are compared among images with the same set of labels, and image "
            "properties are not tested."
        )
    if discover and len(given.rows) < discovery.FEWEST_LABELS:
        notes.append(
            f"Slices without a name are looked for from {discovery.FEWEST_LABELS} labels on; there "
            f"are {len(given.rows):,}."
        )
    return tuple(notes)
