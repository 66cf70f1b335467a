"""The whole job by the real commands, on tiny random checkpoints of other families."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from loupe import vlm
from loupe.cli import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "other_model.yaml"
FAMILIES = {  # and the part that says the words, which is random here and so has to learn
    "idefics3_checkpoint": "embeddings",  # its head is the same matrix
    "llava_next_checkpoint": "head",
}
STEPS = ["--max-steps", 12, "--batch-size", 8, "--evaluations", 3, "--evaluation-rows", 4]
FULL = [*STEPS, "--optimizer", "muon", "--learning-rate", 0.02, "--digit-weight", 2]
FULL += ["--price-spread", 0.1, "--augment", "true"]
LORA = ["--config", EXAMPLE, *STEPS, "--learning-rate", 0.02, "--epochs", 12]

WITHOUT_LOUPE = """
import sys
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained(".").eval()
processor = AutoProcessor.from_pretrained(".")
content = [{"type": "image"}, {"type": "text", "text": "What is shown in this image?"}]
prompt = processor.apply_chat_template(
    [{"role": "user", "content": content}], add_generation_prompt=True
)
inputs = processor(
    text=[prompt], images=[[Image.new("RGB", (64, 64), "red")]], return_tensors="pt",
    add_special_tokens=False,
)
said = model.generate(**inputs, max_new_tokens=4, do_sample=False)
assert said.shape[1] > inputs["input_ids"].shape[1]
assert not any(name.split(".")[0] == "loupe" for name in sys.modules)
"""


def loupe(*words):
    assert main([str(word) for word in words]) == 0


def validation_losses(folder):
    name = "train/validation_loss"
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [event[name] for event in events if name in event]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    words = ["--rows", 60, "--image-size-px", 64, "--workers", 1]
    loupe("sample", *words, "--output", folder / "sample")
    loupe("build", "--source", folder / "sample", "--output", folder / "data")
    return folder / "data"


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda name: name.removesuffix("_checkpoint"))
def base(request):
    return request.getfixturevalue(request.param), FAMILIES[request.param]


@pytest.fixture(scope="module", params=["full", "lora"])
def run(request, base, data, tmp_path_factory):
    """The words of a training, and the folder that it wrote."""
    checkpoint, says_words = base
    words = FULL if request.param == "full" else [*LORA, f"--parts.{says_words}", "full"]
    folder = tmp_path_factory.mktemp(request.param) / "model"
    words = ["train", "--dataset", data, "--model", checkpoint, *words]
    loupe(*words, "--output", folder)
    return words, folder


def test_the_loss_falls(run):
    first, *_, last = validation_losses(run[1])
    assert last < first - 0.1


def test_the_picture_reaches_the_model(run):
    model, processor = vlm.load_model_and_processor(str(run[1]))
    prompt = vlm.make_dialogue(processor, "What is shown in this image?").prompt

    def logits(colour):
        picture = Image.new("RGB", (64, 64), colour)
        inputs = processor(text=[prompt], images=[[picture]], return_tensors="pt")
        with torch.inference_mode():
            return model(**inputs).logits[0, -1]

    assert torch.equal(logits("red"), logits("red"))
    assert (logits("red") - logits("blue")).abs().max() > 1e-4


def test_a_resumed_run_ends_in_the_same_weights(run, tmp_path):
    words, finished = run
    folder = tmp_path / "model"
    shutil.copytree(finished, folder)
    (weights,) = folder.glob("*model.safetensors")
    expected = weights.read_bytes()
    weights.unlink()
    (folder / "training.json").unlink()
    shutil.rmtree(folder / "checkpoints" / "checkpoint-12")
    loupe(*words, "--output", folder)
    assert json.loads((folder / "training.json").read_text())["steps"] == 12
    assert weights.read_bytes() == expected


@pytest.mark.parametrize("run", ["full"], indirect=True)
def test_the_model_loads_by_transformers_alone(run):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_LOUPE],
        cwd=run[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_model_is_evaluated_and_predicts(run, data, tmp_path, capsys):
    model = run[1]
    words = ["--bootstrap", 20, "--price", "median", "--max-new-tokens", 8]
    loupe("evaluate", "--model", model, "--dataset", data, "--output", tmp_path / "e", *words)
    scores = json.loads((tmp_path / "e" / "scores.json").read_text())
    assert set(scores["twins"]) == {"blind", "shuffled"}
    assert "nearest_features" in scores["baselines"]
    capsys.readouterr()
    pictures = sorted((data.parent / "sample" / "images").iterdir())[:2]
    loupe("predict", *pictures, "--model", model, "--max-new-tokens", 8)
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(each["picture"]) for each in answers] == pictures
    assert all(isinstance(each["answer"], str) for each in answers)
