"""The report: one HTML file with the verdict, the comparisons, the plots and every row."""

from loupe.evaluate.report.page import render_report
from loupe.evaluate.report.rows import MAX_TABLE_ROWS

__all__ = ["MAX_TABLE_ROWS", "render_report"]
