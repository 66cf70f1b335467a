"""The command line: options in, one call, one line on failure, exit codes."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from loupe import cli
from loupe.errors import StoppedError, TrainError
from loupe.options import BuildOptions, TrainOptions, save_options


@dataclass(frozen=True)
class Done:
    options: object

    def summary(self):
        return "Wrote it."

    def to_dict(self):
        return {"wrote": "it"}


@pytest.fixture
def stage(monkeypatch):
    """Replace every stage's function by one that keeps its options, or raises."""
    seen = {"raises": None}

    def run(command, options):
        seen["options"] = options
        if seen["raises"]:
            raise seen["raises"]
        return Done(options)

    monkeypatch.setattr(cli.Command, "run", run)
    monkeypatch.setattr(cli, "_prepare_process", lambda: None)
    return seen


BUILD = ["build", "--source", "table.csv", "--output", "data"]


def test_flags_take_dashes_lists_and_bare_booleans(stage):
    words = ["--group-by", "kind", "colour", "--overwrite", "--validation-share=0.2"]
    assert cli.main([*BUILD, *words, "--columns.title", "name", "--columns.price", "cost"]) == 0
    assert stage["options"] == BuildOptions(
        source="table.csv",
        output="data",
        group_by=["kind", "colour"],
        overwrite=True,
        validation_share=0.2,
        columns={"title": "name", "price": "cost"},
    )


def test_pictures_are_positional(stage):
    assert cli.main(["predict", "a.jpg", "folder", "--model", "m"]) == 0
    assert stage["options"].pictures == ["a.jpg", "folder"]


def test_saved_options_give_the_same_run(stage, tmp_path):
    options = TrainOptions(
        dataset="d",
        output="o",
        method="lora",
        parts={"head": "full", "tower": "adapted"},
        learning_rates={"tower": 1e-5},
        seed=3,
    )
    path = save_options(options, tmp_path)
    assert cli.main(["train", "--config", str(path)]) == 0
    assert stage["options"] == options


def test_flag_goes_before_the_file(stage, tmp_path):
    path = save_options(TrainOptions(dataset="d", output="o", seed=3), tmp_path)
    cli.main(["train", "--config", str(path), "--seed", "4"])
    assert stage["options"].seed == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "usage: loupe COMMAND"),
        (["fly"], "there is no command 'fly'"),
        (["build", "--source", "x"], "required: output. See `loupe build --help`."),
        ([*BUILD, "--colour", "red"], "unrecognized arguments: --colour"),
        ([*BUILD, "--seed", "many"], "\"seed\": Expected a <class 'int'>. Got value: many"),
        ([*BUILD, "--test-share", "0.95"], "leave no row to train on"),
        ([*BUILD, "--config", "nowhere.yaml"], "File does not exist"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_words(stage, capsys, words, message):
    assert cli.main(words) == 2
    assert message in "".join(capsys.readouterr())


def test_unknown_key_of_a_file_is_refused(stage, tmp_path, capsys):
    path = tmp_path / "options.yaml"
    path.write_text("source: a\noutput: b\ncolour: red\n")
    assert cli.main(["build", "--config", str(path)]) == 2
    assert "colour" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (TrainError("Loss is nan."), 1, "loupe build: Loss is nan."),
        (OSError(errno.ENOSPC, "No space left", "data/x"), 1, "the disk is full 'data/x'"),
        (PermissionError(errno.EACCES, "Permission denied", "data"), 1, "Permission denied 'data'"),
        (KeyboardInterrupt(), 130, "stopped by the keyboard"),
        (StoppedError("stopped by SIGTERM.", 15), 143, "loupe build: stopped by SIGTERM."),
    ],
)
def test_failing_run_ends_with_one_line(stage, capsys, error, code, message):
    stage["raises"] = error
    assert cli.main(BUILD) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_json_is_one_document_on_stdout(stage, capsys):
    assert cli.main([*BUILD, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"wrote": "it"}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_explains_every_option_and_ends_with_two_examples(name, capsys):
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    out = capsys.readouterr().out
    command = cli.COMMANDS[name]
    for option in command.options.__dataclass_fields__:
        assert option in out
    assert out.rstrip().endswith("\n  ".join(command.examples))


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_examples_of_the_help_are_valid_usage(name, stage):
    for example in cli.COMMANDS[name].examples:
        assert cli.main(example.split()[1:]) == 0


def test_a_reader_that_has_gone_gets_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "loupe", "doctor", "tiny", "--sight", "false"]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "columns"),
    [
        (["--image-column", "photo"], "photo"),
        (["--image-column", "front", "back"], ["front", "back"]),
        ([], None),
    ],
)
def test_pictures_come_from_one_column_or_several(words, columns):
    options = cli._read_options(
        "build", cli.COMMANDS["build"], ["--source", "a.csv", "--output", "data", *words]
    )
    assert options.image_column == columns
