import logging
from dataclasses import replace

import pytest

from loupe.card import CardFacts, write_card
from loupe.evaluate.run import evaluate
from loupe.options import TrainOptions


@pytest.fixture
def model_folder(task, tmp_path):
    """A finished model folder, as far as its card goes."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "training.json").write_text("{}", "utf-8")
    facts = CardFacts(
        options=TrainOptions(dataset="data", output=str(folder)),
        base="tiny",
        task=task,
        prompt="?",
        end_ids=[1],
        is_phi3_v=True,
        dataset={"fingerprint": "ab", "counts": {"train": 80}},
        scores={},
        best_step=1,
    )
    write_card(folder, facts)
    return folder


def run(make_dataset, make_predictor, task, options):
    dataset = make_dataset(task)
    return evaluate(dataset, lambda: make_predictor(dataset), options)


def test_a_test_writes_scores_and_twins_with_intervals_into_the_card(
    make_dataset, make_predictor, task, options, model_folder, caplog
):
    caplog.set_level(logging.INFO, logger="loupe")
    options = replace(options, model=str(model_folder))
    result = run(make_dataset, make_predictor, task, options)

    text = (model_folder / "README.md").read_text("utf-8")
    section = text.split("<!-- loupe: test scores -->")[1].split("<!-- /loupe")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "|" in line]
    assert rows[0] == [
        "score",
        "model (95 % interval)",
        "blind twin: grey picture",
        "shuffled twin: another row's picture",
    ]
    by_name = {row[0]: row[1:] for row in rows[2:]}
    told = result.scores["scores"]["evaluate/category3_code_accuracy"]
    blind = result.scores["twins"]["blind"]["scores"]["evaluate/category3_code_accuracy"]
    mine = by_name["category3_code: accuracy"]
    assert mine[0].startswith(f"{100 * told['value']:.1f} % ({100 * told['low']:.1f} to ")
    assert mine[1].startswith(f"{100 * blind['value']:.1f} % (")
    assert "160 test rows in 20 groups" in section
    assert "f" * 64 in section
    assert result.scores["verdict"] in section
    assert f"Wrote the scores into the model's card, {model_folder}/README.md" in caplog.text

    again = replace(options, overwrite=True, twins=False, confidence=0.9)
    run(make_dataset, make_predictor, task, again)
    text = (model_folder / "README.md").read_text("utf-8")
    assert "model (90 % interval)" in text
    assert "blind twin" not in text
    assert "## Licences" in text


def test_scores_of_another_split_stay_out_of_the_card(
    make_dataset, make_predictor, task, options, model_folder
):
    before = (model_folder / "README.md").read_text("utf-8")
    options = replace(options, model=str(model_folder), split="train")
    run(make_dataset, make_predictor, task, options)
    assert (model_folder / "README.md").read_text("utf-8") == before
