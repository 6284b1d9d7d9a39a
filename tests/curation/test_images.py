import hashlib
import io
import os
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageFile
from sklearn.datasets import load_sample_image

from curation import images
from curation.errors import UnreadableImage
from curation.images import Limits


def photo(side: int = 96) -> Image.Image:
    return Image.fromarray(load_sample_image("flower.jpg")).crop((200, 100, 200 + side, 100 + side))


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, format, **options)
    return target.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header


def reason_of(data: bytes) -> str:
    with pytest.raises(UnreadableImage) as caught:
        images.decode(data)
    return caught.value.reason


def differs(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).mean())


def test_decode__decompression_bomb_by_pixels() -> None:
    row = zlib.compressobj(9)
    pixels = b"".join(row.compress(bytes(20_001)) for _ in range(20_000)) + row.flush()
    bomb = png_header(20_000, 20_000) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    assert len(bomb) < 500_000
    started = time.perf_counter()
    assert "decompression bomb: 20000 x 20000" in reason_of(bomb)
    assert time.perf_counter() - started < 0.5


def test_decode__decompression_bomb_by_side() -> None:
    bomb = png_header(60_000, 10) + chunk(b"IDAT", zlib.compress(bytes(60_001 * 10)))
    assert "a side over" in reason_of(bomb)


def test_decode__between_pillows_warning_and_our_cap() -> None:
    header = png_header(10_000, 10_000) + chunk(b"IDAT", zlib.compress(b""))
    assert reason_of(header).startswith("truncated")


def test_decode__own_limits() -> None:
    data = encoded(photo(), "PNG")
    with pytest.raises(UnreadableImage, match="over 100"):
        images.decode(data, limits=Limits(max_pixels=100))
    with pytest.raises(UnreadableImage, match="file too large"):
        images.decode(data, limits=Limits(max_bytes=100))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF"])
def test_decode__truncated(format: str) -> None:
    if format == "HEIF":
        pillow_heif.register_heif_opener()
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)
    images.decode(data)
    for part in (0.9, 0.5, 0.1):
        reason = reason_of(data[: int(len(data) * part)])
        assert reason.startswith(("truncated", "damaged")), reason
        assert "\n" not in reason


def test_decode__truncated_jpeg_that_verify_passes() -> None:
    data = encoded(photo(), "JPEG")
    half = data[: len(data) // 2]
    Image.open(io.BytesIO(half)).verify()
    assert reason_of(half).startswith("truncated")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"])
def test_decode__noise_in_the_file_raises_nothing_else(format: str) -> None:
    rng = np.random.default_rng(7)
    good = np.frombuffer(encoded(photo(48), format), np.uint8)
    for _ in range(60):
        bad = good.copy()
        places = rng.integers(0, len(bad), 6)
        bad[places] = rng.integers(0, 256, 6)
        try:
            assert images.decode(bad.tobytes()).mode == "RGB"
        except UnreadableImage as error:
            assert error.reason


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_decode__16_bit_grey_is_rescaled(format: str) -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (8, 1))
    result = np.asarray(images.decode(encoded(Image.fromarray(ramp), format)))
    assert result.shape == (8, 256, 3)
    np.testing.assert_array_equal(result[0, :, 0], np.arange(256))


def test_decode__16_bit_dark_image_stays_dark() -> None:
    dark = np.full((8, 8), 1000, np.uint16)
    assert np.asarray(images.decode(encoded(Image.fromarray(dark), "PNG"))).max() == 4


def test_decode__16_bit_rgb_png() -> None:
    line = b"\x00" + struct.pack(">9H", *([65535, 32768, 0] * 3))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 1, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(line)) + chunk(b"IEND", b"")
    assert images.decode(data).getpixel((0, 0)) == (255, 128, 0)


def test_decode__32_bit_and_floating_point_tiff() -> None:
    signed = np.array([[-(2**31), 0, 2**31 - 1]], np.int32)
    result = images.decode(encoded(Image.fromarray(signed), "TIFF"))
    assert np.asarray(result)[0, :, 0].tolist() == [0, 128, 255]
    unit = np.array([[0.0, 0.5, 1.0]], np.float32)
    result = images.decode(encoded(Image.fromarray(unit), "TIFF"))
    assert np.asarray(result)[0, :, 0].tolist() == [0, 128, 255]
    assert "floating-point" in reason_of(encoded(Image.fromarray(unit * 300), "TIFF"))


def test_decode__cmyk() -> None:
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red, green, blue = np.asarray(images.decode(encoded(ink, "JPEG", quality=95)))[8, 8]
    assert red > 240
    assert green < 15
    assert blue < 15


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_decode__every_mode_gives_rgb(mode: str) -> None:
    original = photo().convert(mode)
    result = images.decode(encoded(original, "PNG"))
    assert result.mode == "RGB"
    assert not result.info
    np.testing.assert_array_equal(
        np.asarray(result), np.asarray(original.convert("RGBA").convert("RGB"))
    )


def test_decode__alpha_over_white() -> None:
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert images.decode(encoded(half, "PNG")).getpixel((0, 0)) == (127, 127, 127)
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    assert images.decode(encoded(clear, "PNG")).getpixel((0, 0)) == (255, 255, 255)


def test_decode__palette_with_transparency() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((0, 0), 0)
    result = images.decode(encoded(image, "PNG", transparency=0))
    assert result.getpixel((0, 0)) == (255, 255, 255)
    assert result.getpixel((1, 1)) == (200, 100, 50)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_inspect__animation(format: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    path = tmp_path / "moves"
    path.write_bytes(encoded(frames[0], format, save_all=True, append_images=frames[1:], **options))
    seen = images.inspect(path)
    assert (seen.frames, seen.width, seen.height, seen.format) == (3, 20, 10, format)
    assert images.decode(path).getpixel((3, 3)) == (255, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_decode__orientation(orientation: int, format: str) -> None:
    upright = photo(64).crop((0, 0, 64, 48))
    undo = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    stored = upright
    if orientation > 1:
        stored = upright.transpose(images._TURNS[undo[orientation]])
    exif = Image.Exif()
    exif[274] = orientation
    options = {"PNG": {}, "TIFF": {}, "JPEG": {"quality": 98}, "WEBP": {"lossless": True}}[format]
    result = images.decode(encoded(stored, format, exif=exif, **options))
    assert result.size == (64, 48)
    assert differs(result, upright) < 3


def test_decode__orientation_that_makes_no_sense() -> None:
    exif = Image.Exif()
    exif[274] = 77
    assert images.decode(encoded(photo(), "JPEG", exif=exif)).size == (96, 96)


def test_inspect__orientation_is_applied_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "turned.jpg"
    path.write_bytes(encoded(photo().crop((0, 0, 40, 20)), "JPEG", exif=exif))
    seen = images.inspect(path)
    assert (seen.width, seen.height, seen.orientation) == (20, 40, 6)


def test_decode__avif() -> None:
    assert differs(images.decode(encoded(photo(), "AVIF", quality=95)), photo()) < 4


def test_decode__heic(monkeypatch: pytest.MonkeyPatch) -> None:
    pillow_heif.register_heif_opener()
    data = encoded(photo(), "HEIF", quality=95)
    assert differs(images.decode(data), photo()) < 4
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert reason_of(data).startswith("HEIC needs pillow-heif")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty file"),
        (b'<?xml version="1.0"?>\n<!-- c --><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\xef\xbb\xbf  <!DOCTYPE html><html></html>", "HTML"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04", "ZIP"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42", "video"),
        (b"\x00\x00\x01\x00\x01\x00", "icon"),
        (b"hello", "not an image"),
        (b"\xff\xd8\xff", "damaged"),
        (b"RIFF\x00\x00\x00\x00WEBP", "damaged"),
    ],
)
def test_decode__not_an_image(data: bytes, says: str) -> None:
    assert says in reason_of(data)


def test_inspect__extension_is_never_asked(tmp_path: Path) -> None:
    path = tmp_path / "really.jpg"
    path.write_bytes(encoded(photo(), "PNG"))
    seen = images.inspect(path)
    assert (seen.format, seen.mode, seen.frames, seen.orientation) == ("PNG", "RGB", 1, 1)
    assert seen.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (seen.bytes, seen.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)


def test_inspect__pixel_hash_sees_pixels_and_size_only(tmp_path: Path) -> None:
    def hashed(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        return images.inspect(tmp_path / name).pixel_hash

    one = hashed("a.png", encoded(photo(), "PNG"))
    assert hashed("b.bmp", encoded(photo(), "BMP")) == one
    exif = Image.Exif()
    exif[0x010E] = "described"
    assert hashed("c.tif", encoded(photo(), "TIFF", exif=exif)) == one
    changed = photo()
    changed.putpixel((0, 0), (1, 2, 3))
    assert hashed("d.png", encoded(changed, "PNG")) != one
    flat = Image.new("RGB", (8, 2))
    wide, tall = encoded(flat, "PNG"), encoded(flat.transpose(Image.Transpose.ROTATE_90), "PNG")
    assert hashed("e.png", wide) != hashed("f.png", tall)


def test_inspect__missing_folder_and_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableImage, match="missing"):
        images.inspect(tmp_path / "gone.png")
    with pytest.raises(UnreadableImage, match=r"not a regular file|cannot be read"):
        images.inspect(tmp_path)
    with pytest.raises(UnreadableImage, match="not a regular file"):
        images.inspect(tmp_path / "pipe")


def test_decode__at_least_reduces_but_never_below() -> None:
    big = photo(96).resize((500, 700), Image.Resampling.BICUBIC)
    data = encoded(big, "JPEG")
    assert images.decode(data).size == (500, 700)
    assert images.decode(data, at_least=224).size == (250, 350)
    assert images.decode(data, at_least=251).size == (500, 700)
    assert images.decode(encoded(big, "PNG"), at_least=224).size == (500, 700)


def test_thumbnail__fits_and_is_clean(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    exif[0x010E] = "where I live"
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(photo().resize((600, 300)), "JPEG", exif=exif, comment=b"secret"))
    made = Image.open(io.BytesIO(images.thumbnail(path, side=128)))
    assert made.size == (64, 128)
    assert not made.getexif()
    assert b"secret" not in images.thumbnail(path)
    path.write_bytes(encoded(photo(40), "PNG"))
    assert Image.open(io.BytesIO(images.thumbnail(path))).size == (40, 40)


def test_inspect_many__keeps_order_and_reports_the_bad(tmp_path: Path) -> None:
    paths = []
    for index in range(40):
        path = tmp_path / f"{index}.png"
        side = 20 + (37 * index) % 200
        path.write_bytes(b"" if index % 7 == 3 else encoded(photo().resize((side, side)), "PNG"))
        paths.append(path)
    results = list(images.inspect_many(paths, workers=3))
    assert [path for path, _ in results] == paths
    for index, (_, seen) in enumerate(results):
        assert isinstance(seen, UnreadableImage) == (index % 7 == 3)


def test_inspect_many__reads_ahead_only_a_window(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(photo(), "PNG"))
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield path

    stream = images.inspect_many(endless(), workers=2)
    for _ in range(10):
        next(stream)
    assert taken <= 10 + 8
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("inspect")]


def test_decode__does_not_touch_pillows_switches() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    images.decode(encoded(photo(), "PNG"))
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
