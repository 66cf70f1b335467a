import sys

import pytest

from loupe.errors import MissingExtraError, TrainError
from loupe.options import TrainOptions
from loupe.train.requirements import check_requirements


def options(**settings):
    return TrainOptions(dataset="data", output="model", **settings)


@pytest.fixture
def without(monkeypatch):
    return lambda package: monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "qlora"}, "qlora needs a CUDA GPU .* this machine offers cpu. Choose --method"),
        ({"precision": "fp16"}, "precision fp16 is for GPUs, and there is none here"),
        ({"optimizer": "lion_9bit"}, "optimizer 'lion_9bit' is not known"),
        ({"schedule": "square"}, "schedule 'square': unknown"),
        ({"sharding": "fsdp"}, "among several processes; there is 1, .* Start it with torchrun"),
    ],
    ids=lambda value: next(iter(value.items())) if isinstance(value, dict) else None,
)
def test_what_this_machine_cannot_run_is_refused(monkeypatch, settings, words):
    monkeypatch.setattr("loupe.vlm.choose_device", lambda _: "cpu")
    with pytest.raises(TrainError, match=words):
        check_requirements(options(**settings))


def test_every_method_that_needs_no_gpu_passes():
    check_requirements(options())
    check_requirements(options(method="lora", use_dora=True, optimizer="adafactor"))


def test_a_missing_package_names_its_extra(monkeypatch, without):
    without("peft")
    with pytest.raises(MissingExtraError, match=r"lora\) needs peft: .*loupe-vlm\[train\]"):
        check_requirements(options(method="lora"))
    without("accelerate")
    with pytest.raises(MissingExtraError, match=r"Training needs accelerate: .*\[train\]"):
        check_requirements(options())


def test_qlora_on_a_gpu_names_the_extra_of_bitsandbytes(monkeypatch, without):
    monkeypatch.setattr("loupe.vlm.choose_device", lambda _: "cuda")
    without("bitsandbytes")
    with pytest.raises(MissingExtraError, match=r"needs bitsandbytes: .*loupe-vlm\[qlora\]"):
        check_requirements(options(method="qlora"))


def test_a_transformers_that_cannot_divide_a_model_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_requirements(options(sharding="fsdp"))
    monkeypatch.delattr("transformers.Trainer._defer_fsdp_gradient_reduction")
    with pytest.raises(TrainError, match=r"made with transformers 5.23, .* --sharding none"):
        check_requirements(options(sharding="fsdp"))
