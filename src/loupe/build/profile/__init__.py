"""Profile: what a dataset holds, what was left out and how it was split, on one page."""

from loupe.build.profile.page import write_profile

__all__ = ["write_profile"]
