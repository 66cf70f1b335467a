import re
from pathlib import Path

from loupe.build.ledger import Reason

PAGE = Path(__file__).parents[3] / "docs" / "build.md"


def test_page_explains_every_reason_and_no_other():
    section = PAGE.read_text("utf-8").partition("## Reasons")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == list(Reason)
