"""The option files for real checkpoints, on the full-size model without its weights."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from goldens import load_json

from loupe import cli, vlm
from loupe.phi3_v import Phi3VConfig, Phi3VForCausalLM
from loupe.train.adapters import choose_trained
from loupe.train.load import Load
from loupe.train.memory import estimate_memory

EXAMPLES = Path(__file__).parents[2] / "examples"
GIB = 2**30
ROOM = {  # GiB on each GPU
    "lora-24gib.yaml": 24,
    "several-pictures-24gib.yaml": 24,
    "qlora-12gib.yaml": 12,
    "full-8x80gib.yaml": 80,
}
GPUS = {"full-8x80gib.yaml": 8}
PICTURE_TOKENS = {4: 781, 16: 2653}  # of a square picture, by num_crops
QUESTION_AND_ANSWER = 100, 60  # tokens


def read_options(name):
    words = ["--config", str(EXAMPLES / name), "--dataset", "data", "--output", "model"]
    return cli._read_options("train", cli.COMMANDS["train"], words)


def build_full_size(options):
    """The published model on the meta device, with the published names, as it will be trained."""
    dtype = torch.float32 if options.method == "full" else torch.bfloat16
    with torch.device("meta"):
        model = Phi3VForCausalLM(Phi3VConfig(**load_json("official/phi35_vision_config.json")))
        assert model.state_dict().keys() == load_json("full_size_keys.json")["shapes"].keys()
        return choose_trained(model.to(dtype), options, options.model)


def stated_parameters(name):
    """What a file's comment says of trained and all parameters, by part."""
    comment = " ".join(re.findall(r"^#(.*)$", (EXAMPLES / name).read_text("utf-8"), re.MULTILINE))
    found = re.findall(r"(\w+) ([\d,]+) of ([\d,]+)", comment)
    return {part: tuple(int(n.replace(",", "")) for n in counts) for part, *counts in found}


@pytest.mark.parametrize("name", ROOM)
def test_an_option_file_trains_what_it_says_in_the_room_it_names(name):
    options = read_options(name)
    model, targets = build_full_size(options)

    layers = vlm.underlying_model(model).config.num_hidden_layers
    counts = {key: len(found) for met in targets.values() for key, found in met.items()}
    assert counts == dict.fromkeys(options.lora_targets, layers)
    assert stated_parameters(name) == vlm.count_parameters_by_part(model)

    prompt, answer = QUESTION_AND_ANSWER
    pictures = options.pictures or 1
    tokens = pictures * PICTURE_TOKENS[options.num_crops] + prompt + answer
    crops = pictures * (1 + options.num_crops)
    load = Load(options.batch_size, tokens, answer, crops, pictures)
    memory = estimate_memory(model, load, options, precision="bf16")
    gpus = GPUS.get(name, 1)
    shared = memory.weights + memory.gradients + memory.optimizer
    whole = memory.peak - memory.weights - memory.optimizer  # gradients are in it once more
    expected = shared / gpus + whole if gpus > 1 else memory.peak
    assert expected < 0.85 * ROOM[name] * GIB


def test_the_config_for_fsdp_is_one_that_accelerate_reads():
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.utils import FullyShardedDataParallelPlugin

    path = EXAMPLES / "full-8x80gib-fsdp.yaml"
    config = load_config_from_file(str(path))
    assert (config.num_processes, str(config.distributed_type.value)) == (8, "FSDP")
    settings = yaml.safe_load(path.read_text("utf-8"))["fsdp_config"]
    known = FullyShardedDataParallelPlugin.__dataclass_fields__
    spelled_otherwise = {"offload_params", "transformer_layer_cls_to_wrap"}
    names = {name.removeprefix("fsdp_") for name in settings if name != "fsdp_version"}
    assert names - known.keys() <= spelled_otherwise


def test_the_layers_that_fsdp_wraps_are_the_models():
    config = yaml.safe_load((EXAMPLES / "full-8x80gib-fsdp.yaml").read_text("utf-8"))
    wrapped = config["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"].split(",")
    with torch.device("meta"):
        model = Phi3VForCausalLM(Phi3VConfig(**load_json("official/phi35_vision_config.json")))
    assert set(wrapped) <= {type(module).__name__ for module in model.modules()}
