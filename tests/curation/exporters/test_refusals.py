from curation.exporters.refusals import Refusals
from curation.manifest import Entry


def test_refuse__reasons_are_few_and_every_image_is_named_in_full() -> None:
    entries = [
        Entry(f"{n}.jpg", "", "excluded", reason=f"reason {n}: {n} of 255") for n in range(300)
    ]
    refusals = Refusals(empty=True, unlabeled=False)
    assert all(refusals.refuse(at, entry) for at, entry in enumerate(entries))
    assert refusals.counts.total() == 300
    assert refusals.counts["excluded: reason 7"] == 1
    assert refusals.counts["excluded: other"] == 260
    named = list(refusals.named(entries))
    assert named[299] == ("299.jpg", "excluded: reason 299: 299 of 255")


def test_refuse__tells_nobody_looked_from_nothing_found() -> None:
    entries = [Entry("a", "", "ok"), Entry("b", "", "ok", classes=())]
    cases = {(True, True): [], (True, False): [0], (False, True): [1], (False, False): [0, 1]}
    for (empty, unlabeled), left in cases.items():
        refusals = Refusals(empty=empty, unlabeled=unlabeled)
        assert [at for at, entry in enumerate(entries) if refusals.refuse(at, entry)] == left


def test_add__the_first_reason_stays() -> None:
    refusals = Refusals(empty=True, unlabeled=False)
    refusals.refuse(3, Entry("a", "", "ok"))
    refusals.add({3: "missing: gone", 5: "missing: gone"})
    assert refusals.counts == {"unlabeled": 1, "missing: gone": 1}
    assert [at for at in range(8) if at in refusals] == [3, 5]
