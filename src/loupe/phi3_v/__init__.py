"""Phi-3-Vision for transformers: configuration, processors, model; imports nothing of Loupe."""

from loupe.phi3_v.configuration_phi3_v import Phi3VConfig
from loupe.phi3_v.image_processing_phi3_v import Phi3VImageProcessor
from loupe.phi3_v.modeling_phi3_v import Phi3VForCausalLM, Phi3VModel
from loupe.phi3_v.processing_phi3_v import Phi3VProcessor
from loupe.phi3_v.registration import register

__all__ = [
    "Phi3VConfig",
    "Phi3VForCausalLM",
    "Phi3VImageProcessor",
    "Phi3VModel",
    "Phi3VProcessor",
    "register",
]
