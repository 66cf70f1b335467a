"""What the parity tests share: steady arithmetic, loaded processors, drawn pictures."""

import golden_images
import pytest
import torch
from goldens import load_json, write_processor_folder
from transformers import AutoProcessor

from loupe.phi3_v import register


@pytest.fixture(scope="session", autouse=True)
def steady_arithmetic():
    """One thread, as recorded; the first cosines of a process can be off by 1e-4 with several."""
    register()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for function in (torch.cos, torch.sin, torch.exp):
        function(torch.linspace(-1, 1, 1 << 16))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def processor_of(tmp_path_factory):
    """AutoProcessor of a published folder, by num_crops."""
    loaded = {}

    def load(num_crops):
        if num_crops not in loaded:
            folder = write_processor_folder(tmp_path_factory.mktemp("processor"), num_crops)
            loaded[num_crops] = AutoProcessor.from_pretrained(folder)
        return loaded[num_crops]

    return load


@pytest.fixture(scope="session")
def draw():
    """Draw the pictures of the goldens by name."""
    specs = {spec["name"]: spec for spec in load_json("processor.json")["images"]}

    drawn = {}

    def draw_names(names):
        for name in names:
            if name not in drawn:
                drawn[name] = golden_images.draw(specs[name])
                assert golden_images.raw_sha256(drawn[name]) == specs[name]["raw_sha256"]
        return [drawn[name] for name in names]

    return draw_names
