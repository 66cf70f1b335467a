import json
from dataclasses import replace

import pytest
import yaml

from loupe.card import CardFacts, replace_test_scores, write_card
from loupe.options import TrainOptions
from loupe.task import Task

BASE = "/models/Phi-3.5-vision-instruct"


@pytest.fixture
def facts(tmp_path):
    return CardFacts(
        options=TrainOptions(dataset=str(tmp_path / "shoes"), output="m", epochs=5, schedule="a|b"),
        base="tiny",
        task=Task.load(),
        prompt='<|user|>\n<|image_1|>What "is" it?<|end|><|assistant|>\n',
        end_ids=[7, 3],
        is_phi3_v=True,
        dataset={
            "fingerprint": "ab12",
            "counts": {"train": 1200, "validation": 20, "read": 9, "rejected": 2},
        },
        scores={"loss": 0.51234, "title_token_f1": 0.9},
        best_step=40,
    )


def card_of(folder, facts):
    folder.mkdir(exist_ok=True)
    write_card(folder, facts)
    text = (folder / "README.md").read_text("utf-8")
    return yaml.safe_load(text.split("---\n")[1]), text


def test_a_card_tells_task_data_options_and_scores(facts, tmp_path):
    _, text = card_of(tmp_path / "model", facts)
    assert "question: What is shown in this image?" in text
    assert 'prompt = "<|user|>\\n<|image_1|>What \\"is\\" it?<|end|><|assistant|>\\n"' in text
    assert "Full Price: {full_price}" in text
    assert "`ab12`" in text
    assert "| train | 1,200 |\n| validation | 20 |" in text
    assert "rejected" not in text
    assert '| method | `"full"` |\n| epochs | `5` |\n| schedule | `"a\\|b"` |\n\n' in text
    assert "Of step 40, which loss chose" in text
    assert "| loss | 0.5123 |" in text
    assert "Not measured yet" in text


def test_the_front_matter_is_what_hugging_face_reads(facts, tmp_path):
    from huggingface_hub import ModelCard

    card_of(tmp_path / "model", facts)
    data = ModelCard.load(tmp_path / "model" / "README.md").data
    assert data.base_model == "tiny"
    assert data.library_name == "transformers"
    assert data.pipeline_tag == "image-text-to-text"
    assert data.tags == ["loupe", "phi3_v"]
    assert data.datasets == ["shoes"]
    assert data.license == "apache-2.0"


@pytest.mark.parametrize(
    ("base", "name", "licence", "words"),
    [
        ("microsoft/Phi-3-vision-128k-instruct", None, "mit", "under the MIT licence"),
        ("Phi-3.5-vision-instruct", "microsoft/Phi-3.5-vision-instruct", "mit", "MIT licence"),
        ("someone/llava", None, None, "The licence of the base, `someone/llava`, holds"),
        ("our-own", "our-own", None, "The licence of the base, `our-own`, holds"),
    ],
    ids=["hub", "downloaded", "another family", "another folder"],
)
def test_the_base_brings_its_name_and_licence(facts, tmp_path, base, name, licence, words):
    if "/" not in base:
        (tmp_path / base).mkdir()
        base = str(tmp_path / base)
    metadata, text = card_of(tmp_path / "model", replace(facts, base=base))
    assert metadata["base_model"] == (name or base)
    assert metadata.get("license") == licence
    assert words in text
    assert "Data and pictures belong to their owners" in text
    assert str(tmp_path) not in text  # no place of this machine


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_an_adapter_says_so(facts, tmp_path, method):
    options = replace(facts.options, method=method)
    metadata, text = card_of(tmp_path / "model", replace(facts, options=options, scores={}))
    assert metadata["library_name"] == "peft"
    assert metadata["base_model_relation"] == "adapter"
    assert "lora" in metadata["tags"]
    assert "A LoRA adapter for `tiny`" in text
    assert "Nothing was evaluated while training." in text


def test_test_scores_are_put_in_place_and_the_rest_is_kept(facts, tmp_path):
    folder = tmp_path / "model"
    card_of(folder, facts)
    (folder / "training.json").write_text(json.dumps({}), "utf-8")
    card = folder / "README.md"
    card.write_text(card.read_text("utf-8") + "\nWritten by hand.\n", "utf-8")

    assert replace_test_scores(folder, "first scores")
    assert replace_test_scores(folder, "second scores")

    text = card.read_text("utf-8")
    assert "second scores" in text
    assert "first scores" not in text
    assert "Not measured yet" not in text
    assert text.endswith("Written by hand.\n")
    assert "## Licences" in text


@pytest.mark.parametrize("lack", ["card", "record", "place", "folder"])
def test_a_folder_that_is_not_ours_is_left_alone(facts, tmp_path, lack):
    folder = tmp_path / "model"
    card_of(folder, facts)
    card, record = folder / "README.md", folder / "training.json"
    record.write_text("{}", "utf-8")
    if lack == "card":
        card.unlink()
    elif lack == "record":
        record.unlink()
    elif lack == "place":
        card.write_text("# Somebody's own card\n", "utf-8")
    before = {path.name: path.read_text("utf-8") for path in folder.iterdir()}

    assert not replace_test_scores(folder / "none" if lack == "folder" else folder, "scores")
    assert {path.name: path.read_text("utf-8") for path in folder.iterdir()} == before


def test_a_folder_that_may_not_be_written_is_left_alone(facts, tmp_path, monkeypatch):
    from pathlib import Path

    folder = tmp_path / "model"
    card_of(folder, facts)
    (folder / "training.json").write_text("{}", "utf-8")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)  # root may write anywhere
    assert not replace_test_scores(folder, "scores")
