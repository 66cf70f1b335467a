import numpy as np
import pytest
import torch
from PIL import Image
from tiny_phi3_v import CROP_PX, draw

from loupe.phi3_v import Phi3VImageProcessor
from loupe.phi3_v.image_processing_phi3_v import shrink_to_crop


@pytest.fixture
def small():
    return Phi3VImageProcessor(num_crops=4, crop_size=CROP_PX, num_img_tokens=4)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 2), (5, 1), (6, 7)])
def test_shrinking_by_slices_is_bicubic_interpolation(size):
    rows, columns = size
    levels = torch.randint(0, 256, (3, rows * 16, columns * 16), dtype=torch.uint8)
    expected = torch.nn.functional.interpolate(
        levels[None].float(), size=(16, 16), mode="bicubic", align_corners=False
    )
    # Levels up to 255 in float32: some sums are taken in another order.
    torch.testing.assert_close(shrink_to_crop(levels, 16), expected[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("width", "height"), [(120, 50), (50, 120), (9, 9), (300, 20)])
def test_counted_tokens_are_the_tokens_made(small, width, height):
    outputs = small(draw(width, height, seed=0), return_tensors="pt")
    assert small.count_image_tokens(height, width) == outputs["num_img_tokens"].item()


def test_padding_to_the_batch_keeps_the_same_crops(small, wide, tall):
    full = small([wide, tall], return_tensors="pt")
    short = small([wide, tall], return_tensors="pt", pad_to_num_crops=False)
    crops = short["pixel_values"].shape[1]
    assert crops < full["pixel_values"].shape[1]
    assert torch.equal(short["pixel_values"], full["pixel_values"][:, :crops])
    assert not full["pixel_values"][:, crops:].any()


def test_crops_per_picture_can_be_set_for_a_call(small, wide):
    pixels = small(wide, num_crops=1, return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 2, 3, CROP_PX, CROP_PX)
    assert small.num_crops == 4


def test_arrays_paths_and_nested_lists_are_read(small, wide, tmp_path):
    wide.save(tmp_path / "wide.png")
    expected = small(wide, return_tensors="pt")["pixel_values"]
    for same in (np.asarray(wide), tmp_path / "wide.png", str(tmp_path / "wide.png"), [[wide]]):
        assert torch.equal(small(same, return_tensors="pt")["pixel_values"], expected)


def test_arrays_are_returned_where_asked(small, wide):
    assert isinstance(small(wide, return_tensors="np")["pixel_values"], np.ndarray)


def test_pictures_are_left_alone(small):
    levels = np.zeros((20, 30, 3), dtype=np.uint8)
    picture = Image.fromarray(levels).convert("RGBA")
    before = picture.tobytes()
    small([picture, levels])
    assert picture.tobytes() == before
    assert not levels.any()


def test_saving_writes_the_published_keys_and_what_differs(small, tmp_path):
    small.save_pretrained(tmp_path)
    again = Phi3VImageProcessor.from_pretrained(tmp_path)
    assert again.to_dict() == small.to_dict()
    assert again.crop_size == CROP_PX
    assert "crop_size" not in Phi3VImageProcessor().to_dict()


@pytest.mark.parametrize(
    ("images", "settings", "error", "message"),
    [
        ([], {}, ValueError, "No picture was given"),
        (draw(9, 9, 0), {"num_crops": 0}, ValueError, "num_crops is 0"),
        (draw(900, 1, 0), {"num_crops": 1}, ValueError, "900 x 1 px is too narrow"),
        (3.5, {}, TypeError, "A picture is a float; a Pillow image"),
        (np.zeros((3, 3, 3)), {}, TypeError, "A picture is a ndarray"),
    ],
    ids=["none", "no-crops", "narrow", "number", "float-array"],
)
def test_what_cannot_be_read_is_refused(small, images, settings, error, message):
    with pytest.raises(error, match=message):
        small(images, **settings)


def test_other_modes_are_refused_where_they_may_not_be_converted():
    strict = Phi3VImageProcessor(do_convert_rgb=False)
    with pytest.raises(ValueError, match="mode 'L'; RGB is expected"):
        strict(Image.new("L", (9, 9)))


def test_a_crop_of_tokens_must_be_square():
    with pytest.raises(ValueError, match="num_img_tokens is 10"):
        Phi3VImageProcessor(num_img_tokens=10)
