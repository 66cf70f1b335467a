"""Export: the dataset once more, in the formats that other trainers read."""

from loupe.build.export.export import check_formats, export_dataset

__all__ = ["check_formats", "export_dataset"]
