import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from curation import images
from curation.exporters import stripping
from tests.exportable import GPS, picture

PROFILE = b"a colour profile, as far as a file is concerned" * 3
XMP = b"<x:xmpmeta>" + GPS + b"</x:xmpmeta>"


def exif(orientation: int = 1) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    made[0x010E] = GPS.decode()
    made.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    made.get_ifd(0x8825)[29] = GPS.decode()
    return made


def saved(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    (image or picture(1, width=40, height=30)).save(file, kind, **options)
    return file.getvalue()


def jpeg_with_more() -> bytes:
    plain = saved("JPEG", exif=exif(6), comment=GPS, icc_profile=PROFILE, restart_marker_blocks=1)
    preview = b"\xff\xe2\x00\x17FPXR\0" + GPS
    return plain[:2] + preview + plain[2:] + b"\xff\xd8" + GPS + b"\xff\xd9"


def png_with_more() -> bytes:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", GPS.decode())
    notes.add_text("Zipped", GPS.decode(), zip=True)
    notes.add_itxt("Where", GPS.decode())
    notes.add(b"prVt", GPS)
    frames = [picture(2, width=40, height=30)]
    made = saved(
        "PNG", pnginfo=notes, exif=exif(8), icc_profile=PROFILE, save_all=True, append_images=frames
    )
    return made + GPS


def tiff_with_more() -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270] = tags[315] = GPS.decode() * 3
    tags[700] = XMP
    tags[34853] = {2: (1.0, 2.0, 3.0), 29: GPS.decode()}
    tags[274] = 6
    tags[65_000] = GPS.decode() * 2
    return saved(
        "TIFF", tiffinfo=tags, icc_profile=PROFILE, save_all=True, append_images=[picture(2)]
    )


def gif_with_more() -> bytes:
    frames = [picture(seed, width=40, height=30).quantize(16) for seed in (2, 3)]
    made = saved("GIF", frames[0], comment=GPS, save_all=True, append_images=frames[1:], loop=0)
    at = made.index(b"\x21\xf9")
    xmp = b"\x21\xff\x0bXMP DataXMP" + bytes([len(GPS)]) + GPS + b"\0"
    return made[:at] + xmp + made[at:]


MADE: dict[str, Callable[[], bytes]] = {
    "jpeg": jpeg_with_more,
    "progressive": lambda: saved("JPEG", progressive=True, exif=exif(), comment=GPS),
    "cmyk": lambda: saved("JPEG", picture(1).convert("CMYK"), exif=exif(), comment=GPS),
    "grey": lambda: saved("JPEG", picture(1).convert("L"), exif=exif(3)),
    "png": png_with_more,
    "palette": lambda: saved("PNG", picture(1).quantize(8), exif=exif()),
    "webp": lambda: saved("WEBP", exif=exif(6), xmp=XMP, icc_profile=PROFILE),
    "lossless": lambda: saved("WEBP", picture(1).convert("RGBA"), lossless=True, exif=exif()),
    "animation": lambda: saved(
        "WEBP", exif=exif(), xmp=XMP, save_all=True, append_images=[picture(2, width=40, height=30)]
    ),
    "gif": gif_with_more,
    "tiff": tiff_with_more,
    "avif": lambda: saved("AVIF", exif=exif(6), xmp=XMP, icc_profile=PROFILE),
    "bmp": lambda: saved("BMP") + GPS,
}


def orientation(data: bytes) -> int:
    return int(Image.open(io.BytesIO(data)).getexif().get(0x0112, 1))


@pytest.mark.parametrize("name", MADE)
def test_strip__takes_all_words_out_and_leaves_every_pixel(name: str) -> None:
    data = MADE[name]()
    assert GPS in data
    made = stripping.strip(data, orientation(data))
    assert GPS not in made
    assert orientation(made) == orientation(data)
    assert images.decode(made).tobytes() == images.decode(data).tobytes()
    before, after = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(made))
    assert after.mode == before.mode
    assert getattr(after, "n_frames", 1) == getattr(before, "n_frames", 1)
    assert after.info.get("icc_profile") == before.info.get("icc_profile")
    for frame in range(getattr(before, "n_frames", 1)):
        before.seek(frame)
        after.seek(frame)
        assert np.array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.parametrize("name", MADE)
def test_strip__twice_is_once(name: str) -> None:
    data = MADE[name]()
    once = stripping.strip(data, orientation(data))
    assert stripping.strip(once, orientation(once)) == once


def test_strip__an_unturned_jpeg_has_no_exif_at_all() -> None:
    assert b"Exif" not in stripping.strip(saved("JPEG", exif=exif()), 1)


def test_strip__a_thumbnail_within_jfif_goes() -> None:
    plain = saved("JPEG")
    assert plain[2:4] == b"\xff\xe0"
    thumbnail = plain[:4] + b"\x00\x13" + plain[6:18] + b"\x01\x01" + GPS[:3] + plain[20:]
    made = stripping.strip(thumbnail)
    assert made == plain


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "gif", "tiff", "avif"])
def test_strip__a_damaged_file_is_refused_or_cut_but_never_hangs(name: str) -> None:
    data = MADE[name]()
    rng = np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(data[: rng.integers(16, len(data))])
        for at in rng.integers(12, len(broken), 3):
            broken[at] = rng.integers(0, 256)
        try:
            stripping.strip(bytes(broken))
        except stripping.Unstrippable:
            continue


@pytest.mark.parametrize("turn", [1, 6])
def test_strip__avif_and_heic_lose_every_word(turn: int) -> None:
    import pillow_heif

    heic = io.BytesIO()
    pillow_heif.from_pillow(picture(1, width=64, height=48)).save(
        heic, exif=exif(turn).tobytes(), xmp=XMP
    )
    avif = saved("AVIF", picture(1, width=64, height=48), exif=exif(turn), xmp=XMP)
    for data in (avif, heic.getvalue()):
        assert GPS in data
        made = stripping.strip(data, turn)
        assert GPS not in made
        assert len(made) == len(data)
        assert images.decode(made).tobytes() == images.decode(data).tobytes()
    plain = saved("AVIF")
    assert stripping.strip(plain) == plain


def test_strip__what_is_no_image_is_refused() -> None:
    with pytest.raises(stripping.Unstrippable):
        stripping.strip(b"<svg>" + GPS)
