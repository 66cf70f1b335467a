import io
import re
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageCms

from loupe.build.ledger import Reason, Rejection
from loupe.build.pictures.check import PictureRules, check_picture

from ..conftest import draw, encode
from ..profiles import PROFILE

RULES = PictureRules(
    min_side_px=28, min_contrast=8, max_pixels=1_000_000, max_side_px=None, max_bytes=500_000
)


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
    picture = Image.new(mode, (40, 32), 0)
    picture.paste(Image.new(mode, (20, 32), "black"), (20, 0))
    found = check(tmp_path, encode(picture, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert stored(found).mode == "RGB"
    assert stored(found).getpixel((2, 9)) == (255, 255, 255)
    assert max(stored(found).getpixel((37, 9))) <= 1


def test_half_transparency_is_half_white(tmp_path):
    picture = Image.new("RGBA", (40, 32), (200, 0, 0, 128))
    picture.paste((0, 0, 0, 255), (20, 0, 40, 32))
    found = check(tmp_path, encode(picture, "PNG"))
    assert stored(found).getpixel((2, 9)) == (227, 127, 127)


def test_transparent_colour_of_a_palette_is_laid_onto_white(tmp_path):
    palette = Image.new("P", (40, 32), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(1, (20, 0, 40, 32))
    found = check(tmp_path, encode(palette, "PNG", transparency=0))
    assert stored(found).getpixel((0, 0)) == (255, 255, 255)
    assert stored(found).getpixel((39, 0)) == (0, 0, 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 40 * 32).astype(np.uint16).reshape(32, 40)
    found = check(tmp_path, encode(Image.fromarray(ramp), "PNG"))
    expected = np.round(ramp / 257).astype(np.uint8)
    assert np.array_equal(np.asarray(stored(found))[..., 0], expected)


def test_cmyk_becomes_rgb(tmp_path):
    picture = Image.new("CMYK", (40, 32), (0, 255, 255, 0))
    picture.paste((0, 0, 0, 255), (20, 0, 40, 32))
    found = check(tmp_path, encode(picture, "JPEG"))
    red, green, blue = stored(found).getpixel((5, 5))
    assert stored(found).mode == "RGB"
    assert red > 240
    assert max(green, blue) < 15


def test_colours_of_another_space_are_written_as_srgb_without_a_profile(tmp_path):
    content = encode(draw(5), "PNG", icc_profile=PROFILE)
    found = check(tmp_path, content)
    assert stored(found).info.get("icc_profile") is None
    assert np.asarray(stored(found)).tolist() != np.asarray(draw(5)).tolist()
    assert found.pixel_sha256 != check(tmp_path, encode(draw(5), "PNG")).pixel_sha256


def test_picture_with_an_srgb_profile_keeps_its_bytes(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = encode(draw(5), "JPEG", icc_profile=profile)
    assert check(tmp_path, content).path.read_bytes() == content


def test_tiff_orientation_is_applied_once(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    found = check(tmp_path, encode(draw(3), "TIFF", exif=exif))
    turned = draw(3).transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(np.asarray(stored(found)), np.asarray(turned))


def test_animation_gives_its_first_frame(tmp_path):
    frames = [draw(1), draw(2)]
    found = check(tmp_path, encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert found.suffix == ".png"
    difference = np.abs(np.asarray(stored(found), int) - np.asarray(frames[0], int))
    assert difference.max() <= 2  # a GIF rounds colours to a palette


@pytest.mark.parametrize(
    ("kind", "becomes"), [("BMP", "PNG"), ("TIFF", "PNG"), ("GIF", "PNG"), ("AVIF", "JPEG")]
)
def test_format_that_few_readers_know_is_written_anew(tmp_path, kind, becomes):
    found = check(tmp_path, encode(draw(), kind))
    assert stored(found).format == becomes
    difference = np.abs(np.asarray(stored(found), int) - np.asarray(draw(), int))
    assert np.median(difference) <= 3  # edges of lossy formats ring


def test_heif_is_read_where_its_reader_is_installed(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="the extra `heif`")
    buffer = io.BytesIO()
    heif.from_pillow(draw(3, (64, 48))).save(buffer)
    found = check(tmp_path, buffer.getvalue())
    assert stored(found).format == "JPEG"
    difference = np.abs(np.asarray(stored(found), int) - np.asarray(draw(3, (64, 48)), int))
    assert np.median(difference) <= 6  # HEVC's and the JPEG's rounding


def test_heif_without_its_reader_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("loupe.build.pictures.check.find_formats", lambda: ["JPEG"])
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    found = check(tmp_path, b"\0\0\0\x18ftypheic" + bytes(40))
    assert found.reason is Reason.NOT_A_PICTURE
    assert "pip install 'loupe-vlm[heif]'" in found.detail


def test_same_pixels_agree_in_their_hash_whatever_the_format(tmp_path):
    one = check(tmp_path, encode(draw(), "PNG"))
    other = check(tmp_path, encode(draw(), "WEBP", lossless=True))
    third = check(tmp_path, encode(draw(1), "PNG"))
    assert one.pixel_sha256 == other.pixel_sha256 != third.pixel_sha256
    assert one.sha256 != other.sha256


def test_picture_is_shrunk_to_the_longest_side_asked_for(tmp_path):
    rules = replace(RULES, max_side_px=50)
    found = check(tmp_path, encode(draw(size=(200, 120))), rules)
    assert stored(found).size == (found.width, found.height) == (50, 30)


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b"", Reason.EMPTY_FILE, "0 bytes"),
        (b"<!DOCTYPE html><title>404</title>", Reason.HTML_PAGE, "33 bytes of HTML, b'<!DOC"),
        (b"\xef\xbb\xbf\r\n<!-- x --><HTML lang=en>", Reason.HTML_PAGE, "bytes of HTML"),
        (b"<?xml version='1.0'?><html xmlns='x'>", Reason.HTML_PAGE, "bytes of HTML"),
        (b'{"error": "<html> 404"}', Reason.NOT_A_PICTURE, "begins b'{"),
        (b"%PDF-1.7 x", Reason.NOT_A_PICTURE, "begins b'%PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Reason.NOT_A_PICTURE, "an SVG or XML"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", Reason.NOT_A_PICTURE, "begins b'%!PS"),
        (encode(draw(size=(400, 300)))[:900], Reason.TRUNCATED, "cannot be decoded"),
        (encode(draw(), "PNG")[:-40], Reason.TRUNCATED, "cannot be decoded"),
        (encode(draw(), "GIF")[:-20], Reason.TRUNCATED, "cannot be decoded"),
        (encode(draw(), "BMP")[:-300], Reason.TRUNCATED, "cannot be decoded"),
        (encode(draw(), "TIFF")[:-900], Reason.TRUNCATED, "begin as a picture|cannot be decoded"),
        (encode(draw(), "AVIF")[:-40], Reason.TRUNCATED, "begin as a picture|cannot be decoded"),
        (
            encode(draw(size=(400, 300)), "JPEG", progressive=True)[:1500],
            Reason.TRUNCATED, "cannot be decoded",
        ),
        (encode(Image.new("RGB", (300, 300), "white")), Reason.PLAIN_COLOUR, "min_contrast 8"),
        (encode(Image.new("RGB", (99, 99), (90, 7, 0)), "GIF"), Reason.PLAIN_COLOUR, "of 255"),
        (encode(Image.new("LA", (99, 99), 0), "PNG"), Reason.PLAIN_COLOUR, "no channel varies"),
        (encode(draw(), "WEBP")[:60], Reason.TRUNCATED, "begin as a picture"),
        (b"\xff\xd8\xff\xe0", Reason.TRUNCATED, "begin as a picture"),
        (encode(draw(size=(12, 90))), Reason.TOO_SMALL, "12×90 px.*min_side_px 28"),
        (png_header(1001, 1000), Reason.TOO_MANY_PIXELS, "1001×1000 px is above max_pixels"),
        (png_header(60_000, 60_000), Reason.TOO_MANY_PIXELS, "decompression bomb"),
        (b"x" * 500_001, Reason.TOO_LARGE, "500,001 bytes, above max_bytes 500,000"),
        (encode(Image.new("F", (40, 32)), "TIFF"), Reason.UNSUPPORTED_PIXELS, "range"),
    ],
    ids=[
        "empty", "html", "html after a comment", "xhtml", "json", "pdf", "svg", "postscript",
        "cut jpeg", "cut png", "cut gif", "cut bmp", "cut tiff", "cut avif", "cut progressive",
        "white", "plain gif", "all transparent", "cut webp", "start",
        "small", "many pixels", "bomb", "many bytes", "float",
    ],
)  # fmt: skip
def test_bad_picture_is_rejected_with_its_reason(tmp_path, content, reason, words):
    found = check(tmp_path, content)
    assert isinstance(found, Rejection)
    assert found.reason is reason
    assert re.search(words, found.detail)


def test_contrast_of_zero_lets_plain_pictures_pass(tmp_path):
    found = check(tmp_path, encode(Image.new("RGB", (40, 40))), replace(RULES, min_contrast=0))
    assert (found.width, found.height) == (40, 40)


def test_picture_with_a_damaged_exif_block_counts_as_upright(tmp_path):
    content = encode(draw(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    assert check(tmp_path, content).path.read_bytes() == content


def test_missing_file_and_folder_are_missing_pictures(tmp_path):
    for path in (tmp_path / "none.jpg", tmp_path):
        found = check_picture(path, RULES, tmp_path / "rewritten")
        assert isinstance(found, Rejection)
        assert found.reason is Reason.MISSING_PICTURE


def photograph():
    """A picture without flat parts, so that every byte of its file is about some pixel."""
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    return Image.fromarray(noise).resize((400, 300))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("GIF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
    ids=["jpeg", "progressive", "png", "gif", "tiff"],
)  # fmt: skip
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_download_that_stopped_and_left_zeros_is_truncated(tmp_path, kind, settings, share):
    content = encode(photograph(), kind, **settings)
    length = int(len(content) * share)
    found = check(tmp_path, content[:length] + bytes(len(content) - length))
    assert isinstance(found, Rejection)
    assert found.reason is Reason.TRUNCATED


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_bytes_after_the_end_of_a_picture_do_no_harm(tmp_path, kind):
    whole = encode(draw(), kind)
    found = check(tmp_path, whole + b"\r\n<!-- served from a cache -->")
    assert found.pixel_sha256 == check(tmp_path, whole).pixel_sha256


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"])
def test_random_damage_never_raises(tmp_path, kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="the extra `heif`").register_heif_opener()
    rng = np.random.default_rng(0)
    content = encode(draw(5, (64, 64)), kind, icc_profile=PROFILE)
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 4):  # also in the colour profile
            damaged[place] = rng.integers(256)
        assert check(tmp_path, bytes(damaged[: rng.integers(1, len(content) + 1)]))
