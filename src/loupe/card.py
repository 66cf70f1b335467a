"""The model card: a README.md in a model folder that says what the model is, in what, and how good.

The front matter is Hugging Face's model card metadata
(https://huggingface.co/docs/hub/model-cards); a folder without it loads all the same.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from loupe.options import PreferOptions, TrainOptions
from loupe.task import Task

__all__ = ["CardFacts", "as_table", "replace_test_scores", "write_card"]

CARD = "README.md"
TINY = "tiny"
PUBLISHED = ("Phi-3-vision-128k-instruct", "Phi-3.5-vision-instruct")  # MIT, as their cards say
TEST_BEGIN, TEST_END = "<!-- loupe: test scores -->", "<!-- /loupe: test scores -->"
TOLD_ELSEWHERE = {"dataset", "output", "model", "method"}
ABOUT_THE_MACHINE = {"tracker", "project", "run_name", "threads", "overwrite", "feature_folder"}
TEXT_COLUMNS = 100


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from."""

    options: TrainOptions | PreferOptions
    base: str
    """The base: a folder by its full path, a hub name, or `tiny`."""
    task: Task
    prompt: str
    """What the model is asked, in its family's words."""
    end_ids: Sequence[int]
    """Tokens at which an answer ends."""
    is_phi3_v: bool
    dataset: Mapping[str, Any]
    """The dataset's record: source, fingerprint, counts."""
    scores: Mapping[str, float]
    """Scores on validation rows, of the step that is kept; empty where nothing was evaluated."""
    best_step: int

    @property
    def is_adapter(self) -> bool:
        """Whether the folder holds adapters alone, which need their base."""
        return self.options.method != "full"


def write_card(folder: Path, facts: CardFacts) -> None:
    """Write the card of a model folder, whole or not at all."""
    metadata = yaml.safe_dump(_metadata(facts), sort_keys=False, allow_unicode=True)
    sections = [
        f"---\n{metadata}---",
        f"# {folder.resolve().name}",
        _introduction(facts),
        "## Task",
        "A picture and one question; the answer follows the template.",
        f"```yaml\n{_as_yaml(facts.task.to_dict())}```",
        "## Use",
        "Run this in the folder of this card, with `pip install 'loupe-vlm[train]'`:",
        f"```python\n{_loading_code(facts)}```",
        "`loupe predict picture.jpg --model .` gives the answer as checked JSON.",
        "## Data",
        _data(facts),
        "## Training",
        "Options that are other than the default (all of them: `options.yaml`):",
        as_table(["option", "value"], _told_options(facts.options)),
        "## Validation scores",
        _validation(facts),
        "## Test scores",
        f"{TEST_BEGIN}\nNot measured yet; `loupe evaluate` writes them here.\n{TEST_END}",
        "## Licences",
        _licences(facts),
    ]
    _write(folder / CARD, "\n\n".join(sections) + "\n")


def replace_test_scores(folder: Path, section: str) -> bool:
    """Put a text in place of the test scores of a card.

    Returns:
        Whether it was done: only in a card that `write_card` wrote, beside a finished model, in a
        folder that may be written. The rest of the card stays as it is.
    """
    card = folder / CARD
    if not (folder / "training.json").is_file() or not card.is_file():
        return False
    before, begin, rest = card.read_text("utf-8").partition(TEST_BEGIN)
    _, end, after = rest.partition(TEST_END)
    if not begin or not end:
        return False
    try:
        _write(card, f"{before}{begin}\n{section.strip()}\n{end}{after}")
    except PermissionError:
        return False
    return True


def as_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table; a `|` within a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _metadata(facts: CardFacts) -> dict[str, Any]:
    """Give the front matter; keys are Hugging Face's."""
    told: dict[str, Any] = {
        "base_model": _public_name(facts.base),
        "base_model_relation": "adapter" if facts.is_adapter else "finetune",
        "library_name": "peft" if facts.is_adapter else "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["loupe", *(["phi3_v"] if facts.is_phi3_v else []), *(["lora"] * facts.is_adapter)],
        "datasets": [_dataset_name(facts)],
    }
    licence = _licence_id(facts.base)
    return told | ({"license": licence} if licence else {})


def _introduction(facts: CardFacts) -> str:
    how = "A LoRA adapter for" if facts.is_adapter else "A fine-tuned"
    learning = (
        "by preferring the better of its own answers to the worse (DPO)."
        if isinstance(facts.options, PreferOptions)
        else "with the loss on the answer alone."
    )
    return _wrapped(
        f"{how} `{_public_name(facts.base)}` that reads {', '.join(facts.task.fields)} off a "
        f"picture, made by [Loupe](https://pypi.org/project/loupe-vlm/) {learning}"
    )


def _loading_code(facts: CardFacts) -> str:
    """Give transformers code that answers for picture.jpg, run in the model's folder."""
    lines = ["from PIL import Image"]
    if facts.is_adapter:
        lines.append("from peft import PeftModel")
    lines.append("from transformers import AutoModelForImageTextToText, AutoProcessor")
    lines.append("")
    if facts.is_phi3_v:
        lines.append("from loupe.phi3_v import register")
    if facts.is_adapter and facts.base == TINY:
        lines.append("from loupe.vlm import TINY_FOLDER")
    if facts.is_phi3_v:
        lines += ["", "register()  # Phi-3-Vision for transformers' Auto classes"]
    if facts.is_adapter:
        base = "TINY_FOLDER" if facts.base == TINY else _quoted(facts.base)
        lines += [
            f"base = AutoModelForImageTextToText.from_pretrained({base})",
            'model = PeftModel.from_pretrained(base, ".").eval()',
        ]
    else:
        lines.append('model = AutoModelForImageTextToText.from_pretrained(".").eval()')
    lines += [
        'processor = AutoProcessor.from_pretrained(".")',
        f"prompt = {_quoted(facts.prompt)}",
        'picture = Image.open("picture.jpg").convert("RGB")',
        'inputs = processor(text=[prompt], images=[[picture]], return_tensors="pt")',
        "said = model.generate(",
        f"    **inputs, max_new_tokens=96, do_sample=False, eos_token_id={list(facts.end_ids)}",
        ")",
        'answer = said[0, inputs["input_ids"].shape[1] :]',
        "print(processor.tokenizer.decode(answer, skip_special_tokens=True).strip())",
    ]
    return "\n".join(lines) + "\n"


def _data(facts: CardFacts) -> str:
    counts = facts.dataset["counts"]
    splits = [name for name in counts if name not in {"read", "rejected"}]
    told = as_table(["split", "rows"], [[name, f"{counts[name]:,}"] for name in splits])
    return f"Fingerprint of the dataset: `{facts.dataset['fingerprint']}`\n\n{told}"


def _told_options(options: TrainOptions | PreferOptions) -> list[list[str]]:
    values = asdict(options)
    changed = {
        each.name: values[each.name]
        for each in fields(options)
        if each.name not in TOLD_ELSEWHERE | ABOUT_THE_MACHINE
        and values[each.name] != _default(each)
    }
    return [
        [name, f"`{json.dumps(value, ensure_ascii=False)}`"]
        for name, value in {"method": options.method, **changed}.items()
    ]


def _default(option: Any) -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()


def _validation(facts: CardFacts) -> str:
    if not facts.scores:
        return "Nothing was evaluated while training."
    head = f"Of step {facts.best_step}, which {facts.options.best_metric} chose:"
    rows = [[name, f"{value:.4g}"] for name, value in facts.scores.items()]
    return f"{head}\n\n{as_table(['score', 'value'], rows)}"


def _licences(facts: CardFacts) -> str:
    return "\n".join(f"- {line}" for line in _licence_lines(facts))


def _licence_lines(facts: CardFacts) -> Iterator[str]:
    name, licence = _public_name(facts.base), _licence_id(facts.base)
    if licence == "mit":
        yield f"The base, `{name}`, is under the MIT licence, as its model card says."
    elif licence:
        yield "The base, Loupe's tiny Phi-3-Vision, is under Apache-2.0, as Loupe is."
    else:
        yield f"The licence of the base, `{name}`, holds for this model too: see its model card."
    yield "Data and pictures belong to their owners; this card grants no right to them."


def _licence_id(base: str) -> str | None:
    if base == TINY:
        return "apache-2.0"
    return "mit" if _public_name(base) in {f"microsoft/{name}" for name in PUBLISHED} else None


def _public_name(base: str) -> str:
    """Name a base without the place where it lies on this machine."""
    path = Path(base)
    if not path.is_dir():
        return base
    return f"microsoft/{path.name}" if path.name in PUBLISHED else path.name


def _dataset_name(facts: CardFacts) -> str:
    return Path(facts.options.dataset).resolve().name


def _as_yaml(declared: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(declared), sort_keys=False, allow_unicode=True)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, TEXT_COLUMNS, break_long_words=False, break_on_hyphens=False)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, "utf-8")
    partial.replace(path)
