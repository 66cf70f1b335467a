"""Any vision-language model and its processor, through transformers' Auto classes.

Only this module loads models; what differs from family to family is in `family`, and is had from
here. Weights are read from safetensors alone, and no code that comes with a checkpoint is run.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
)
from transformers.utils import logging

from loupe.errors import CheckpointError, MissingExtraError
from loupe.family import (
    IGNORED_LABEL,
    PARTS,
    PHI3_V_END,
    Dialogue,
    Pictures,
    answer_loss,
    check_pictures,
    count_picture_tokens,
    fit_picture_size,
    has_answer_loss,
    list_pictures,
    make_dialogue,
    make_prompts,
    part_of,
    pool_image_features,
    prepare_pictures,
    set_answers_apart,
    token_kinds,
    underlying_model,
)
from loupe.phi3_v import Phi3VConfig, Phi3VProcessor, register

__all__ = [
    "IGNORED_LABEL",
    "PARTS",
    "PHI3_V_END",
    "PICKLED_WEIGHTS",
    "TINY",
    "TINY_FOLDER",
    "Dialogue",
    "Phi3VConfig",
    "Phi3VProcessor",
    "Pictures",
    "answer_loss",
    "build_without_weights",
    "check_pictures",
    "choose_device",
    "count_parameters_by_part",
    "count_picture_tokens",
    "fit_picture_size",
    "has_answer_loss",
    "list_pictures",
    "load_config",
    "load_model_and_processor",
    "load_processor",
    "make_dialogue",
    "make_prompts",
    "part_of",
    "pool_image_features",
    "prepare_pictures",
    "set_answers_apart",
    "stop_generation_at",
    "token_kinds",
    "underlying_model",
    "without_peft_warning",
    "without_progress_bars",
]

TINY = "tiny"
TINY_FOLDER = Path(__file__).parent / "assets" / TINY
PICKLED_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt")
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def load_model_and_processor(
    model: str,
    *,
    dtype: torch.dtype | str = "auto",
    device: str | torch.device = "cpu",
    attention: str = "sdpa",
    quantization: Any = None,
) -> tuple[Any, Any]:
    """Load a checkpoint folder, an adapter folder with its base, a hub name, or `tiny`.

    `dtype` "auto" keeps the checkpoint's own. An adapter is loaded onto its base, unmerged.
    `quantization` is a quantisation config of transformers, put to work while the weights are read.

    Raises:
        CheckpointError: there is no such folder or hub name; its config, processor or weights are
            missing, pickled, or of a family that is unknown or reads no pictures; its processor
            needs a package that is not installed.
        MissingExtraError: an adapter needs peft.
    """
    adapter = Path(model) if (Path(model) / "adapter_config.json").is_file() else None
    source = _locate(_base_of(adapter) if adapter else model)
    register()
    _check_family(model, Path(source))
    _check_weights(source)
    processor = load_processor(model)
    try:
        with without_progress_bars():
            loaded, report = AutoModelForImageTextToText.from_pretrained(
                source,
                dtype=dtype,
                attn_implementation=attention,
                use_safetensors=True,
                output_loading_info=True,
                quantization_config=quantization,
                device_map=None if quantization is None else {"": device},
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _explain(model, error) from error
    if missing := sorted(report["missing_keys"]):
        raise CheckpointError(
            f"{model!r} lacks {len(missing)} weights, {missing[0]} first; they would be random. "
            "Download the checkpoint again, all its safetensors files."
        )
    if adapter:
        loaded = _put_adapter_on(loaded, adapter)
    return (loaded if quantization else loaded.to(device)).eval(), processor


def build_without_weights(model: str, dtype: str) -> Any:
    """Build a model that `load_processor` could read on the meta device: shapes and types alone."""
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(
            load_config(model), dtype=getattr(torch, dtype)
        )


def load_config(model: str) -> Any:
    """Load the config of a model that `load_processor` could read; an adapter's is its base's."""
    adapter = Path(model) if (Path(model) / "adapter_config.json").is_file() else None
    register()
    return AutoConfig.from_pretrained(_locate(_base_of(adapter) if adapter else model))


def load_processor(model: str) -> Any:
    """Load the processor of a checkpoint or adapter folder, a hub name, or `tiny`.

    Raises:
        CheckpointError: the folder or its processor is missing, or needs a package that is.
    """
    source = _locate(model)
    register()
    try:
        processor = AutoProcessor.from_pretrained(source)
    except ImportError as error:  # such as torchvision, for families that read videos as well
        raise CheckpointError(
            f"The processor of {model!r} cannot be had: {_first_line(error).partition('. ')[0]}. "
            "Install that, or choose a family that does without, such as llava_next, idefics3 or "
            "gemma3."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _explain(model, error) from error
    if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
        raise CheckpointError(
            f"{model!r} has no processor for pictures and text: {type(processor).__name__} was "
            "found. Put preprocessor_config.json and the tokenizer's files beside the weights."
        )
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return processor


def stop_generation_at(model: Any, dialogue: Dialogue) -> None:
    """Make the model's own generation settings end an answer where it ends, for other tools."""
    settings = model.generation_config
    given = settings.eos_token_id
    ends = given if isinstance(given, list) else [given]
    settings.eos_token_id = sorted({dialogue.end_id, *(end for end in ends if end is not None)})


def count_parameters_by_part(model: Any) -> dict[str, tuple[int, int]]:
    """Count (trained, all) parameters of tower, projection, embeddings, decoder, head, adapters."""
    counts = dict.fromkeys(["adapters", *PARTS], (0, 0))
    for name, value in model.named_parameters():
        part = "adapters" if ".lora_" in name else part_of(name)
        trained, everything = counts[part]
        packed = getattr(value, "quant_state", None)  # two numbers to a byte, by bitsandbytes
        size = value.numel() if packed is None else packed.shape.numel()
        counts[part] = trained + size * int(value.requires_grad), everything + size
    return {part: count for part, count in counts.items() if count[1]}


def choose_device(name: str) -> str:
    """Give the device meant by `auto`: cuda, mps or cpu, in this order; others as they are."""
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _locate(model: str) -> str:
    """Give the folder or hub name that a model's name means."""
    path = TINY_FOLDER if model == TINY and not Path(model).is_dir() else Path(model).expanduser()
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
            raise CheckpointError(
                f"Folder {model!r} has no config.json; it is no checkpoint. Name a folder that "
                "`loupe train` finished, or a downloaded checkpoint."
            )
        return str(path)
    if model == TINY:
        raise CheckpointError(
            f"The tiny base is not in this installation ({TINY_FOLDER}). Install the released "
            "package, or make the base with scripts/pretrain_tiny.py."
        )
    if path.exists() or not HUB_NAME.fullmatch(model):
        raise CheckpointError(
            f"There is no model folder {model!r}. Give a checkpoint folder, a hub name such as "
            f"microsoft/Phi-3.5-vision-instruct, or {TINY!r}."
        )
    return model


def _base_of(adapter: Path) -> str:
    settings = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    base = settings.get("base_model_name_or_path")
    if not base:
        raise CheckpointError(
            f"Adapter {str(adapter)!r} does not say which base it belongs to. Set "
            "base_model_name_or_path in its adapter_config.json."
        )
    return str(base)


def _check_family(model: str, folder: Path) -> None:
    """Refuse a checkpoint of which its config tells that it cannot answer about pictures."""
    kind = _model_type(folder)
    if kind is None:
        return
    if kind not in CONFIG_MAPPING:
        raise CheckpointError(
            f"Folder {model!r} has model_type {kind!r}, which transformers does not know without "
            "code from the checkpoint, and such code is not run. Use phi3_v or a family that "
            "transformers has."
        )
    family = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING.get(CONFIG_MAPPING[kind], None)
    if family is None or not hasattr(family, "get_image_features"):
        raise CheckpointError(
            f"Folder {model!r} has model_type {kind!r}, "
            f"{'no vision-language model' if family is None else 'which gives no image features'}. "
            "Use phi3_v or another family of AutoModelForImageTextToText, such as llava_next, "
            "idefics3 or gemma3."
        )


def _check_weights(source: str) -> None:
    folder = Path(source)
    if not folder.is_dir() or any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for pattern in PICKLED_WEIGHTS for path in folder.glob(pattern))
    if pickled:
        raise CheckpointError(
            f"Folder {source!r} holds pickled weights only ({pickled[0]}); loading them could run "
            "code. Convert them to safetensors, or download the safetensors of this checkpoint."
        )
    raise CheckpointError(
        f"Folder {source!r} has a config.json but no weights; expected model.safetensors."
    )


def _explain(model: str, error: Exception) -> CheckpointError:
    """Say in words why a checkpoint cannot be loaded."""
    folder = Path(_locate(model))
    if not folder.is_dir():
        return CheckpointError(
            f"{model!r} is no folder here, and it could not be had from the hub "
            f"({_first_line(error)}). Check the name and the network, or download it first."
        )
    files = {path.name for path in folder.iterdir()}
    if not files & {"preprocessor_config.json", "processor_config.json"} or not any(
        name.startswith("tokenizer") for name in files
    ):
        return CheckpointError(
            f"Folder {model!r} has no processor: preprocessor_config.json and the tokenizer's "
            "files are expected beside the weights. Copy them from the checkpoint it was made of."
        )
    return CheckpointError(f"{model!r} cannot be loaded: {_first_line(error)}")


def _model_type(folder: Path) -> str | None:
    path = folder / "config.json"
    if not path.is_file():
        return None
    try:
        kind = json.loads(path.read_text("utf-8")).get("model_type")
    except (json.JSONDecodeError, AttributeError):
        return None
    return None if kind is None else str(kind)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _put_adapter_on(model: Any, adapter: Path) -> Any:
    if not any(adapter.glob("*.safetensors")):
        raise CheckpointError(
            f"Adapter {str(adapter)!r} has no adapter_model.safetensors; only safetensors are read."
        )
    try:
        from peft import PeftModel
    except ImportError as error:
        raise MissingExtraError("Loading an adapter", "peft", "train") from error
    with without_peft_warning():
        return PeftModel.from_pretrained(model, str(adapter))


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Keep transformers' bars for reading and writing weights off; a stage has one of its own."""
    had_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if had_bars:
            logging.enable_progress_bar()


@contextmanager
def without_peft_warning() -> Iterator[None]:
    """Silence a warning about peft's own code that nobody but peft can heed.

    Goes away when peft no longer reads `is_gradient_checkpointing` (0.21 does).
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning
        )
        yield
