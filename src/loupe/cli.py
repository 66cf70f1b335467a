"""The command line: one command per stage, each of which reads options and calls one function."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from loupe import options as declared
from loupe.errors import LoupeError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["main"]

_DONE, _STAGE_FAILED, _WRONG_USAGE, _INTERRUPTED = 0, 1, 2, 130


class Result(Protocol):
    """What a stage's function returns; one with an `exit_code` decides how the command ends."""

    def summary(self) -> str:
        """Tell a person what came out, and what to run next."""

    def to_dict(self) -> dict[str, Any]:
        """Give the same as plain data."""


@dataclass(frozen=True)
class Command:
    """A stage as a command: where its function is, its options, and two commands that work."""

    function: str
    options: type[Any]
    examples: tuple[str, str]
    positional: str | None = None

    @property
    def summary(self) -> str:
        """One line for the list of commands: the first line of the options' docstring."""
        return (self.options.__doc__ or "").partition("\n")[0].rstrip(".")

    def run(self, options: Any) -> Result:
        """Import the stage, which may load torch, and run it."""
        module, _, name = self.function.partition(":")
        stage: Callable[[Any], Result] = getattr(import_module(module), name)
        return stage(options)


COMMANDS = {
    "sample": Command(
        "loupe.sample:make_sample",
        declared.SampleOptions,
        (
            "loupe sample --output sample",
            "loupe sample --output small --house alder --rows 200 --seed 7",
        ),
    ),
    "build": Command(
        "loupe.build:build_dataset",
        declared.BuildOptions,
        (
            "loupe build --source sample --output data --group-by kind colour pattern",
            "loupe build --source small/products.parquet --output small-data --test-share 0.3",
        ),
    ),
    "train": Command(
        "loupe.train:train_or_plan",
        declared.TrainOptions,
        (
            "loupe train --dataset data --output model --optimizer muon --max-minutes 3",
            "loupe train --dataset data --output adapter --method lora"
            " --parts.embeddings full --parts.head full",
        ),
    ),
    "prefer": Command(
        "loupe.prefer:prefer_answers",
        declared.PreferOptions,
        (
            "loupe prefer --model model --dataset data --output preferred --learning-rate 1e-5",
            "loupe prefer --model adapter --dataset data --output preferred --method lora"
            " --max-rows 2000",
        ),
    ),
    "calibrate": Command(
        "loupe.calibrate:calibrate_model",
        declared.CalibrateOptions,
        (
            "loupe calibrate --model model --dataset data",
            "loupe calibrate --model model --dataset new-house --overwrite",
        ),
    ),
    "evaluate": Command(
        "loupe.evaluate:evaluate_model",
        declared.EvaluateOptions,
        (
            "loupe evaluate --model model --dataset data --output evaluation",
            "loupe evaluate --model model --dataset data --output colours --words colour_word",
        ),
    ),
    "compare": Command(
        "loupe.evaluate:compare_evaluations",
        declared.CompareOptions,
        (
            "loupe compare evaluation other-evaluation",
            "loupe compare 'plain-*' 'augmented-*' --json",
        ),
        positional="evaluations",
    ),
    "curve": Command(
        "loupe.curve:draw_curve",
        declared.CurveOptions,
        (
            "loupe curve --dataset data --output curve --shares 0.25 0.5 1",
            "loupe curve --dataset data --output curve --train model/options.yaml --seeds 0 1 2",
        ),
    ),
    "predict": Command(
        "loupe.predict:predict_pictures",
        declared.PredictOptions,
        (
            "loupe predict sample/images --model model --format table",
            "loupe predict sample/contact_sheet.jpg --model model",
        ),
        positional="pictures",
    ),
    "doctor": Command(
        "loupe.doctor:examine_checkpoint",
        declared.DoctorOptions,
        (
            "loupe doctor model",
            "loupe doctor /models/Phi-3.5-vision-instruct --sight false --json",
        ),
        positional="checkpoint",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: 0 done, 1 our error in one line, 2 wrong usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_overview())
        return 0 if words else _WRONG_USAGE
    if words[0] == "--version":
        import loupe

        print(f"loupe {loupe.__version__}")
        return 0
    if words[0] not in COMMANDS:
        return _complain(f"loupe: there is no command {words[0]!r}; see `loupe --help`.")
    return _run(words[0], words[1:])


def _run(name: str, words: list[str]) -> int:
    from jsonargparse import ArgumentError

    command = COMMANDS[name]
    as_json = "--json" in words
    try:
        options = _read_options(name, command, [word for word in words if word != "--json"])
    except (ArgumentError, LoupeError) as error:
        reason = " ".join(str(error).split()).rstrip(".") + "."
        return _complain(f"loupe {name}: {reason} See `loupe {name} --help`.")
    _prepare_process()
    try:
        result = command.run(options)
    except LoupeError as error:
        code = getattr(error, "exit_code", _STAGE_FAILED)
        return _complain(f"loupe {name}: {error}", code)
    except OSError as error:
        return _complain(f"loupe {name}: {_describe_os_error(error)}", _STAGE_FAILED)
    except KeyboardInterrupt:
        stopped = f"\nloupe {name}: stopped by the keyboard; the same command starts or goes on."
        return _complain(stopped, _INTERRUPTED)
    if _is_main_process():
        _tell(json.dumps(result.to_dict(), ensure_ascii=False) if as_json else result.summary())
    return getattr(result, "exit_code", _DONE)


def _tell(text: str) -> None:
    """Print a result; whoever reads it may stop early, as `head` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more


def _read_options(name: str, command: Command, words: list[str]) -> Any:
    parser = _make_parser(name, command)
    namespace = parser.parse_args(list(_canonical(words, command)))
    values = namespace.as_dict()
    values.pop("config", None)
    return command.options(**values)


def _make_parser(name: str, command: Command) -> ArgumentParser:
    from argparse import RawDescriptionHelpFormatter

    from jsonargparse import ArgumentParser, DefaultHelpFormatter, set_parsing_settings

    class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):  # type: ignore[misc]
        """Keep the line ends of the description and of the examples."""

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    needed = [
        field.name
        for field in fields(command.options)
        if field.default is MISSING and field.default_factory is MISSING
    ]
    usage = "".join(
        f" {_name_positional(command)}"
        if name == command.positional
        else f" --{name} {name.upper()}"
        for name in needed
    )
    parser = ArgumentParser(
        prog=f"loupe {name}",
        usage=f"loupe {name}{usage} [options]",
        exit_on_error=False,
        formatter_class=HelpFormatter,
        description=f"{command.summary}.\n\nA flag goes before --config's file, the file before "
        "the default.\nDashes and underscores in flags are the same; with --json, stdout is one "
        "JSON document.",
        epilog="examples:\n  " + "\n  ".join(command.examples),
    )
    parser.add_argument("--config", action="config", help="YAML file of options.")
    if command.positional:
        nargs = "+" if _takes_several(command) else None
        parser.add_argument(command.positional, nargs=nargs, type=str, help="Files or folders.")
    parser.add_class_arguments(command.options, skip={command.positional or ""})
    return parser


def _takes_several(command: Command) -> bool:
    return bool(typing.get_type_hints(command.options)[command.positional or ""] == list[str])


def _name_positional(command: Command) -> str:
    name = (command.positional or "").upper()
    return f"{name.removesuffix('S')} ..." if _takes_several(command) else name


def _canonical(words: list[str], command: Command) -> Iterator[str]:
    """Write flags as the parser knows them: underscores, bare booleans, lists of plain words."""
    hints = typing.get_type_hints(command.options)
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        flag, equals, value = word.partition("=")
        if not flag.startswith("--"):
            yield word
            continue
        flag = "--" + flag[2:].replace("-", "_")
        following = [value] if equals else list(_values_after(words, position))
        kind = hints.get(flag[2:])
        is_list = kind == list[str] or (len(following) > 1 and _may_be_list(kind))
        if kind in (list[int], list[float]) and following and not following[0].startswith("["):
            position += 0 if equals else len(following)
            yield f"{flag}=[{','.join(following)}]"
        elif is_list and following:
            position += 0 if equals else len(following)
            yield f"{flag}={json.dumps(following)}"
        elif kind is bool and following[:1] not in (["true"], ["false"]):
            yield f"{flag}=true"
        else:
            yield flag + equals + value


def _may_be_list(kind: Any) -> bool:
    return list[str] in typing.get_args(kind)


def _values_after(words: list[str], position: int) -> Iterator[str]:
    for word in words[position:]:
        if word.startswith("--"):
            return
        yield word


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: loupe COMMAND [options]",
            "",
            "Fine-tune Phi-3-Vision to read a product off its picture, and prove that it does.",
            "",
            *lines,
            "",
            "`loupe COMMAND --help` tells the options of a command.",
            "",
            "examples:",
            f"  {COMMANDS['sample'].examples[0]}",
            f"  {COMMANDS['build'].examples[0]}",
        ]
    )


def _prepare_process() -> None:
    """Set what must stand before torch is imported, and let the story of a run reach stderr."""
    # Waiting OpenMP threads that spin take the core from whoever shares it: 10 times slower there.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    logging.getLogger("loupe").setLevel(logging.INFO if _is_main_process() else logging.ERROR)


def _is_main_process() -> bool:
    """Whether this is the process that speaks: torchrun and accelerate number several by RANK."""
    return os.environ.get("RANK", "0") == "0"


def _describe_os_error(error: OSError) -> str:
    where = f" {error.filename!r}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}; nothing unfinished is kept as finished. Free some room."
    return f"{error.strerror or error}{where}; check that the path is right and may be written."


def _complain(line: str, code: int = _WRONG_USAGE) -> int:
    print(line, file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
