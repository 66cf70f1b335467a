"""Build: a table or a folder of pictures becomes a checked, split dataset."""

from loupe.build.dataset import Dataset, Split
from loupe.build.stage import BuildResult, build_dataset

__all__ = ["BuildResult", "Dataset", "Split", "build_dataset"]
