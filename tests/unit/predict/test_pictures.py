import numpy as np
import pytest
from PIL import Image

from loupe.build.pictures import PictureRules, check_picture
from loupe.errors import PredictError
from loupe.predict.pictures import find_pictures, open_picture

RULES = PictureRules(
    min_side_px=1, min_contrast=8, max_pixels=10**6, max_side_px=None, max_bytes=10**6
)


def half_and_half(mode):
    """Left half dark, right half light, in any mode; transparent at the top where that exists."""
    levels = np.full((6, 8), 40, np.uint8)
    levels[:, 4:] = 200
    if mode == "I;16":
        return Image.fromarray(levels.astype(np.uint16) * 257)
    image = Image.fromarray(levels).convert("RGBA")
    if mode in {"RGBA", "LA"}:
        image.putalpha(
            Image.fromarray(
                np.where(np.arange(6)[:, None] < 3, 0, 255).astype(np.uint8).repeat(8, 1)
            )
        )
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_pixels_are_those_that_a_dataset_stores(tmp_path, mode):
    path = tmp_path / ("drawn.tiff" if mode == "CMYK" else "drawn.png")
    half_and_half(mode).save(path)

    built = check_picture(path, RULES, tmp_path / "rewritten")

    with Image.open(built.path) as stored:
        assert np.array_equal(np.asarray(stored.convert("RGB")), np.asarray(open_picture(path)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_come_upright_as_in_a_dataset(tmp_path, orientation):
    drawn = half_and_half("RGB")
    exif = drawn.getexif()
    exif[0x0112] = orientation
    drawn.save(tmp_path / "turned.png", exif=exif)

    built = check_picture(tmp_path / "turned.png", RULES, tmp_path / "rewritten")

    with Image.open(built.path) as stored:
        assert np.array_equal(np.asarray(stored), np.asarray(open_picture(tmp_path / "turned.png")))


def test_folders_are_expanded_in_order_and_files_stay_as_given(tmp_path):
    for name in ["b.png", "a.JPG", "notes.txt", "deep/c.webp"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_pictures(["loose.dat", str(tmp_path)])
    assert [path.name for path in found] == ["loose.dat", "a.JPG", "b.png", "c.webp"]


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(PredictError, match=r"There is no picture file '.*gone\.png'"):
        open_picture(tmp_path / "gone.png")


@pytest.mark.parametrize("content", [b"", b"plain text", b"\x89PNG\r\n\x1a\n cut off"], ids=repr)
def test_a_file_that_is_no_picture_is_told(tmp_path, content):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(
        PredictError, match=r"bad\.png' cannot be read as a picture .* expected JPEG"
    ):
        open_picture(tmp_path / "bad.png")


def test_a_truncated_picture_is_told(tmp_path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:800])
    with pytest.raises(PredictError, match="cannot be read as a picture"):
        open_picture(tmp_path / "cut.png")
