"""Bring every picture to a checked local file: from the disk, the web, stores or the table."""

from loupe.build.fetching.fetch import FetchRules
from loupe.build.fetching.gather import Gathering, Job, gather_pictures

__all__ = ["FetchRules", "Gathering", "Job", "gather_pictures"]
