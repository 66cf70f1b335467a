"""What vLLM is asked, by a stand-in that takes what its documentation names and nothing else.

https://docs.vllm.ai/en/latest/api/vllm/: LLM, SamplingParams, StructuredOutputsParams.
"""

import sys
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from PIL import Image

from loupe.errors import MissingExtraError, OptionError, PredictError
from loupe.options import PredictOptions
from loupe.predict import predict_pictures
from loupe.task import Task

from .conftest import write_pictures

TOKENIZER = Path(__file__).parents[2] / "parity" / "golden" / "tokenizer"


@dataclass
class StructuredOutputsParams:
    json: str | dict | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None


@dataclass
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int | None = 16
    stop_token_ids: list[int] | None = field(default_factory=list)
    skip_special_tokens: bool = True
    structured_outputs: StructuredOutputsParams | None = None


class LLM:
    made: "LLM"
    answer = "Product: cup, Category: BAGS, Full Price: 20.5"

    def __init__(
        self, model, *, tokenizer=None, trust_remote_code=False, dtype="auto", seed=0,
        max_model_len=None, limit_mm_per_prompt=None, structured_outputs_config=None,
    ):  # fmt: skip
        self.settings = dict(locals())
        self.calls = []
        LLM.made = self

    def generate(self, prompts, sampling_params=None, *, use_tqdm=True, lora_request=None):
        self.calls.append((prompts, sampling_params))
        return [SimpleNamespace(outputs=[SimpleNamespace(text=self.answer)]) for _ in prompts]


@pytest.fixture
def vllm(monkeypatch):
    module, sampling = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    module.LLM, module.SamplingParams = LLM, SamplingParams
    sampling.StructuredOutputsParams = StructuredOutputsParams
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", sampling)


@pytest.fixture
def published(tmp_path):
    """A processor of the published sizes; the stand-in reads no weights."""
    from transformers import PreTrainedTokenizerFast

    from loupe.phi3_v import Phi3VConfig, Phi3VImageProcessor, Phi3VProcessor

    Phi3VConfig().save_pretrained(tmp_path / "model")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(TOKENIZER)
    Phi3VProcessor(Phi3VImageProcessor(num_crops=4), tokenizer).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def predict(folder, model, **changes):
    options = {"engine": "vllm", "batch_size": 2} | changes
    return predict_pictures(PredictOptions(pictures=[str(folder)], model=str(model), **options))


def test_vllm_is_asked_greedily_under_the_tasks_grammar(tmp_path, published, vllm):
    write_pictures(tmp_path, 5)
    result = predict(tmp_path, published, max_new_tokens=40)
    assert [each["full_price"] for each in result.pictures] == [20.5] * 5
    ((prompts, sampling),) = LLM.made.calls  # all in one, as vLLM makes its own batches
    assert len(prompts) == 5
    assert prompts[0]["prompt"].startswith("<|user|>\n<|image_1|>What is shown")
    assert isinstance(prompts[0]["multi_modal_data"]["image"], Image.Image)
    assert (sampling.temperature, sampling.max_tokens) == (0.0, 40)
    assert sampling.structured_outputs == StructuredOutputsParams(grammar=Task.load().grammar())
    assert len(sampling.stop_token_ids) == 1
    settings = LLM.made.settings
    assert settings["structured_outputs_config"] == {"backend": "guidance"}
    assert settings["limit_mm_per_prompt"] == {"image": 1}
    assert settings["trust_remote_code"] is False
    # 4 crops in a column and the whole picture, each 12 rows of 12 tokens and an end; a separator
    assert settings["max_model_len"] > 5 * 12 * 13 + 1 + 40


def test_free_decoding_has_no_grammar(tmp_path, published, vllm):
    write_pictures(tmp_path, 1)
    predict(tmp_path, published, decoding="free")
    assert LLM.made.calls[0][1].structured_outputs is None


def test_other_sizes_are_refused(tmp_path, tiny_checkpoint, vllm):
    write_pictures(tmp_path, 1)
    with pytest.raises(PredictError, match=r"crops of 336 px.* 28 px.*--engine local or ray"):
        predict(tmp_path, tiny_checkpoint)


def test_a_narrower_tower_of_the_same_crops_is_refused(tmp_path, published, vllm):
    from loupe.phi3_v import Phi3VConfig

    write_pictures(tmp_path, 1)
    tower = {"hidden_size": 128, "num_attention_heads": 2, "image_size": 336, "patch_size": 14}
    Phi3VConfig(vision_config=tower).save_pretrained(published)
    with pytest.raises(PredictError, match=r"has 128 wide, 336 px"):
        predict(tmp_path, published)


def test_missing_vllm_is_told_with_what_to_install(tmp_path, tiny_checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    write_pictures(tmp_path, 1)
    with pytest.raises(MissingExtraError, match=r"engine vllm\) needs vllm: .*loupe-vlm\[vllm\]"):
        predict(tmp_path, tiny_checkpoint)


def test_adapter_is_refused_with_what_to_do(tmp_path):
    write_pictures(tmp_path, 1)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(PredictError, match=r"is an adapter.*Merge it into its base"):
        predict(tmp_path, tmp_path / "adapter")


def test_other_family_is_refused(tmp_path, llava_checkpoint, vllm):
    write_pictures(tmp_path, 1)
    with pytest.raises(PredictError, match=r"reads Phi-3-Vision.*LlavaProcessor.*--engine local"):
        predict(tmp_path, llava_checkpoint)


def test_medians_of_prices_are_refused():
    with pytest.raises(OptionError, match="price median is not read with engine vllm"):
        PredictOptions(pictures=["x"], model="m", engine="vllm", price="median")


def test_every_process_of_vllm_learns_of_the_family():
    declared = (Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8")
    assert (
        '[project.entry-points."vllm.general_plugins"]\nloupe_phi3_v = "loupe.phi3_v:register"'
        in declared
    )
    for point in entry_points(group="vllm.general_plugins", name="loupe_phi3_v"):
        point.load()()


def test_merged_adapter_answers_as_the_adapter_does(tmp_path, tiny_checkpoint):
    """The lines of docs/predict.md."""
    peft = pytest.importorskip("peft")
    import torch

    from loupe.predict import Predictor
    from loupe.vlm import without_peft_warning

    base = Predictor.load(str(tiny_checkpoint))
    torch.manual_seed(0)
    settings = peft.LoraConfig(r=4, target_modules=["qkv_proj"], init_lora_weights=False)
    with without_peft_warning():
        adapted = peft.get_peft_model(base.model, settings)
    adapted.peft_config["default"].base_model_name_or_path = str(tiny_checkpoint)
    adapted.save_pretrained(tmp_path / "adapter")
    base.processor.save_pretrained(tmp_path / "adapter")

    reader = Predictor.load(str(tmp_path / "adapter"))
    pictures = [Image.new("RGB", (40, 60), "red"), Image.new("RGB", (60, 30), "blue")]
    before = [answer.text for answer in reader.predict(pictures, max_new_tokens=8)]
    reader.model.merge_and_unload().save_pretrained(tmp_path / "merged")
    reader.processor.save_pretrained(tmp_path / "merged")
    reader.task.save(tmp_path / "merged" / "task.yaml")
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    merged = Predictor.load(str(tmp_path / "merged"))
    assert [answer.text for answer in merged.predict(pictures, max_new_tokens=8)] == before
