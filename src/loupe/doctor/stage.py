"""The doctor from end to end: find the folders, examine weights, processor and sight, report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from loupe.doctor.findings import Finding
from loupe.errors import CheckpointError
from loupe.options import DoctorOptions

if TYPE_CHECKING:
    from loupe.doctor.sight import Sight

__all__ = ["DoctorResult", "examine_checkpoint"]

WIDTH = 96
MARKS = {"well": "well", "note": "note", "wrong": "WRONG"}


@dataclass(frozen=True)
class DoctorResult:
    """What was found, in the order in which it was looked at."""

    checkpoint: str
    base: str | None
    """The folder below an adapter."""
    findings: tuple[Finding, ...]
    sight: Sight | None
    """None where the model was not asked."""

    @property
    def exit_code(self) -> int:
        """0 when nothing is wrong, else 1."""
        return int(any(each.verdict == "wrong" for each in self.findings))

    def summary(self) -> str:
        """Give the table of verdicts, each with what to do."""
        lines = [self.checkpoint + (f", an adapter on {self.base}" if self.base else ""), ""]
        for each in self.findings:
            said = wrap(each.what, WIDTH - 20)
            lines.append(f"{each.part:<11}{MARKS[each.verdict]:<7}{said[0]}")
            lines += [" " * 18 + line for line in said[1:]]
            cure = wrap(each.cure, WIDTH - 22)
            lines += [" " * 18 + ("  " if at else "→ ") + line for at, line in enumerate(cure)]
        wrong = sum(each.verdict == "wrong" for each in self.findings)
        if wrong:
            closing = f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong."
        else:
            closing = (
                "All is well. Whether what it sees is right: `loupe evaluate --model "
                f"{self.checkpoint} --dataset DATA --output evaluation`"
            )
        return "\n".join([*lines, "", closing])

    def to_dict(self) -> dict[str, Any]:
        """Give the same as plain data."""
        return {**asdict(self), "is_well": not self.exit_code}


def examine_checkpoint(options: DoctorOptions) -> DoctorResult:
    """Examine a checkpoint or adapter folder; what is wrong is a finding, not an error.

    Raises:
        CheckpointError: there is no such folder, or no model of another family that can be loaded.
        MissingExtraError: an adapter needs peft.
    """
    from loupe.doctor.processor import examine_processor
    from loupe.doctor.sight import examine_sight
    from loupe.doctor.weights import (
        ADAPTER_CONFIG,
        examine_adapter,
        examine_weights,
        other_family,
        read_config,
    )

    folder = _find_folder(options.checkpoint)
    is_adapter = (folder / ADAPTER_CONFIG).is_file()
    base, findings = _find_base(folder) if is_adapter else (None, [])
    if kind := other_family(base or folder):
        return _examine_other(folder, kind, options)
    if is_adapter:
        config, more = read_config(base, "base") if base else (None, [])
        findings += more + examine_adapter(folder, config)
        findings += examine_weights(base, config, "base") if base else []
    else:
        config, findings = read_config(folder, "weights")
        findings += examine_weights(folder, config, "weights")
    processor, more = examine_processor(folder, config, base or folder)
    findings += more
    sight = None
    if options.sight and config is not None and processor is not None:
        outcome = _look(folder, options)
        sight = None if isinstance(outcome, Finding) else outcome
        findings.append(outcome if isinstance(outcome, Finding) else examine_sight(outcome))
    elif options.sight:
        findings.append(_not_asked("what is wrong above comes first"))
    return DoctorResult(options.checkpoint, str(base) if base else None, tuple(findings), sight)


def _examine_other(folder: Path, kind: str, options: DoctorOptions) -> DoctorResult:
    """Tell of another family's checkpoint how it is asked, and whether it looks."""
    from loupe.doctor.processor import QUESTION
    from loupe.doctor.sight import examine_sight
    from loupe.vlm import load_processor, make_dialogue

    judged = "Names, shapes and values are judged for Phi-3-Vision alone"
    loaded = "the model was loaded, and lacks nothing" if options.sight else "nothing was loaded"
    dialogue = make_dialogue(load_processor(str(folder)), QUESTION)
    asked = f"It is asked {dialogue.prompt!r} and ends its answers with {dialogue.end}."
    findings = [Finding("processor", "well", asked)]
    sight = _measure(folder, options) if options.sight else None
    findings.insert(0, Finding("weights", "note", f"This is a {kind}. {judged}; {loaded}."))
    if sight is not None:
        findings.append(examine_sight(sight))
    return DoctorResult(options.checkpoint, None, tuple(findings), sight)


def _find_folder(checkpoint: str) -> Path:
    from loupe.vlm import TINY, TINY_FOLDER

    path = Path(checkpoint).expanduser()
    if checkpoint == TINY and not path.is_dir():
        path = TINY_FOLDER
    if not path.is_dir():
        raise CheckpointError(
            f"There is no folder {checkpoint!r}. Name the folder of a checkpoint or an adapter; "
            "download one from the hub first (`hf download NAME --local-dir FOLDER`)."
        )
    return path


def _find_base(adapter: Path) -> tuple[Path | None, list[Finding]]:
    """Find the folder of an adapter's base."""
    try:
        settings = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
        name = str(settings.get("base_model_name_or_path") or "")
        return _find_folder(name), []
    except (ValueError, AttributeError, CheckpointError):
        what = "The base that adapter_config.json names is not here as a folder."
        cure = "Set base_model_name_or_path to the base's folder, and look again."
        return None, [Finding("base", "wrong", what, cure)]


def _look(folder: Path, options: DoctorOptions) -> Sight | Finding:
    """Load the model and ask it; a finding tells why it cannot be asked."""
    try:
        return _measure(folder, options)
    except (CheckpointError, ValueError) as error:
        return _not_asked(str(error).splitlines()[0])


def _measure(folder: Path, options: DoctorOptions) -> Sight:
    import torch

    from loupe.doctor.sight import measure_sight
    from loupe.predict import Predictor, task_beside
    from loupe.vlm import choose_device, load_model_and_processor

    if options.threads:
        torch.set_num_threads(options.threads)
    model, processor = load_model_and_processor(str(folder), device=choose_device(options.device))
    return measure_sight(Predictor(model, processor, task_beside(str(folder))))


def _not_asked(why: str) -> Finding:
    return Finding(
        "sight",
        "note",
        f"The model was not asked about pictures: {why}",
        "Mend what is wrong above, and look again.",
    )
