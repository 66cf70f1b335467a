"""The one-file report."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from loupe.evaluate.report.plots import Axis
from loupe.evaluate.run import evaluate
from loupe.task import Task

VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what a test asks for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def report(make_dataset, make_predictor, options, task):
    """Give a function that evaluates and returns the report's text."""

    def report(task=task, change=lambda dataset: None, looks=True):
        dataset = make_dataset(task)
        change(dataset)
        predictor = make_predictor(dataset, looks)
        result = evaluate(dataset, lambda: predictor, replace(options, overwrite=True))
        return Path(result.report).read_text("utf-8")

    return report


def test_tags_nest_and_every_row_is_there(report):
    page = Page(report())
    assert page.open == []
    assert page.tags.count("tr") > 160
    assert page.tags.count("img") == 160 + 8  # and no example of a wrong row


def test_nothing_is_fetched_from_elsewhere(report):
    text = report()
    assert "default-src 'none'" in text
    addresses = [
        value
        for name, value in Page(text).attributes
        if name in {"src", "href", "srcset", "action"}
    ]
    assert all(value.startswith(("data:image/jpeg;base64,", "#")) for value in addresses)
    assert not re.search(r"https?://|url\(|@import", text)


def test_data_is_escaped_wherever_it_stands(report):
    hostile = "<script>alert('x')</script>\"&$name"

    def spoil(dataset):
        for split in dataset.splits.values():
            for row in split.rows:
                row["title"] = row["category3_code"] = row["row_id"] = hostile

    text = report(change=spoil)
    page = Page(text)
    assert page.open == []
    assert page.tags.count("script") == 2
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot;&amp;$name" in text


def blob(text):
    start = text.index('id="neighbours">') + len('id="neighbours">')
    return json.loads(text[start : text.index("</script>", start)])


def test_each_row_leads_to_its_nearest_training_rows(report):
    text = report()
    near = dict(Page(text).attributes)["data-near"].split()  # of the last row, a yellow bag
    training = blob(text)
    assert len(near) == len(set(near)) == 3
    assert [training[place]["values"][:2] for place in near] == [["Bag", "BAGS"]] * 3
    assert all(training[place]["picture"] for place in near)


def test_pictures_of_neighbours_stand_once_and_within_bounds(report, monkeypatch):
    monkeypatch.setattr("loupe.evaluate.neighbours.PAGE_BYTES", 0)
    with_picture = [row for row in blob(report()).values() if row["picture"]]
    assert len(with_picture) == 1


def test_rows_are_filtered_by_choices_and_errors(report):
    page = Page(report())
    named = [value for name, value in page.attributes if name == "data-field"]
    assert named == ["category3_code", "full_price"]
    chosen = [json.loads(value) for name, value in page.attributes if name == "data-choices"]
    assert chosen[:2] == [{"category3_code": "SHIRTS"}, {"category3_code": "SCARVES"}]


def test_names_of_fields_are_escaped_too(report):
    fields = {"<q>&": {"type": "text"}}
    task = Task.from_dict({"question": "?", "answer": "{<q>&}", "fields": fields})
    page = Page(report(task=task, change=add_field("<q>&", "Bag")))
    assert page.open == []
    assert page.tags.count("q") == 0


def add_field(name, value):
    def change(dataset):
        for split in dataset.splits.values():
            for row in split.rows:
                row[name] = value

    return change


def test_the_verdict_stands_at_the_top(report):
    assert "<h1>The model looks: its own picture makes it better at title" in report()
    assert "<h1>There is no evidence that the model looks" in report(looks=False)


def test_the_worst_part_stands_beside_what_chance_would_make_of_it(report):
    text = report(looks=False)
    assert "filled at random, would be" in text
    assert "the worst of many parts looks bad even where" in text


def test_sections_without_content_are_left_out(report):
    fields = {"title": {"type": "text"}}
    task = Task.from_dict({"question": "?", "answer": "{title}", "fields": fields})

    def part(dataset):
        for row in dataset.splits["test"].rows:
            row["group_id"] = row["row_id"]

    text = report(task=task, change=part)
    assert "Answered against true" not in text
    assert "Where it is good" not in text
    assert 'class="choice"' not in text
    assert 'class="above"' not in text


@pytest.mark.parametrize(
    ("numbers", "is_log"),
    [([10, 2000], True), ([10, 90], False), ([0, 5000], False), ([-5, 900], False), ([7], False)],
    ids=["wide", "narrow", "zero", "negative", "one"],
)
def test_axes_are_logarithmic_where_numbers_spread(numbers, is_log):
    axis = Axis.around(numbers)
    assert axis.is_log is is_log
    places = [axis.place(number) for number in numbers]
    assert places == sorted(places)
    assert all(0 < place < 1 for place in places)
    assert axis.place(1e15) == 1
    assert axis.place(-1e15) == 0
    assert 1 <= len(axis.ticks()) <= 12
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks())
