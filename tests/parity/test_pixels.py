"""Pixels, sizes and token counts of the image processor against Microsoft's."""

import hashlib

import golden_images
import pytest
import torch
from goldens import CROP_SIZE_PX, GOLDEN, load_json
from safetensors.torch import load_file

RECORDED = load_json("processor.json")
CASES = pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: case["id"])
PIXEL_TOLERANCE = 1e-6  # of values up to 3: the view of the whole is normalised after, not before


@pytest.fixture(scope="module")
def samples():
    return load_file(GOLDEN / "processor_samples.safetensors")


@CASES
def test_pixels_sizes_and_counts_are_the_recorded_ones(case, processor_of, draw, samples):
    outputs = processor_of(case["num_crops"]).image_processor(
        draw(case["images"]), return_tensors="pt"
    )
    pixels = outputs["pixel_values"]
    assert list(pixels.shape) == case["shape"]
    assert outputs["image_sizes"].tolist() == case["image_sizes"]
    assert outputs["num_img_tokens"].tolist() == case["num_img_tokens"]
    sampled = pixels.reshape(-1)[:: RECORDED["sample_stride"]]
    torch.testing.assert_close(sampled, samples[case["id"]], rtol=0, atol=PIXEL_TOLERANCE)
    assert pixels.double().mean().item() == pytest.approx(case["mean"], abs=1e-6)
    for crops, (height, width), digest in zip(
        pixels, case["image_sizes"], case["local_sha256"], strict=True
    ):
        count = (height // CROP_SIZE_PX) * (width // CROP_SIZE_PX)
        real = crops[1 : 1 + count].contiguous().numpy()
        assert hashlib.sha256(real.tobytes()).hexdigest() == digest  # bit for bit


@CASES
def test_tokens_are_counted_without_touching_pixels(case, processor_of, draw):
    processor = processor_of(case["num_crops"]).image_processor
    counts = [processor.count_image_tokens(p.height, p.width) for p in draw(case["images"])]
    assert counts == case["num_img_tokens"]


@pytest.mark.parametrize("case", RECORDED["errors"], ids=lambda case: case["id"])
def test_a_picture_that_would_vanish_is_refused(case, processor_of):
    processor = processor_of(case["num_crops"]).image_processor
    with pytest.raises(ValueError, match="too narrow: its shorter side would vanish"):
        processor([golden_images.draw(spec) for spec in case["specs"]])
