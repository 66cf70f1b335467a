import pytest
import torch
from tiny_phi3_v import CROP_PX

from loupe.phi3_v.vision_phi3_v import grids_from_sizes, merge_patches, select_real_crops


def test_patches_are_joined_in_the_published_order():
    patches = torch.arange(16.0).view(1, 16, 1)  # one crop of 4 x 4 patches
    merged = merge_patches(patches)
    assert merged.shape == (1, 2, 2, 4)
    assert merged[0, 0, 0].tolist() == [0, 1, 4, 5]
    assert merged[0, 1, 1].tolist() == [10, 11, 14, 15]


def test_only_real_crops_are_kept():
    pixels = torch.arange(10.0).view(2, 5, 1, 1, 1)
    crops = select_real_crops(pixels, [(1, 1), (1, 3)])
    assert crops.flatten().tolist() == [0, 1, 5, 6, 7, 8]


@pytest.mark.parametrize("size", [[CROP_PX, 60], [0, CROP_PX]])
def test_sizes_that_are_no_crops_are_refused(size):
    with pytest.raises(ValueError, match=f"both must be multiples of {CROP_PX} px"):
        grids_from_sizes(torch.tensor([size]), CROP_PX)


def test_missing_crops_are_refused():
    with pytest.raises(ValueError, match="1 pictures of up to 3 crops; image_sizes tells of 1"):
        select_real_crops(torch.zeros(1, 3, 3, 8, 8), [(2, 2)])


def test_zero_padding_crops_never_enter_the_tower(processor, model, mixed):
    texts, images = mixed
    inputs = processor(texts, images, padding=True, return_tensors="pt")
    entered = []
    tower = model.model.vision_embed_tokens.img_processor
    tower.register_forward_pre_hook(lambda _, crops: entered.append(len(crops[0])))
    with torch.no_grad():
        model(**inputs)
    real = sum(1 + (h // CROP_PX) * (w // CROP_PX) for h, w in inputs["image_sizes"].tolist())
    assert entered == [real]
    assert real < inputs["pixel_values"].shape[0] * inputs["pixel_values"].shape[1]


def test_unused_layers_are_kept_but_never_run(processor, model, mixed):
    texts, images = mixed
    ran = []
    clip = model.model.vision_embed_tokens.img_processor.vision_model
    for unused in (clip.encoder.layers[-1], clip.post_layernorm):
        unused.register_forward_hook(lambda *_: ran.append("unused"))
    clip.encoder.layers[-2].register_forward_hook(lambda *_: ran.append("last used"))
    with torch.no_grad():
        model(**processor(texts, images, padding=True, return_tensors="pt"))
    assert ran == ["last used"]


def test_what_is_in_the_padding_changes_nothing(processor, model, wide):
    inputs = processor("<|image_1|>", wide, return_tensors="pt")
    expected = model.get_image_features(inputs["pixel_values"], inputs["image_sizes"])[0]
    height, width = inputs["image_sizes"][0].tolist()
    inputs["pixel_values"][:, 1 + (height // CROP_PX) * (width // CROP_PX) :] = 3.0
    found = model.get_image_features(inputs["pixel_values"], inputs["image_sizes"])[0]
    assert torch.equal(found, expected)
