"""What happens to the pixels of one photo: enlarging, the studios, copies, damage.

Every function takes grey levels as a float array (H, W) in 0 to 255 or a Pillow image in mode `L`,
and the random generator that it may draw from; none keeps state.
"""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.float64]

SIDE = 112
QUALITY = 92


def enlarge(photo: Image.Image, side: int = SIDE) -> Image.Image:
    """Return the photo at `side` x `side` pixels, by bicubic interpolation.

    The catalogue was made with this function and the test photos are read with it, so that both
    look alike to a model. A photo that is large enough already is returned as it is.
    """
    if min(photo.size) >= side:
        return photo
    return photo.resize((side, side), Image.Resampling.BICUBIC)


def to_pixels(photo: Image.Image) -> Pixels:
    """Return the grey levels (H, W) of a photo, 0 to 255."""
    return np.asarray(photo.convert("L"), dtype=np.float64)


def to_photo(pixels: Pixels) -> Image.Image:
    """Return a photo of these grey levels, rounded and clipped to 0 to 255."""
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def to_jpeg(photo: Image.Image, quality: int = QUALITY) -> bytes:
    """Return the photo as the bytes of a grey JPEG file."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def from_jpeg(data: bytes) -> Image.Image:
    """Return the fully decoded photo in these bytes, in mode `L`."""
    with Image.open(io.BytesIO(data)) as photo:
        return photo.convert("L")


def _blur(photo: Image.Image, radius: float) -> Image.Image:
    return photo.filter(ImageFilter.GaussianBlur(radius))


def _noise(photo: Image.Image, sigma: float, rng: np.random.Generator) -> Image.Image:
    pixels = to_pixels(photo)
    return to_photo(pixels + rng.normal(0, sigma, pixels.shape))


# Studios ------------------------------------------------------------------------------------------


def in_studio_a(photo: Image.Image, _rng: np.random.Generator) -> Image.Image:
    """Return the photo as it is: the good studio."""
    return photo


def in_studio_b(photo: Image.Image, _rng: np.random.Generator) -> Image.Image:
    """Return the photo at half brightness."""
    return to_photo(to_pixels(photo) * 0.5)


def in_studio_c(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the photo as a bad camera takes it: soft, hazy, noisy and strongly compressed.

    Each fault has a strength of its own in each photo, so no two are bad in the same way. The
    subject stays recognisable to a person.
    """
    soft = to_pixels(_blur(photo, rng.uniform(1.2, 2.3)))
    hazy = 150 + (soft - 150) * rng.uniform(0.42, 0.70) + rng.uniform(-25, 15)
    slope = np.linspace(-1, 1, SIDE) * rng.uniform(-22, 22)
    uneven = hazy + (slope if rng.random() < 0.5 else slope[:, None])
    noisy = _noise(to_photo(uneven), rng.uniform(10, 23), rng)
    return from_jpeg(to_jpeg(noisy, quality=int(rng.integers(14, 30))))


STUDIOS: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "a": in_studio_a,
    "b": in_studio_b,
    "c": in_studio_c,
}

# Near-duplicates ----------------------------------------------------------------------------------


def _cropped(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return 90 % of each side, from anywhere in the photo, enlarged to the size it had."""
    width, height = photo.size
    inner = (round(width * 0.9), round(height * 0.9))
    left = int(rng.integers(0, width - inner[0] + 1))
    top = int(rng.integers(0, height - inner[1] + 1))
    window = photo.crop((left, top, left + inner[0], top + inner[1]))
    return window.resize(photo.size, Image.Resampling.BICUBIC)


def _rotated(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the photo turned by 3 degrees to either side, on its own backdrop."""
    pixels = to_pixels(photo)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    degrees = 3 if rng.random() < 0.5 else -3
    # The brightest part of the border is the backdrop; its middle would be the garment in photos
    # that the garment fills.
    return photo.rotate(
        degrees, Image.Resampling.BICUBIC, fillcolor=round(float(np.percentile(edge, 95)))
    )


def _resized(photo: Image.Image, _rng: np.random.Generator) -> Image.Image:
    half = (photo.width // 2, photo.height // 2)
    return photo.resize(half, Image.Resampling.LANCZOS)


COPIES: dict[str, Callable[[Image.Image, np.random.Generator], bytes]] = {
    "near-duplicate-re-encoded": lambda photo, _: to_jpeg(photo, quality=30),
    "near-duplicate-resized": lambda photo, rng: to_jpeg(_resized(photo, rng)),
    "near-duplicate-cropped": lambda photo, rng: to_jpeg(_cropped(photo, rng)),
    "near-duplicate-brightened": lambda photo, _: to_jpeg(to_photo(to_pixels(photo) * 1.25)),
    "near-duplicate-flipped": lambda photo, _: to_jpeg(
        photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    ),
    "near-duplicate-rotated": lambda photo, rng: to_jpeg(_rotated(photo, rng)),
    "near-duplicate-blurred": lambda photo, _: to_jpeg(_blur(photo, 1.5)),
    "near-duplicate-noised": lambda photo, rng: to_jpeg(_noise(photo, 8, rng)),
}

# Bad images: `strength` runs from 0 to 1 over the images of a kind, so that no two are alike


def _dark(photo: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Return the photo as if the flash had not fired: at 14 % to 4 % of its brightness."""
    return _noise(to_photo(to_pixels(photo) * (0.14 - 0.10 * strength)), 1.5, rng)


def _bright(photo: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Return the photo blown out: white but for a trace of its darkest parts, at 205 to 238."""
    pixels = to_pixels(photo)
    trace = 205 + 33 * strength
    faded = trace + (pixels - np.percentile(pixels, 5)) * 0.8
    return _noise(to_photo(faded), 1.0, rng)


def _blurry(photo: Image.Image, strength: float, _rng: np.random.Generator) -> Image.Image:
    """Return the photo far out of focus, by a Gaussian of 6 to 12 pixels."""
    return _blur(photo, 6 + 6 * strength)


def _blank(photo: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Return an empty backdrop instead of the product, of its own grey and fall-off of light."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[-1 : 1 : photo.height * 1j, -1 : 1 : photo.width * 1j]
    slope = (np.cos(angle) * columns + np.sin(angle) * rows) * rng.uniform(3, 10)
    return _noise(to_photo(110 + 90 * strength + slope), 1.5, rng)


BAD: dict[str, Callable[[Image.Image, float, np.random.Generator], Image.Image]] = {
    "dark": _dark,
    "bright": _bright,
    "blurry": _blurry,
    "low-information": _blank,
}

# Files that do not decode -------------------------------------------------------------------------


def _truncated(photo: Image.Image) -> bytes:
    data = to_jpeg(photo)
    return data[: len(data) * 6 // 10]


def _empty(_photo: Image.Image) -> bytes:
    return b""


def _web_page(_photo: Image.Image) -> bytes:
    return (
        b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\n"
        b"<body><h1>Not Found</h1><p>The photo you asked for has moved.</p></body></html>\n"
    )


def _damaged_png(photo: Image.Image) -> bytes:
    """Return a PNG whose compressed pixels were overwritten in the middle."""
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    return bytes(data)


def _headless(photo: Image.Image) -> bytes:
    """Return a JPEG that lost its first 300 bytes: size and tables are gone."""
    return to_jpeg(photo)[300:]


UNDECODABLE: tuple[Callable[[Image.Image], bytes], ...] = (
    _truncated,
    _empty,
    _web_page,
    _damaged_png,
    _headless,
)
