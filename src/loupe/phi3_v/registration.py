"""Tell transformers' Auto classes about Phi-3-Vision."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
)

# The name in `transformers` itself is a stand-in that wants torchvision, up to transformers 5.17.
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from loupe.phi3_v.configuration_phi3_v import Phi3VConfig
from loupe.phi3_v.image_processing_phi3_v import Phi3VImageProcessor
from loupe.phi3_v.modeling_phi3_v import Phi3VForCausalLM, Phi3VModel
from loupe.phi3_v.processing_phi3_v import Phi3VProcessor


def register() -> None:
    """Make the Auto classes know `model_type: phi3_v`. Calling it again changes nothing.

    `AutoTokenizer` is left alone: beside a published `config.json` it reads the tokenizer rightly,
    without one it does not (`docs/model.md`). The processor always does.
    """
    AutoConfig.register(Phi3VConfig.model_type, Phi3VConfig, exist_ok=True)
    AutoImageProcessor.register(
        Phi3VConfig, image_processor_classes={"pil": Phi3VImageProcessor}, exist_ok=True
    )
    AutoProcessor.register(Phi3VConfig, Phi3VProcessor, exist_ok=True)
    AutoModel.register(Phi3VConfig, Phi3VModel, exist_ok=True)
    # The published auto_map knows the model as a causal one; the other is what it is.
    AutoModelForCausalLM.register(Phi3VConfig, Phi3VForCausalLM, exist_ok=True)
    AutoModelForImageTextToText.register(Phi3VConfig, Phi3VForCausalLM, exist_ok=True)
