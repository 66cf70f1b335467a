"""Refuse what this machine cannot run, before anything is loaded."""

from __future__ import annotations

from importlib.util import find_spec

from loupe.errors import MissingExtraError, TrainError
from loupe.options import TrainOptions

__all__ = ["check_requirements"]

DIVIDING = "_defer_fsdp_gradient_reduction"  # what our Trainer overrides where a model is divided


def check_requirements(options: TrainOptions) -> None:
    """Check method, precision, optimizer and schedule against what is installed and built in.

    Raises:
        TrainError: this machine cannot run what the options ask for.
        MissingExtraError: a package is not installed.
    """
    if find_spec("accelerate") is None:  # the Trainer needs it
        raise MissingExtraError("Training", "accelerate", "train")
    if options.method != "full" and find_spec("peft") is None:
        raise MissingExtraError(f"Training adapters (--method {options.method})", "peft", "train")
    import transformers

    from loupe.train import processes
    from loupe.train.optimizer import default_learning_rate, find_optimizer
    from loupe.train.schedule import learning_rate_course
    from loupe.vlm import choose_device

    device = choose_device("auto")
    if options.method == "qlora":
        _check_four_bit(device)
    if options.sharding == "fsdp" and (processes.count() == 1 or options.method == "qlora"):
        raise TrainError(
            f"sharding fsdp divides a model among several processes; there is {processes.count()}, "
            f"and method {options.method}. Start it with torchrun, with method full or lora; or "
            "choose --sharding none."
        )
    if options.sharding == "fsdp" and not hasattr(transformers.Trainer, DIVIDING):
        raise TrainError(
            f"sharding fsdp was made with transformers 5.23, and its Trainer knows what "
            f"{transformers.__version__} does not. Upgrade it, or choose --sharding none."
        )
    if options.precision == "fp16" and device == "cpu":
        raise TrainError(
            "precision fp16 is for GPUs, and there is none here. Choose --precision auto or fp32."
        )
    rate = options.learning_rate or default_learning_rate(options.method, options.optimizer)
    find_optimizer(options.optimizer, rate, device)
    learning_rate_course(options.schedule, options.warmup_share, rate, options.schedule_settings)


def _check_four_bit(device: str) -> None:
    if not device.startswith("cuda"):
        raise TrainError(
            f"method qlora needs a CUDA GPU for its 4-bit base; this machine offers {device}. "
            "Choose --method lora."
        )
    if find_spec("bitsandbytes") is None:
        raise MissingExtraError("A 4-bit base (--method qlora)", "bitsandbytes", "qlora")
