"""Images that are dark, bright, flat, blurred, empty, or unlike the rest in size, shape or colour.

The threshold of a kind lies some spreads above the dataset's median, within two absolute bounds:
see `thresholds`. Nothing here reads a file; `curation.scan` has measured the pixels before.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.appearance import APPEARANCE
from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.issues.evidence import Evidence
from curation.issues.table import Detector, Issue, Kind
from curation.issues.thresholds import FEWEST, deviants, rank, score_beyond, threshold

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rows = NDArray[Any]

RARE = 0.05
"""Share of the images up to which another way of storing them is odd."""

MINORITY = 0.2
"""Share of the images up to which grey ones among colour, or colour ones among grey, are odd."""

_GREY_CHROMA = 0.08  # of the contrast: JPEG and sensors give as much to a grey picture
_LEAST_CONTRAST = 32.0  # grey levels: against less, any trace of colour would count
_PLAIN_MODES = {"RGB", "L", "P"}
_END = 12  # grey levels from black or white that count as reached
_BLANK_SHARE = 0.97  # of the pixels at one level
_BARE = 0.06  # bits a pixel
_BARE_CONTRAST = 48.0  # grey levels: uneven light on an empty backdrop makes as much


@dataclass(frozen=True)
class Files:
    """How images are stored, in columns (N,)."""

    width: NDArray[np.int64]
    height: NDArray[np.int64]
    mode: NDArray[np.str_]
    frames: NDArray[np.int64]
    orientation: NDArray[np.int64]


@dataclass(frozen=True)
class Verdict:
    """What is said of all images in one respect.

    Attributes:
        score: (N,) 0 to 1, higher is worse; the threshold is at 0.5.
        is_issue: (N,); never where another kind explains the score.
        reason: says it of the image at an index.
    """

    score: Floats
    is_issue: Flags
    reason: Callable[[int], str]


@dataclass(frozen=True)
class Rule:
    """How one kind is measured and where its threshold may lie.

    Attributes:
        badness: (N,) of the appearance (N,), higher is worse.
        floor: the lowest threshold.
        ceiling: the highest threshold.
        least_spread: so that an even dataset does not make trifles stand out.
        says: for people, with the places {rank}, {value} and {usual}.
        value: (N,) what it shows for {value} and {usual}.
        digits: of the value.
    """

    badness: Callable[[Rows], Floats]
    floor: float
    ceiling: float
    least_spread: float
    says: str
    value: Callable[[Rows], Floats]
    digits: int = 0


def _stops_below(level: Rows, white: float = 255.0) -> Floats:
    """Octaves from white down to a level; four grey levels added, so that black is finite."""
    return np.asarray(np.log2((white + 4) / (level.astype(np.float64) + 4)))


def _contrast(rows: Rows) -> Floats:
    return np.asarray(rows["p99"].astype(np.float64) - rows["p01"])


RULES: dict[Kind, Rule] = {
    "dark": Rule(
        badness=lambda rows: (_stops_below(rows["mean"]) + _stops_below(rows["p99"])) / 2,
        floor=1.5,
        ceiling=3.4,
        least_spread=0.15,
        says="darker than {rank} of the images: mean brightness {value} of 255, usually {usual}",
        value=lambda rows: rows["mean"],
    ),
    "bright": Rule(
        badness=lambda rows: _stops_below(255 - (rows["mean"] + rows["p05"]) / 2),
        floor=1.8,
        ceiling=3.9,
        least_spread=0.15,
        says="brighter than {rank} of the images: mean brightness {value} of 255, usually {usual}",
        value=lambda rows: rows["mean"],
    ),
    "low-contrast": Rule(
        badness=lambda rows: _stops_below(_contrast(rows)),
        floor=1.8,
        ceiling=3.4,
        least_spread=0.15,
        says="less contrast than {rank} of the images: grey levels span {value} of 255, "
        "usually {usual}",
        value=_contrast,
    ),
    "blurry": Rule(
        badness=lambda rows: -rows["sharpness"].astype(np.float64),
        floor=-0.4,  # edges as wide as a Gaussian of 2.3 pixels in a picture of 256 x 256
        ceiling=-0.25,  # of 3.1 pixels
        least_spread=0.08,
        says="blurrier than {rank} of the images: sharpness {value}, usually {usual}",
        value=lambda rows: rows["sharpness"],
        digits=2,
    ),
    "low-information": Rule(
        badness=lambda rows: -np.log2(rows["information"].astype(np.float64) + 0.01),
        floor=float(-np.log2(0.35 + 0.01)),
        ceiling=float(-np.log2(_BARE + 0.01)),
        least_spread=0.15,
        says="less to see than in {rank} of the images: {value} bits a pixel, usually {usual}",
        value=lambda rows: rows["information"],
        digits=2,
    ),
}
"""The kinds that are judged by light and structure."""

KINDS: tuple[Kind, ...] = (*RULES, "odd-size", "odd-aspect", "odd-colour", "odd-exif")


def judge(appearance: Rows, files: Files) -> dict[Kind, Verdict]:
    """A verdict for each of `KINDS`.

    Args:
        appearance: (N,) with the fields of `APPEARANCE`.
        files: of the same images.
    """
    found: dict[Kind, Verdict] = {kind: _apply(rule, appearance) for kind, rule in RULES.items()}
    found.update(_explain(found, appearance))
    found["odd-size"] = _size(files)
    found["odd-aspect"] = _aspect(files)
    found["odd-colour"] = _colour(appearance)
    found["odd-exif"] = _storage(files)
    return found


def find(evidence: Evidence) -> Iterator[Issue]:
    """A row for every image and kind from `evidence.least_score` on, by ascending image id."""
    if not len(evidence.ids):
        return
    verdicts = judge(_appearance(evidence), _files(evidence))
    kept = np.stack(
        [found.is_issue | (found.score >= evidence.least_score) for found in verdicts.values()]
    )
    kinds = list(verdicts)
    for index, number in np.argwhere(kept.T).tolist():
        verdict = verdicts[kinds[number]]
        yield Issue(
            image_id=int(evidence.ids[index]),
            kind=kinds[number],
            score=float(verdict.score[index]),
            is_issue=bool(verdict.is_issue[index]),
            reason=verdict.reason(index),
        )


DETECTOR = Detector(kinds=KINDS, needs_embeddings=False, find=find)


# Light and structure ----------------------------------------------------------------------------


def _apply(rule: Rule, appearance: Rows) -> Verdict:
    badness = np.asarray(rule.badness(appearance), np.float64)
    at, spread = threshold(
        badness, floor=rule.floor, ceiling=rule.ceiling, least_spread=rule.least_spread
    )
    values, better = rule.value(appearance), rank(badness)
    usual = f"{np.median(values) if len(values) else 0:.{rule.digits}f}"

    def reason(index: int) -> str:
        value = f"{values[index]:.{rule.digits}f}"
        return rule.says.format(rank=better(index), value=value, usual=usual)

    return Verdict(score_beyond(badness, at, spread), badness > at, reason)


# One cause, one flag ------------------------------------------------------------------------------


def _explain(found: Mapping[Kind, Verdict], appearance: Rows) -> dict[Kind, Verdict]:
    """Verdicts without the flags that follow from another: an image is flagged for the cause.

    Light explains an empty picture only where its levels reach the end of the scale; else it is a
    picture of nothing, such as a bare wall, and its light is that of the wall.
    """
    blank = appearance["level_share"] >= _BLANK_SHARE
    lost = {
        "dark": found["dark"].is_issue & (appearance["p01"] <= _END),
        "bright": found["bright"].is_issue & (appearance["p99"] >= 255 - _END),
    }
    bare = (appearance["information"] < _BARE) & (_contrast(appearance) < _BARE_CONTRAST)
    empty = blank | bare & ~lost["dark"] & ~lost["bright"]
    nothing = {"there being nothing to see": blank | bare}
    follows = {f"being {cause}": flags & ~empty for cause, flags in lost.items()}
    blurry = _unflag(found["blurry"], nothing)
    contrast = _unflag(found["low-contrast"], {**follows, **nothing})
    causes = {
        **follows,
        "being blurry": blurry.is_issue & ~empty,
        "low contrast": contrast.is_issue & ~empty,
    }
    said = _say_blank(found["low-information"], appearance, blank)
    light: dict[Kind, Verdict] = {
        kind: _unflag(found[kind], {"there being nothing to see": empty & ~lost[kind]})
        for kind in ("dark", "bright")
    }
    return {
        **light,
        "blurry": blurry,
        "low-information": _unflag(said, causes),
        "low-contrast": contrast,
    }


def _unflag(verdict: Verdict, causes: Mapping[str, Flags]) -> Verdict:
    explained = np.logical_or.reduce(list(causes.values())) & verdict.is_issue

    def reason(index: int) -> str:
        says = verdict.reason(index)
        if not explained[index]:
            return says
        return f"{says}; follows from {next(c for c, flags in causes.items() if flags[index])}"

    return replace(verdict, is_issue=verdict.is_issue & ~explained, reason=reason)


def _say_blank(verdict: Verdict, appearance: Rows, blank: Flags) -> Verdict:
    """Low information whose reason calls a blank picture blank, and flags every one."""

    def reason(index: int) -> str:
        if not blank[index]:
            return verdict.reason(index)
        return f"blank: {100 * appearance['level_share'][index]:.0f} % of the pixels are alike"

    return replace(verdict, is_issue=verdict.is_issue | blank, reason=reason)


# Size, shape, colour, storage ---------------------------------------------------------------------


def _size(files: Files) -> Verdict:
    pixels = files.width.astype(np.float64) * files.height
    score, is_issue = deviants(np.log2(np.maximum(pixels, 1)) / 2, floor=0.7, ceiling=4.0)
    usual = np.sqrt(np.median(pixels)) if len(pixels) else 0.0

    def reason(index: int) -> str:
        side = np.sqrt(pixels[index])
        shape = f"{files.width[index]} x {files.height[index]} pixels"
        return f"{shape}: {side / max(usual, 1):.2f} times the usual side of {usual:.0f}"

    return Verdict(score, is_issue, reason)


def _aspect(files: Files) -> Verdict:
    """Lying and standing pictures of one shape count as alike."""
    ratio = np.maximum(files.width, files.height) / np.maximum(
        1, np.minimum(files.width, files.height)
    )
    score, is_issue = deviants(np.log2(ratio), floor=0.6, ceiling=2.0)
    usual = np.median(ratio) if len(ratio) else 1.0

    def reason(index: int) -> str:
        shape = f"{files.width[index]} x {files.height[index]} pixels"
        return f"{shape}: {ratio[index]:.2f} to 1, usually {usual:.2f} to 1"

    return Verdict(score, is_issue, reason)


def _colour(appearance: Rows) -> Verdict:
    """The minority is odd; where neither is rare, nobody is, and scores are halved."""
    chroma = appearance["chroma"] / np.maximum(_contrast(appearance), _LEAST_CONTRAST)
    grey = chroma < _GREY_CHROMA
    share = float(grey.mean()) if len(grey) else 0.0
    badness = (_GREY_CHROMA - chroma) * (1 if share <= 0.5 else -1)
    score = score_beyond(badness, 0.0, _GREY_CHROMA)
    rare = min(share, 1 - share) <= MINORITY and len(grey) >= FEWEST

    def reason(index: int) -> str:
        if grey[index]:
            return f"grey, as {100 * share:.1f} % of the images are"
        return f"in colour, as {100 - 100 * share:.1f} % of the images are"

    return Verdict(score if rare else score / 2, (badness > 0) & rare, reason)


def _storage(files: Files) -> Verdict:
    """Several frames, of which only the first is used, and ways of storing that are rare.

    A picture that EXIF turns is one: whatever ignores the tag, and all boxes drawn on the pixels as
    they are stored, sees it lying on its side.
    """
    modes, which, counts = np.unique(files.mode, return_inverse=True, return_counts=True)
    share = counts[which] / max(1, len(files.mode))
    plain = np.isin(files.mode, sorted(_PLAIN_MODES))
    odd_mode = ~plain & (share <= RARE) & (len(files.mode) >= FEWEST)
    several, turned = files.frames > 1, files.orientation > 1
    turned_share = float(turned.mean()) if len(turned) else 0.0
    odd_turn = turned & (turned_share <= RARE) & (len(turned) >= FEWEST)
    rarity = np.maximum(
        np.where(plain, 0.0, (1 - share) * np.where(odd_mode, 1.0, 0.5)),
        np.where(turned, (1 - turned_share) * np.where(odd_turn, 1.0, 0.5), 0.0),
    )
    score = np.where(several, 1 - 0.5 / np.maximum(files.frames, 1), rarity)

    def reason(index: int) -> str:
        if turned[index] and not several[index] and not odd_mode[index]:
            return (
                f"turned upright as its EXIF orientation {files.orientation[index]} says, like "
                f"{100 * turned_share:.1f} % of the images"
            )
        mode = f"stored as {modes[which[index]]}, like {100 * share[index]:.1f} % of the images"
        if several[index]:
            return f"{files.frames[index]} frames, of which only the first is used; {mode}"
        return mode

    return Verdict(score, several | odd_mode | odd_turn, reason)


# From the catalog ---------------------------------------------------------------------------------


def _appearance(evidence: Evidence) -> Rows:
    """Appearance (N,) without the thumbnails, which would fill the memory."""
    found = np.zeros(len(evidence.ids), APPEARANCE)
    at = 0
    for batch in batched(evidence.ids.tolist()):
        rows = evidence.scans.read(batch)
        for name in APPEARANCE.names or ():
            found[name][at : at + len(batch)] = rows[name]
        at += len(batch)
    return found


def _files(evidence: Evidence) -> Files:
    count = len(evidence.ids)
    numbers, mode = np.ones((count, 4), np.int64), np.full(count, "", "U10")
    at = {image_id: index for index, image_id in enumerate(evidence.ids.tolist())}
    with evidence.project.catalog.read() as connection:
        for row in image_rows.stored(connection, evidence.ids.tolist()):
            index = at[row.id]
            numbers[index] = row.width, row.height, row.frames, row.orientation
            mode[index] = row.mode
    width, height, frames, orientation = numbers.T
    return Files(width=width, height=height, mode=mode, frames=frames, orientation=orientation)
