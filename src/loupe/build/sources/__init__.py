"""Every kind of source as one table: text, Parquet, Excel, folders, Hugging Face datasets."""

from loupe.build.sources.read import TABLE_SUFFIXES, read_table
from loupe.build.sources.reading import Reading

__all__ = ["TABLE_SUFFIXES", "Reading", "read_table"]
