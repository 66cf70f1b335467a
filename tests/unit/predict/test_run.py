"""Answers in a folder: what is written, what a run that was stopped or killed goes on from."""

import json
import os
import resource
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loupe.cli import main
from loupe.errors import PredictError, StoppedError
from loupe.options import PredictOptions
from loupe.predict import predict_pictures
from loupe.predict.folder import open_folder

from .conftest import draw, encode, write_pictures

PICTURES = 20


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path / "pictures", PICTURES, broken={3})


def predict(pictures, output, **changes):
    settings = {"model": "model", "batch_size": 2} | changes
    return predict_pictures(
        PredictOptions(pictures=[str(pictures)], output=str(output), **settings)
    )


def read_lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_folder_holds_answers_rejections_and_a_record(pictures, tmp_path, colours):
    result = predict(pictures, tmp_path / "out")
    out = tmp_path / "out"
    answers, rejected = read_lines(out / "answers.jsonl"), read_lines(out / "rejected.jsonl")
    assert sorted(line["picture"] for line in answers + rejected) == sorted(
        map(str, pictures.iterdir())
    )
    assert answers[0] == {
        "picture": str(pictures / "0000.png"), "colour": "red", "price": 0.0, "answer": "red 0",
        "problem": None, "key": answers[0]["key"],
    }  # fmt: skip
    assert len({line["key"] for line in answers}) == PICTURES - 1
    assert rejected[0]["reason"] == "not_a_picture"
    assert "cannot be read as a picture" in rejected[0]["problem"]
    record = json.loads((out / "predictions.json").read_text())
    assert record["counts"] == {
        "pictures": 20, "answered": 19, "unparsed": 0, "rejected": {"not_a_picture": 1}
    }  # fmt: skip
    assert record["last_run"]["pictures"] == 20
    assert record["task"] == colours.task.to_dict()
    assert "Answered 19 of 20 products" in result.summary()
    assert "not_a_picture: 1" in result.summary()
    assert names(out) == [
        ".lock", "answers.jsonl", "options.yaml", "predictions.json", "rejected.jsonl", "terms.json"
    ]  # fmt: skip


def test_answers_are_there_batch_by_batch(pictures, tmp_path, colours):
    seen = []

    def look():
        seen.append(len(read_lines(tmp_path / "out" / "answers.jsonl")))

    colours.after_batch = look
    predict(pictures, tmp_path / "out")
    assert seen[:3] == [0, 2, 4]
    assert len(seen) == 10


@pytest.mark.parametrize("kind", ["json", "parquet"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_signal_ends_after_the_batch_and_the_same_command_goes_on(
    pictures, tmp_path, colours, kind, number, code
):
    calls = []

    def ask_to_stop():
        calls.append(None)
        if len(calls) == 3:
            os.kill(os.getpid(), number)

    colours.after_batch = ask_to_stop
    with pytest.raises(StoppedError, match=r"stopped by SIG\w+ after 7 prod.*same command") as told:
        predict(pictures, tmp_path / "out", format=kind)
    assert told.value.exit_code == code
    assert "predictions.json" not in names(tmp_path / "out")
    assert "scratch" not in names(tmp_path / "out")
    colours.batches.clear()
    result = predict(pictures, tmp_path / "out", format=kind)
    assert sum(map(len, colours.batches)) == PICTURES - 7
    assert result.answered_now == PICTURES - 7
    assert result.counts.pictures == PICTURES


def test_finished_folder_answers_only_what_is_new(pictures, tmp_path, colours):
    predict(pictures, tmp_path / "out")
    write_pictures(pictures / "more", 2)
    colours.batches.clear()
    result = predict(pictures, tmp_path / "out")
    assert sum(map(len, colours.batches)) == 2
    assert result.counts.pictures == PICTURES + 2
    assert (
        json.loads((tmp_path / "out" / "predictions.json").read_text())["counts"]["answered"] == 21
    )


def test_retry_failed_asks_rejected_pictures_again(pictures, tmp_path, colours):
    predict(pictures, tmp_path / "out")
    (pictures / "0003.png").write_bytes(encode(draw(3)))
    predict(pictures, tmp_path / "out")
    assert len(read_lines(tmp_path / "out" / "rejected.jsonl")) == 1
    result = predict(pictures, tmp_path / "out", retry="failed")
    assert result.answered_now == 1
    assert result.counts.to_dict()["answered"] == PICTURES


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "other"}, "another model \\(it was 'model' and is 'other'\\)"),
        ({"decoding": "free"}, "another decoding"),
        ({"format": "parquet"}, "another format"),
    ],
    ids=["model", "decoding", "format"],
)
def test_other_terms_are_refused_unless_told_to_overwrite(
    pictures, tmp_path, colours, changes, words
):
    predict(pictures, tmp_path / "out")
    with pytest.raises(PredictError, match=f"holds answers under {words}.*--overwrite"):
        predict(pictures, tmp_path / "out", **changes)
    assert len(read_lines(tmp_path / "out" / "answers.jsonl")) == PICTURES - 1
    result = predict(pictures, tmp_path / "out", **changes, overwrite=True)
    assert result.answered_now == PICTURES


def test_other_batches_are_not_other_terms(pictures, tmp_path, colours):
    predict(pictures, tmp_path / "out")
    assert predict(pictures, tmp_path / "out", batch_size=5, workers=1).answered_now == 0


def test_folder_of_something_else_is_refused(pictures, tmp_path, colours):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(PredictError, match=r"did not write, such as 'thesis.txt'"):
        predict(pictures, tmp_path / "out", overwrite=True)
    with pytest.raises(PredictError, match="is a file; expected a folder"):
        predict(pictures, tmp_path / "out" / "thesis.txt")
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_second_run_in_the_folder_is_refused(pictures, tmp_path, colours):
    problems = []

    def run_beside():
        with pytest.raises(PredictError, match="Another run works in") as told:
            predict(pictures, tmp_path / "out")
        problems.append(told.value)

    colours.after_batch = run_beside
    assert predict(pictures, tmp_path / "out").answered_now == PICTURES
    assert problems


def test_parquet_has_the_types_of_task_and_table(tmp_path, colours):
    write_pictures(tmp_path, 3)
    table = {
        "sku": ["A", "B", "C"], "photo": ["0000.png", "0001.png", "gone.png"],
        "price": [1.5, None, 2.0], "stock": [1, 2, 3],
    }  # fmt: skip
    pq.write_table(pa.table(table), tmp_path / "shop.parquet")
    predict(
        tmp_path / "shop.parquet", tmp_path / "out", format="parquet", image_column="photo",
        id_column="sku", keep=["stock", "price"],
    )  # fmt: skip
    (part,) = (tmp_path / "out").glob("answers-*.parquet")
    rows = pq.read_table(part)
    assert {name: str(rows.schema.field(name).type) for name in ("row", "stock", "price")} == {
        "row": "int64", "stock": "int64", "price": "double"
    }  # fmt: skip
    found = rows.to_pylist()
    assert [(row["id"], row["row"], row["stock"]) for row in found] == [("A", 1, 1), ("B", 2, 2)]
    assert [row["original_price"] for row in found] == [1.5, None]
    assert found[1]["price"] == 1.0
    (rejected,) = read_lines(tmp_path / "out" / "rejected.jsonl")
    assert (rejected["id"], rejected["stock"], rejected["reason"]) == ("C", 3, "missing_picture")


def test_nothing_is_written_where_nothing_can_begin(tmp_path, colours, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PredictError, match="There is no picture in"):
        predict(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folder_of_bad_pictures_alone_is_an_error_with_its_reasons_kept(tmp_path, colours):
    bad = write_pictures(tmp_path / "bad", 3, broken={0, 1, 2})
    with pytest.raises(PredictError, match=r"None of the 3 products can be read. File '.*0000"):
        predict(bad, tmp_path / "out")
    assert len(read_lines(tmp_path / "out" / "rejected.jsonl")) == 3


def test_picture_that_the_model_cannot_take_costs_itself_alone(pictures, tmp_path, colours):
    colours.fails_at = {12}
    result = predict(pictures, tmp_path / "out", batch_size=8)
    assert result.counts.to_dict()["rejected"] == {"not_a_picture": 1, "unanswerable": 1}
    lines = read_lines(tmp_path / "out" / "rejected.jsonl")
    assert lines[1]["picture"].endswith("0012.png")
    assert lines[1]["problem"] == "40×32 px cannot be answered: CUDA out of memory"


def test_model_that_answers_nothing_ends_the_run(pictures, tmp_path, colours):
    colours.fails_at = set(range(256))
    with pytest.raises(PredictError, match=r"8 products in a row cannot be answered: CUDA out of"):
        predict(pictures, tmp_path / "out")


def test_model_that_is_lost_half_way_ends_the_run_and_spoils_little(pictures, tmp_path, colours):
    colours.fails_at = set(range(8, 256))
    with pytest.raises(PredictError, match="8 products in a row"):
        predict(pictures, tmp_path / "out")
    assert len(read_lines(tmp_path / "out" / "answers.jsonl")) == 7
    colours.fails_at = set()
    assert predict(pictures, tmp_path / "out", retry="failed").counts.answered == 19


# What follows runs the real command on a real, tiny model.

KILL = """
import os, signal, sys
from loupe.cli import main
from loupe.predict.folder import AnswerFolder

real, batches = AnswerFolder.add, []

def add(*arguments):
    if len(batches) == 2:
        with open(sys.argv[1], "ab") as file:
            file.write(b'{"picture": "half a li')
        os.kill(os.getpid(), signal.SIGKILL)
    batches.append(None)
    real(*arguments)

AnswerFolder.add = add
main(sys.argv[2:])
"""


def words(pictures, checkpoint, output):
    return [
        "predict", str(pictures), "--model", str(checkpoint), "--output", str(output),
        "--batch-size", "2", "--max-new-tokens", "3", "--threads", "1",
    ]  # fmt: skip


def test_killed_command_goes_on_where_it_stopped(tmp_path, tiny_checkpoint, capsys):
    pictures = write_pictures(tmp_path / "pictures", 10)
    out = tmp_path / "out"
    command = words(pictures, tiny_checkpoint, out)
    died = subprocess.run(
        [sys.executable, "-c", KILL, str(out / "answers.jsonl"), *command],
        capture_output=True,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert (out / "answers.jsonl").read_bytes().endswith(b"half a li")
    assert not (out / "predictions.json").exists()
    assert main(command) == 0
    assert "This run: 6 products" in capsys.readouterr().out
    assert main([*command[:5], str(tmp_path / "whole"), *command[6:]]) == 0
    whole = read_lines(tmp_path / "whole" / "answers.jsonl")
    assert read_lines(out / "answers.jsonl") == whole
    assert len(whole) == 10


def test_full_disk_is_told_in_one_line_and_costs_no_answer(tmp_path, tiny_checkpoint, capsys):
    """Files may not grow beyond some kilobytes."""
    pictures = write_pictures(tmp_path / "pictures", 16)
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "loupe", *words(pictures, tiny_checkpoint, out)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (2_500, resource.RLIM_INFINITY)
        ),
    )
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("loupe predict: The disk is full while")
    assert "the same command goes on" in line
    assert "Traceback" not in done.stderr
    assert main(words(pictures, tiny_checkpoint, out)) == 0
    assert "Answered 16 of 16" in capsys.readouterr().out


def make_empty_table(folder):
    (folder / "shop.csv").write_text("id,image\n")


def make_table_without_pictures(folder):
    (folder / "shop.csv").write_text("id,title\n1,Bag\n")


def make_table_of_nothing(folder):
    (folder / "shop.csv").write_text("id,image\n1,\n2,file:///etc/passwd\n3,../../x.png\n")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_empty_table, "has no rows. Give a source with at least one."),
        (make_table_without_pictures, "has no column with pictures (image, image_path"),
        (make_table_of_nothing, "None of the 3 products can be read. the picture's column holds"),
    ],
    ids=["empty", "without pictures", "nothing"],
)
def test_bad_table_is_one_line(tmp_path, colours, capsys, make, message):
    make(tmp_path)
    table = str(tmp_path / "shop.csv")
    assert main(["predict", table, "--model", "m", "--output", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err.strip()
    assert message in err
    assert len(err.splitlines()) == 1


def test_folder_of_broken_and_strange_pictures_is_answered_as_far_as_it_goes(
    tmp_path, tiny_checkpoint, capsys
):
    bad = tmp_path / "bad"
    bad.mkdir()
    whole = encode(draw(1, (400, 300)).effect_spread(99), "JPEG")
    contents = {
        "cut.jpg": whole[:2000], "empty.png": b"", "page.jpg": b"<html><body>", "words.gif": b"?",
        "good.jpg": whole, "tall.png": encode(draw(2, (1, 4000))),
        "dot.png": encode(draw(3, (1, 1))),
        "wide.png": encode(draw(4, (900, 60))), "grey.png": encode(draw(5).convert("LA")),
        "cmyk.jpg": encode(draw(6).convert("CMYK"), "JPEG"),
    }  # fmt: skip
    for name, content in contents.items():
        (bad / name).write_bytes(content)
    assert main(words(bad, tiny_checkpoint, tmp_path / "out")) == 0
    said = capsys.readouterr()
    assert "Answered 5 of 10 products" in said.out
    assert "Traceback" not in said.err
    rejected = {
        line["picture"].rpartition("/")[2]: line["reason"]
        for line in read_lines(tmp_path / "out" / "rejected.jsonl")
    }
    assert rejected == {
        "cut.jpg": "truncated", "empty.png": "not_a_picture", "page.jpg": "not_a_picture",
        "words.gif": "not_a_picture", "tall.png": "unanswerable",
    }  # fmt: skip


def test_missing_model_is_one_line_and_leaves_nothing(tmp_path, pictures, capsys):
    out = tmp_path / "out"
    assert main(["predict", str(pictures), "--model", "gone/", "--output", str(out)]) == 1
    err = capsys.readouterr().err.strip()
    assert err.startswith("loupe predict: There is no model folder 'gone/'")
    assert len(err.splitlines()) == 1
    assert not out.exists()


def test_terms_that_an_earlier_run_alone_had_are_named(tmp_path):
    with open_folder(tmp_path / "out") as folder:
        folder.begin({"format": "json", "coverage": 0.9}, overwrite=False, retry=False)
    with (
        open_folder(tmp_path / "out") as folder,
        pytest.raises(PredictError, match=r"another coverage \(it was 0.9 and is None\)"),
    ):
        folder.begin({"format": "json"}, overwrite=False, retry=False)
