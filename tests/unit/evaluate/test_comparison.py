"""`loupe compare`: two evaluations of the same rows, and how sure their difference is."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loupe.errors import EvaluateError, OptionError
from loupe.evaluate import compare_evaluations
from loupe.options import CompareOptions, EvaluateOptions
from loupe.task import Task

ROWS = 60


@pytest.fixture
def write(tmp_path):
    """Write an evaluation whose prices are off by `error` times a row's own luck."""

    def write(name, error, *, seed=0, rows=range(ROWS), price="said", currency="USD"):
        task = Task.load().to_dict()
        task["fields"]["full_price"]["currency"] = currency
        luck = np.random.default_rng(seed).normal(size=ROWS)
        table = [
            {
                "row_id": f"row-{row}",
                "group_id": f"group-{row // 2}",
                "truth_title": "Red Shirt",
                "truth_category3_code": "SHIRTS",
                "truth_full_price": 100.0,
                "answer": "as said",
                "predicted_title": "Red Shirt" if row % 10 else None,
                "predicted_category3_code": "SHIRTS" if row % 10 else None,
                "predicted_full_price": 100 * float(np.exp(error * luck[row]))
                if row % 10
                else None,
                "problem": None if row % 10 else "cut off",
            }
            for row in rows
        ]
        folder = tmp_path / name
        folder.mkdir()
        pq.write_table(pa.Table.from_pylist(table), folder / "predictions.parquet")
        options = vars(EvaluateOptions(model="m", dataset="d", output="o", price=price))
        dataset = {"task": task, "fingerprint": "f" * 64}
        record = {"format": 1, "dataset": dataset, "options": options}
        (folder / "scores.json").write_text(json.dumps(record))
        return str(folder)

    return write


def compare(*evaluations, **changes):
    return compare_evaluations(CompareOptions(evaluations=list(evaluations), **changes))


def score_of(comparison, name):
    return next(score for score in comparison.scores if score.name == name)


def test_a_clearly_smaller_error_is_better_whichever_side_it_stands_on(write):
    rough, fine = write("rough", 0.5), write("fine", 0.05)

    forth = score_of(compare(rough, fine), "full_price_median_ape")
    back = score_of(compare(fine, rough), "full_price_median_ape")

    assert (forth.better, back.better) == ("second", "first")
    assert forth.advantage.low > 0.1
    assert forth.advantage.value == pytest.approx(forth.first - forth.second)
    assert (forth.share, back.share) == (1.0, 0.0)
    assert back.advantage.value == -forth.advantage.value


def test_an_evaluation_is_no_better_than_itself(write):
    folder = write("one", 0.3)

    for score in compare(folder, folder).scores:
        assert score.better is None
        assert (score.advantage.low, score.advantage.high) == (0.0, 0.0)


def test_pairing_makes_the_interval_narrower_than_luck_would(write):
    rough, fine = write("rough", 0.30), write("fine", 0.28)  # the same rows are hard for both
    other = write("other", 0.28, seed=1)

    def width(second):
        held = score_of(compare(rough, second), "full_price_mean_abs_log_error").advantage
        return held.high - held.low

    assert width(fine) < 0.3 * width(other)


def test_unparsed_answers_count_as_they_do_in_an_evaluation(write):
    folder = write("one", 0.0)

    found = compare(folder, folder)

    assert score_of(found, "parse_rate").first == 0.9
    assert score_of(found, "category3_code_accuracy").first == 0.9


def test_several_runs_of_a_recipe_are_compared_by_their_means(write, tmp_path):
    for seed in range(3):
        write(f"plain-{seed}", 0.2 + 0.1 * seed, seed=seed)
    single = write("single", 0.3)

    found = compare(single, str(tmp_path / "plain-*"))

    held = score_of(found, "full_price_median_ape")
    each = [
        score_of(compare(single, str(tmp_path / f"plain-{seed}")), "full_price_median_ape")
        for seed in range(3)
    ]
    assert len(found.second) == 3
    assert held.second == pytest.approx(np.mean([score.second for score in each]))
    assert any("too narrow with so few" in note for note in found.notes)
    lows, highs = zip(*((score.advantage.low, score.advantage.high) for score in each), strict=True)
    assert held.advantage.high - held.advantage.low > 0
    assert min(lows) <= held.advantage.low <= held.advantage.high <= max(highs)


def test_runs_that_differ_widen_the_interval(write, tmp_path):
    for seed in range(4):
        write(f"same-{seed}", 0.3, seed=7)
        write(f"mixed-{seed}", 0.1 + 0.13 * seed, seed=7)
    base = write("base", 0.3)

    def width(pattern):
        found = compare(base, str(tmp_path / pattern))
        held = score_of(found, "full_price_mean_abs_log_error").advantage
        return held.high - held.low

    assert width("mixed-*") > 1.5 * width("same-*")


def test_what_a_reader_must_know_is_noted(write):
    whole = write("whole", 0.3)
    part = write("part", 0.3, rows=range(10, ROWS), price="median")

    found = compare(whole, part)

    assert found.rows == ROWS - 10
    assert found.notes[0] == "Rows that some of them did not answer are left out; 50 are shared."
    assert "differ in --price: median, said" in found.notes[1]
    assert "not other runs" in found.notes[2]


def test_the_page_names_the_better_side(write):
    text = compare(write("rough", 0.5), write("fine", 0.05)).summary()

    line = next(line for line in text.splitlines() if line.startswith("full_price: median error"))
    assert line.endswith("second is better")
    assert "points (" in line


def test_plain_data_is_json(write):
    found = compare(write("rough", 0.5), write("fine", 0.05)).to_dict()

    held = json.loads(json.dumps(found, allow_nan=False))["scores"]["full_price_median_ape"]
    assert held["better"] == "second"
    assert held["share_of_resamples"] == 1.0


def test_other_rows_are_refused(write, tmp_path):
    one, other = write("one", 0.3, rows=range(10)), write("other", 0.3, rows=range(10, 20))

    with pytest.raises(EvaluateError, match="share no row"):
        compare(one, other)


def test_another_truth_is_refused(write):
    one, other = write("one", 0.3), write("other", 0.3)
    table = pq.read_table(f"{other}/predictions.parquet").to_pylist()
    table[3]["truth_full_price"] = 1.0
    pq.write_table(pa.Table.from_pylist(table), f"{other}/predictions.parquet")

    with pytest.raises(EvaluateError, match=r"Row .row-3. is .*same dataset"):
        compare(one, other)


@pytest.mark.parametrize("damage", ["scores.json", "predictions.parquet"])
def test_a_damaged_evaluation_is_named(write, tmp_path, damage):
    folder = write("one", 0.3)
    (tmp_path / "one" / damage).write_text("{")

    with pytest.raises(EvaluateError, match=f"{folder}.* cannot be read"):
        compare(folder, folder)


def test_what_is_no_evaluation_is_refused(tmp_path):
    with pytest.raises(EvaluateError, match=r"holds no evaluation \(no scores.json\)"):
        compare(str(tmp_path), str(tmp_path))
    with pytest.raises(EvaluateError, match="nothing at"):
        compare(str(tmp_path / "none-*"), str(tmp_path))


def test_options_out_of_range_are_refused():
    options = CompareOptions(evaluations=["one", "two"])
    for changes in ({"evaluations": ["one"]}, {"bootstrap": 0}, {"confidence": 1.0}):
        with pytest.raises(OptionError):
            compare_evaluations(replace(options, **changes))
