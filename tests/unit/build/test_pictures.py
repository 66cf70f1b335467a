import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from loupe.build.ledger import Reason, Rejection
from loupe.build.pictures import PictureRules, check_picture

from .conftest import draw, encode

RULES = PictureRules(min_side_px=28, max_pixels=1_000_000, max_side_px=None, max_bytes=500_000)


def check(tmp_path, content, rules=RULES):
    path = tmp_path / "picture"
    path.write_bytes(content)
    return check_picture(path, rules, tmp_path / "rewritten")


def stored(found):
    return Image.open(io.BytesIO(found.path.read_bytes()))


def png_header(width, height):
    """A PNG that announces a size and holds nothing."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_upright_rgb_picture_keeps_its_bytes(tmp_path, kind):
    content = encode(draw(), kind)
    found = check(tmp_path, content)
    assert found.path.read_bytes() == content
    assert (found.width, found.height, found.size_bytes) == (40, 32, len(content))
    assert not (tmp_path / "rewritten").exists()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_is_applied_and_gone(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = draw(3)
    found = check(tmp_path, encode(picture, "PNG", exif=exif))
    again = stored(found)
    assert again.getexif().get(0x0112) is None
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    exif[0x0112] = back
    undone = check(tmp_path, encode(again, "PNG", exif=exif))
    assert np.array_equal(np.asarray(stored(undone)), np.asarray(picture))
    assert (found.width, found.height) == ((32, 40) if orientation > 4 else (40, 32))


def test_rotated_photograph_stays_a_jpeg(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    found = check(tmp_path, encode(draw(), "JPEG", exif=exif))
    assert found.suffix == ".jpg"
    assert stored(found).size == (32, 40)


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF")]
)
def test_transparency_is_laid_onto_white(tmp_path, mode, kind):
    clear = Image.new(mode, (40, 32), 0)
    found = check(tmp_path, encode(clear, kind))
    assert stored(found).mode == "RGB"
    assert set(stored(found).get_flattened_data()) == {(255, 255, 255)}


def test_transparent_colour_of_a_palette_is_laid_onto_white(tmp_path):
    palette = Image.new("P", (40, 32), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    found = check(tmp_path, encode(palette, "PNG", transparency=0))
    assert stored(found).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 40 * 32).astype(np.uint16).reshape(32, 40)
    found = check(tmp_path, encode(Image.fromarray(ramp), "PNG"))
    expected = np.round(ramp / 257).astype(np.uint8)
    assert np.array_equal(np.asarray(stored(found))[..., 0], expected)


def test_cmyk_becomes_rgb(tmp_path):
    found = check(tmp_path, encode(Image.new("CMYK", (40, 32), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = stored(found).getpixel((5, 5))
    assert stored(found).mode == "RGB"
    assert red > 240
    assert max(green, blue) < 15


def test_animation_gives_its_first_frame(tmp_path):
    frames = [draw(1), draw(2)]
    found = check(tmp_path, encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert found.suffix == ".png"
    difference = np.abs(np.asarray(stored(found), int) - np.asarray(frames[0], int))
    assert difference.max() <= 2  # a GIF rounds colours to a palette


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "AVIF"])
def test_format_that_few_readers_know_becomes_png(tmp_path, kind):
    found = check(tmp_path, encode(draw(), kind))
    assert stored(found).format == "PNG"


def test_same_pixels_agree_in_their_hash_whatever_the_format(tmp_path):
    one = check(tmp_path, encode(draw(), "PNG"))
    other = check(tmp_path, encode(draw(), "WEBP", lossless=True))
    third = check(tmp_path, encode(draw(1), "PNG"))
    assert one.pixel_sha256 == other.pixel_sha256 != third.pixel_sha256
    assert one.sha256 != other.sha256


def test_picture_is_shrunk_to_the_longest_side_asked_for(tmp_path):
    rules = PictureRules(min_side_px=28, max_pixels=10**6, max_side_px=50, max_bytes=10**6)
    found = check(tmp_path, encode(draw(size=(200, 120))), rules)
    assert stored(found).size == (found.width, found.height) == (50, 30)


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b"", Reason.EMPTY_FILE, "0 bytes"),
        (b"<!DOCTYPE html><title>404</title>", Reason.NOT_A_PICTURE, "an HTML page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Reason.NOT_A_PICTURE, "an SVG or XML"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", Reason.NOT_A_PICTURE, "begins b'%!PS"),
        (encode(draw(size=(400, 300)))[:900], Reason.TRUNCATED, "cannot be decoded"),
        (encode(draw(), "PNG")[:-40], Reason.TRUNCATED, "cannot be decoded"),
        (encode(draw(), "WEBP")[:60], Reason.TRUNCATED, "begin as a picture"),
        (b"\xff\xd8\xff\xe0", Reason.TRUNCATED, "begin as a picture"),
        (encode(draw(size=(12, 90))), Reason.TOO_SMALL, "12×90 px.*min_side_px 28"),
        (png_header(1001, 1000), Reason.TOO_MANY_PIXELS, "1001×1000 px is above max_pixels"),
        (png_header(60_000, 60_000), Reason.TOO_MANY_PIXELS, "decompression bomb"),
        (b"x" * 500_001, Reason.TOO_LARGE, "500,001 bytes, above max_bytes 500,000"),
        (encode(Image.new("F", (40, 32)), "TIFF"), Reason.UNSUPPORTED_PIXELS, "range"),
    ],
    ids=[
        "empty", "html", "svg", "postscript", "cut jpeg", "cut png", "cut webp", "start",
        "small", "many pixels", "bomb", "many bytes", "float",
    ],
)  # fmt: skip
def test_bad_picture_is_rejected_with_its_reason(tmp_path, content, reason, words):
    found = check(tmp_path, content)
    assert isinstance(found, Rejection)
    assert found.reason is reason
    assert re.search(words, found.detail)


def test_picture_with_a_damaged_exif_block_counts_as_upright(tmp_path):
    content = encode(draw(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    assert check(tmp_path, content).path.read_bytes() == content


def test_missing_file_and_folder_are_missing_pictures(tmp_path):
    for path in (tmp_path / "none.jpg", tmp_path):
        found = check_picture(path, RULES, tmp_path / "rewritten")
        assert isinstance(found, Rejection)
        assert found.reason is Reason.MISSING_PICTURE


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_random_damage_never_raises(tmp_path, kind):
    rng = np.random.default_rng(0)
    content = encode(draw(5), kind)
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 4):
            damaged[place] = rng.integers(256)
        assert check(tmp_path, bytes(damaged[: rng.integers(1, len(content) + 1)]))
