import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest

from loupe.build import build_dataset
from loupe.build.profile.bars import rank, spread
from loupe.options import BuildOptions

from ..conftest import write_catalogue


class Seen(HTMLParser):
    """What a page would fetch, run and show."""

    def __init__(self, page):
        super().__init__()
        self.addresses, self.tags, self.words = [], set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def profiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profile")
    titles = [f"Bag {row // 2} <script>alert(1)</script>" for row in range(40)]
    prices = [100.0 * 1.2**row for row in range(40)]
    prices[3] = "N.A."
    pictures = [f"pictures/{row}.jpg" for row in range(40)]
    pictures[5] = "pictures/<b>none</b>.jpg"
    source = write_catalogue(folder, 40, title=titles, full_price=prices, image=pictures)
    result = build_dataset(BuildOptions(source=str(source), output=str(folder / "data")))
    return result, (folder / "data" / "profile.html").read_text("utf-8")


def test_page_fetches_and_runs_nothing(profiled):
    seen = Seen(profiled[1])
    assert seen.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in seen.addresses)
    assert not seen.tags & {"script", "link", "iframe", "b"}
    assert "url(" not in profiled[1]
    assert "default-src 'none'" in profiled[1]


def test_page_tells_counts_reasons_and_audit(profiled):
    result, page = profiled
    words = " ".join(" ".join(Seen(page).words).split())
    assert "38 of 40 rows kept" in words
    assert "missing_value 1 row 4 (1030): full_price: the value is missing" in words
    assert "missing_picture 1 row 6 (1050):" in words
    assert "<b>none</b>" in words
    error = result.split["audit"]["neighbour_price_error"]
    assert f"{error['this_split']:.1%} {error['random_split']:.1%}" in words


def test_contact_sheet_shows_rows_of_every_split(profiled):
    result, page = profiled
    shown = {
        split: len(re.findall(f'class="side {split}"', page))
        for split in ("train", "validation", "test")
    }
    most = {"train": 24, "validation": 8, "test": 16}
    assert shown == {split: min(most[split], result.counts[split]) for split in most}


def by_split(train, validation=(), test=()):
    return {
        "train": np.array(train, float),
        "validation": np.array(validation, float),
        "test": np.array(test, float),
    }


@pytest.mark.parametrize(
    "numbers",
    [by_split([1, 10, 1000, 0.1]), by_split([5, 6], [7], [5.5]), by_split([-3, 3]), by_split([7])],
    ids=["wide", "narrow", "negative", "one value"],
)
def test_every_number_is_in_one_bar(numbers):
    bars = spread(numbers)
    rows = np.array([parts for _, parts in bars]).sum(axis=0).tolist()
    assert rows == [len(each) for each in numbers.values()]


def test_rare_values_share_the_last_bar():
    counts = {"train": Counter("aabbbc"), "validation": Counter(), "test": Counter("cd")}
    assert rank(counts, 2) == [("b", [3, 0, 0]), ("a", [2, 0, 0]), ("2 others", [1, 0, 2])]
