"""Loupe: fine-tune Phi-3-Vision to read a product off its picture, and prove that it does."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("loupe-vlm")
