"""What one decoded picture looks like in a few numbers: light, sharpness, content, colour.

Everything is measured on a copy of about `WORKING_PIXELS` at most, so that the same scene at
another resolution gives about the same numbers, and a large picture costs little more than a small
one.

Work is in two steps, because pictures are many and small: `tally` takes what OpenCV counts from one
picture, outside the interpreter's lock; `summarise` makes the numbers of many at once.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Image8 = cv2.typing.MatLike
Floats = NDArray[np.float64]

THUMB = 64
"""Pixels of the thumbnail's sides; the picture is squashed into them, whatever its aspect."""

WORKING_PIXELS = 256 * 256
"""How many pixels are looked at; larger pictures are averaged down to that area."""

VERSION = 2
"""Goes up when the same picture gets other numbers."""

APPEARANCE: np.dtype[np.void] = np.dtype(
    [
        ("mean", "f4"),  # of luminance, 0 to 255, as all grey levels here
        ("deviation", "f4"),  # standard deviation of luminance
        ("p01", "u1"),  # percentiles of luminance
        ("p05", "u1"),
        ("p25", "u1"),
        ("p50", "u1"),
        ("p75", "u1"),
        ("p95", "u1"),
        ("p99", "u1"),
        ("clipped_dark", "f4"),  # share of pixels at level 4 or below
        ("clipped_bright", "f4"),  # share of pixels at level 251 or above
        ("level_share", "f4"),  # share of the most frequent level, with two levels on either side
        ("entropy", "f4"),  # of the levels, bits
        ("information", "f4"),  # bits a pixel that the structure at 64 x 64 takes
        ("noise", "f4"),  # standard deviation of noise, grey levels
        (
            "sharpness",
            "f4",
        ),  # octaves that a slight blur takes off the edges; 0 where they are soft
        ("colourfulness", "f4"),  # Hasler and Suesstrunk 2003; 0 grey, 33 moderate, 100 extreme
        ("chroma", "f4"),  # 99th percentile of the largest less the smallest channel
    ]
)
"""The numbers of one picture; flat, so that rows can be joined with other fields."""

_PERCENTILES = ("p01", "p05", "p25", "p50", "p75", "p95", "p99")
_SHARES_BELOW = np.array([int(name[1:]) for name in _PERCENTILES]) / 100
_LEVELS = np.arange(256, dtype=np.float64)
_LEAST_RATIO = 1.1  # of the sides: a smaller change would only smooth
_CLIPPED = 4  # grey levels from either end, as JPEG moves what was at the end

_INFORMATION_STEP = 4.0  # grey levels: structure finer than this is not counted
_INFORMATION_BANDS = 4
_MOST_CHANNELS = 128  # of an array, in OpenCV

_NOISE_KERNEL = np.array([1, -2, 1], np.float32)  # across and down
_NOISE_GAIN = 6 * 0.6745  # of the kernel on white noise, times the normal law's median deviation

_EDGES = 0.995  # the share of pixels with a weaker gradient: a picture is judged by its edges
_SOBEL_GAIN = 8.0
_GRADIENT_SCALE = 0.25  # so that the steepest fits into 8 bits
_NOISE_IN_EDGES = 2.0  # grey levels a pixel that noise of one grey level adds to that gradient
_MOST_NOISE = 0.8  # of the gradients' power: what looks like noise may be a fine texture
_LEAST_GRADIENT = 0.5  # grey levels a pixel: rounding makes as much

_COLOUR_SIDE = 48

TALLY: np.dtype[np.void] = np.dtype(
    [
        ("thumb", "u1", (THUMB, THUMB)),  # luminance
        ("levels", "f4", 256),  # how often each level of luminance occurs
        ("response", "f4", 256),  # of the kernel for noise, its absolute values
        ("edges", "f4", 256),  # gradients, scaled
        ("blurred_edges", "f4", 256),  # of the picture slightly blurred
        ("colours", "u1", (_COLOUR_SIDE, _COLOUR_SIDE, 3)),  # of some pixels; zero in a grey one
    ]
)
"""What is taken from one picture."""


def measure(picture: NDArray[np.uint8]) -> np.void:
    """The numbers of one picture, 8-bit RGB (H, W, 3) or grey (H, W), as a row of `APPEARANCE`."""
    tallies = np.zeros(1, TALLY)
    tally(picture, tallies[0])
    row: np.void = summarise(tallies)[0]
    return row


def tally(picture: NDArray[np.uint8], into: np.void) -> None:
    """Takes from a picture, 8-bit RGB (H, W, 3) or grey (H, W), what `summarise` needs.

    Args:
        into: a row of `TALLY`, all zero.
    """
    whole = luminance(picture)
    if picture.ndim == 3:
        side = (_COLOUR_SIDE, _COLOUR_SIDE)
        into["colours"] = cv2.resize(picture, side, interpolation=cv2.INTER_NEAREST)
    into["thumb"] = thumbnail_of(whole)
    grey = shrink(whole)
    into["levels"] = _counts(grey)
    response = cv2.sepFilter2D(grey, cv2.CV_16S, _NOISE_KERNEL, _NOISE_KERNEL)
    into["response"] = _counts(cv2.convertScaleAbs(response))
    into["edges"] = _counts(_gradients(grey))
    half = max(1, grey.shape[1] // 2), max(1, grey.shape[0] // 2)
    blurred = cv2.blur(cv2.resize(grey, half, interpolation=cv2.INTER_AREA), (3, 3))
    into["blurred_edges"] = _counts(_gradients(blurred))


def summarise(tallies: NDArray[Any]) -> NDArray[Any]:
    """The numbers of many pictures, (N,) of type `APPEARANCE`.

    Args:
        tallies: (N,) of type `TALLY`.
    """
    rows = np.zeros(len(tallies), APPEARANCE)
    if len(tallies):
        _put_levels(rows, tallies["levels"].astype(np.float64))
        if tallies["colours"].any():
            _put_colour(rows, tallies["colours"])
        rows["information"] = _information(tallies["thumb"])
        rows["noise"] = _noise(tallies)
        rows["sharpness"] = _sharpness(tallies, rows["noise"].astype(np.float64))
    return rows


def luminance(picture: NDArray[np.uint8]) -> Grey:
    """Grey levels (H, W) of a picture, 8-bit RGB (H, W, 3) or grey (H, W)."""
    if picture.ndim == 2:
        return picture
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def thumbnail_of(grey: Grey) -> Grey:
    """Luminance (64, 64) of a picture (H, W), squashed."""
    return np.asarray(cv2.resize(grey, (THUMB, THUMB), interpolation=cv2.INTER_AREA), np.uint8)


def shrink(grey: Grey) -> Grey:
    """Luminance (H, W) averaged down to `WORKING_PIXELS`; as it is where it has hardly more."""
    height, width = grey.shape
    ratio = np.sqrt(height * width / WORKING_PIXELS)
    if ratio < _LEAST_RATIO:
        return grey
    whole = int(ratio)  # averaging over whole pixels is the quick part, the rest is interpolated
    if whole > 1 and min(height, width) >= whole:
        size = (width // whole, height // whole)
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    size = (max(1, round(width / ratio)), max(1, round(height / ratio)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _counts(values: Image8) -> Image8:
    """How often each of the levels 0 to 255 occurs, (256,).

    Only the first array is counted. Given one alone, OpenCV sets up another library, which takes
    three times as long as to count the levels of a small picture.
    """
    return cv2.calcHist([values, values], [0], None, [256], [0, 256])[:, 0]


def _put_levels(rows: NDArray[Any], counts: Floats) -> None:
    """What the histograms (N, 256) of luminance tell."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    below = shares.cumsum(axis=1)
    mean = shares @ _LEVELS
    rows["mean"] = mean
    rows["deviation"] = np.sqrt(np.maximum(0, shares @ _LEVELS**2 - mean**2))
    for name, share in zip(_PERCENTILES, _SHARES_BELOW, strict=True):
        rows[name] = np.minimum((below < share - 1e-12).sum(axis=1), 255)
    rows["clipped_dark"] = below[:, _CLIPPED]
    rows["clipped_bright"] = np.maximum(0, 1 - below[:, 255 - _CLIPPED - 1])
    padded = np.pad(below, ((0, 0), (3, 0)))
    padded = np.concatenate([padded, np.ones((len(rows), 2))], axis=1)
    rows["level_share"] = (padded[:, 5:] - padded[:, :-5]).max(axis=1)
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    rows["entropy"] = np.maximum(0, -(shares * logs).sum(axis=1))


def _noise(tallies: NDArray[Any]) -> Floats:
    """Standard deviation of noise: Immerkaer 1996, but by the median, which edges move little."""
    return _quantile(tallies["response"], 0.5) / _NOISE_GAIN


def _sharpness(tallies: NDArray[Any], noise: Floats) -> Floats:
    """How much of the steepest gradients a slight blur takes, in octaves (after Crete et al. 2007).

    What is sharp loses most of its gradient to a blur, what is blurred already next to nothing.
    The ratio is free of contrast, and a flat backdrop has no part in it. Noise is taken out of the
    gradients before, since else it would pass for edges.
    """
    scale = _SOBEL_GAIN * _GRADIENT_SCALE  # to grey levels a pixel
    power = (_quantile(tallies["edges"], _EDGES) / scale) ** 2
    steepest = np.sqrt(power - np.minimum((_NOISE_IN_EDGES * noise) ** 2, _MOST_NOISE * power))
    blurred = _quantile(tallies["blurred_edges"], _EDGES) / scale / 2
    return np.asarray(np.log2((steepest + _LEAST_GRADIENT) / (blurred + _LEAST_GRADIENT)))


def _gradients(grey: Image8) -> Image8:
    """How steep the luminance is across or down, whichever is more, in units that fit 8 bits."""
    across, down = cv2.spatialGradient(grey)
    return cv2.max(
        cv2.convertScaleAbs(across, alpha=_GRADIENT_SCALE),
        cv2.convertScaleAbs(down, alpha=_GRADIENT_SCALE),
    )


def _quantile(counts: NDArray[np.float32], share: float) -> Floats:
    """Quantiles (N,) of whole numbers 0 to 255 by their counts (N, 256), interpolated.

    0 where zero reaches so far.
    """
    below = counts.cumsum(axis=1, dtype=np.float64)
    wanted = share * below[:, -1]
    level = (below < wanted[:, None]).sum(axis=1)
    at = np.arange(len(counts)), level
    return np.where(level, level - (below[at] - wanted) / np.maximum(counts[at], 1), 0.0)


def _information(thumbs: NDArray[np.uint8]) -> Floats:
    """Bits a pixel (N,) that the details of thumbnails take beyond a step of a few grey levels.

    The bands of a Laplacian pyramid (Burt and Adelson 1983) stand for a coder; unlike the entropy
    of the levels it does not take a gradient of light, or faint noise, for content.
    """
    bits = np.zeros(len(thumbs))
    for start in range(0, len(thumbs), _MOST_CHANNELS):
        part = slice(start, start + _MOST_CHANNELS)
        level = np.moveaxis(thumbs[part], 0, 2).astype(np.float32)  # pictures as channels
        for _ in range(_INFORMATION_BANDS):
            coarse = _channels(cv2.pyrDown(level))
            level -= _channels(cv2.pyrUp(coarse))
            level *= 1 / _INFORMATION_STEP
            level *= level
            level += 1
            np.log(level, out=level)  # unlike log2 it is vectorised on every processor
            bits[part] += level.reshape(-1, level.shape[2]).sum(axis=0)
            level = coarse
    return bits / (2 * math.log(2) * THUMB**2)


def _channels(values: Image8) -> NDArray[np.float32]:
    """With the axis of channels, which OpenCV drops where there is one."""
    levels = np.asarray(values, np.float32)
    return levels if levels.ndim == 3 else levels[..., None]


def _put_colour(rows: NDArray[Any], colours: NDArray[np.uint8]) -> None:
    """Colourfulness (Hasler and Suesstrunk 2003) and the strongest chroma, from some pixels.

    Args:
        colours: (N, H, W, 3)
    """
    planes = cv2.split(colours.reshape(-1, colours.shape[2], 3))
    largest = cv2.max(cv2.max(planes[0], planes[1]), planes[2])
    smallest = cv2.min(cv2.min(planes[0], planes[1]), planes[2])
    chroma = cv2.subtract(largest, smallest).reshape(len(rows), -1)
    rows["chroma"] = _quantile(np.stack([_counts(values) for values in chroma]), 0.99)
    red, green, blue = (plane.reshape(len(rows), -1).astype(np.float32) for plane in planes)
    spread, mean = np.zeros(len(rows)), np.zeros(len(rows))
    # Red to green, then yellow to blue.
    for opponent in (red - green, (red + green) * np.float32(0.5) - blue):
        centre = opponent.mean(axis=1, keepdims=True)
        apart = opponent - centre
        spread += np.einsum("ij,ij->i", apart, apart) / apart.shape[1]
        mean += centre[:, 0] ** 2
    strength = np.sqrt(spread) + 0.3 * np.sqrt(mean)
    rows["colourfulness"] = np.where(rows["chroma"] > 0, strength, 0)
