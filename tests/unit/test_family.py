import numpy as np
import pytest
import torch
from PIL import Image

from loupe import vlm
from loupe.errors import CheckpointError, TrainError
from loupe.options import TrainOptions
from loupe.predict import Predictor
from loupe.predict.prices import _Beginning, _PriceTree
from loupe.task import Task
from loupe.train.batches import IGNORED_LABEL, Collator
from loupe.train.examples import Encoder, Sample
from loupe.train.load import Load
from loupe.train.memory import estimate_memory
from loupe.train.soft_labels import SoftLabels, collect_spellings

FAMILIES = ["idefics3_checkpoint", "gemma3_checkpoint", "llava_next_checkpoint"]
QUESTION = "What is shown in this image?"
ROWS = [
    {"title": "Red cup", "category3_code": "CUPS", "full_price": 12.5},
    {"title": "A much longer blue bag", "category3_code": "BAGS", "full_price": 1290.0},
]


def noise(width, height):
    return Image.effect_noise((width, height), 80).convert("RGB")


PICTURES = [noise(60, 40), noise(40, 80)]  # other numbers of tiles and of tokens


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda name: name.removesuffix("_checkpoint"))
def predictor(request):
    folder = request.getfixturevalue(request.param)
    model, processor = vlm.load_model_and_processor(str(folder), dtype="float32")
    return Predictor(model, processor, Task.load())


@pytest.fixture(scope="module")
def examples(predictor):
    encoder = Encoder(predictor.processor, predictor.task)
    return [
        encoder.encode(str(place), row, [picture.size])
        for place, (row, picture) in enumerate(zip(ROWS, PICTURES, strict=True))
    ]


def batch_of(predictor, examples, soft_labels=None):
    samples = [Sample(each, [shown]) for each, shown in zip(examples, PICTURES, strict=True)]
    batch = Collator(predictor.processor, soft_labels)(samples)
    del batch["row_ids"]
    return batch


@pytest.mark.parametrize(
    ("family", "prompt", "end"),
    [
        (
            "idefics3_checkpoint",
            "<|im_start|>User:<image>What?<end_of_utterance>\nAssistant:",
            "<end_of_utterance>",
        ),
        (
            "gemma3_checkpoint",  # <bos>, which the template writes, is the tokenizer's to write
            "<start_of_turn>user\n<start_of_image>What?<end_of_turn>\n<start_of_turn>model\n",
            "<end_of_turn>",
        ),
        ("llava_next_checkpoint", "USER: <image>\nWhat? ASSISTANT:", "<|endoftext|>"),
    ],
    ids=["idefics3", "gemma3", "llava_next"],
)
def test_a_family_is_asked_and_ends_by_its_template(request, family, prompt, end):
    processor = vlm.load_processor(str(request.getfixturevalue(family)))
    dialogue = vlm.make_dialogue(processor, "What?")
    assert (dialogue.prompt, dialogue.end) == (prompt, end)
    begin = processor.tokenizer.bos_token_id
    assert processor.tokenizer(dialogue.prompt)["input_ids"].count(begin) == 1


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (None, "has no chat template that can be used"),
        ("{{ messages[0]['content'][1]['text'] }}", "writes no '<image>', where a picture goes"),
        ("{{ raise_exception('no pictures') }}", r"can be used \(no pictures\)"),
        ("{% for %}", "has no chat template that can be used"),
    ],
    ids=["none", "without the picture", "that refuses", "broken"],
)
def test_a_template_that_cannot_ask_is_refused(idefics3_checkpoint, template, words):
    processor = vlm.load_processor(str(idefics3_checkpoint))
    processor.chat_template = processor.tokenizer.chat_template = template
    with pytest.raises(CheckpointError, match=words):
        vlm.make_dialogue(processor, QUESTION)


def test_a_batch_is_what_the_processor_makes_of_the_whole_texts(predictor, examples):
    batch = batch_of(predictor, examples)
    dialogue = vlm.make_dialogue(predictor.processor, predictor.task.question)
    expected = predictor.processor(
        text=[dialogue.prompt + each.answer + dialogue.end for each in examples],
        images=[[picture] for picture in PICTURES],
        padding=True,
        padding_side="right",
        return_tensors="pt",
    )
    assert set(batch) == {*expected, "labels"}
    for name, value in expected.items():
        assert torch.equal(batch[name], value), name
    for example, labels in zip(examples, batch["labels"], strict=True):
        assert tuple(labels[labels != IGNORED_LABEL].tolist()) == example.answer_ids


def test_a_price_is_its_digits_in_any_tokenizer(predictor, examples):
    for example, row in zip(examples, ROWS, strict=True):
        (price,) = example.prices
        said = predictor.processor.tokenizer.decode(example.answer_ids[price.begin : price.end])
        assert said.strip() == str(row["full_price"])


def test_the_loss_is_the_familys_own_and_logits_are_where_answers_are(predictor, examples):
    batch = batch_of(predictor, examples)
    inputs, labels = vlm.set_answers_apart(predictor.model, batch)
    with torch.inference_mode():
        own = predictor.model(**batch).loss
        outputs = predictor.model(**inputs)
    begin = min(len(each.prompt_ids) for each in examples)
    assert outputs.logits.shape[1] == batch["labels"].shape[1] - begin + 1
    # other shapes, other order of float32 sums
    assert torch.allclose(vlm.answer_loss(outputs, labels), own, atol=1e-5)


def test_soft_labels_count_in_any_familys_loss(predictor, examples):
    soft = SoftLabels(predictor.processor.tokenizer, 3.0, 0.1, collect_spellings(examples), 0.1)
    batch = batch_of(predictor, examples, soft)
    inputs, labels = vlm.set_answers_apart(predictor.model, batch)
    with torch.inference_mode():
        loss = vlm.answer_loss(predictor.model(**inputs), labels)
        plain = {name: value for name, value in batch.items() if not name.startswith("label")}
        likelihoods = predictor.model(**plain).logits[:, :-1].log_softmax(dim=-1)
    total, count = 0.0, 0
    for row, place in (batch["labels"][:, 1:] != IGNORED_LABEL).nonzero().tolist():
        choices = batch["label_choices"][row, place + 1]
        weights = batch["label_weights"][row, place + 1]
        right = (likelihoods[row, place, choices] * weights).sum()
        even = likelihoods[row, place].mean() * weights.sum()
        total -= float(0.9 * right + 0.1 * even)
        count += 1
    assert float(loss) == pytest.approx(total / count, rel=1e-4)
    assert batch["label_weights"].max() == 3.0  # a digit


def test_every_part_is_found(predictor):
    counts = vlm.count_parameters_by_part(predictor.model)
    parts = {"tower", "projection", "embeddings", "decoder"}
    into, out_of = predictor.model.get_input_embeddings(), predictor.model.get_output_embeddings()
    assert set(counts) == parts | (set() if into.weight is out_of.weight else {"head"})
    assert counts["embeddings"][1] == into.weight.numel()
    names = [name for name, _ in predictor.model.named_parameters()]
    for name in names:
        is_seeing = "vision" in name or "projector" in name or "connector" in name
        is_seeing |= "image_newline" in name
        assert (vlm.part_of(name) in {"tower", "projection"}) == is_seeing, name


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.visual.blocks.0.attn.qkv.weight", "tower"),
        ("model.visual.merger.mlp.0.weight", "projection"),
        ("model.visual.deepstack_merger_list.0.linear_fc1.weight", "projection"),
        ("model.vision_encoder.layers.0.weight", "tower"),
        ("model.aligner.fc1.weight", "projection"),
        ("model.language_model.layers.0.mlp.up_proj.weight", "decoder"),
        ("model.language_model.embed_tokens.weight", "embeddings"),
        ("lm_head.weight", "head"),
    ],
)
def test_names_of_still_other_families_are_known(name, part):
    assert vlm.part_of(name) == part


def test_features_are_one_row_per_picture(predictor):
    features = predictor.features(PICTURES, batch_size=2)
    alone = predictor.features(PICTURES[1:], batch_size=1)
    assert features.shape == (2, 32)
    assert np.allclose(features[1:], alone, atol=1e-5)  # other order of float32 sums


def test_a_batch_answers_what_single_pictures_do(predictor):
    together = predictor.predict(PICTURES, batch_size=2, max_new_tokens=8)
    one_by_one = predictor.predict(PICTURES, batch_size=1, max_new_tokens=8)
    assert [each.text for each in together] == [each.text for each in one_by_one]


@torch.inference_mode()
def test_beginnings_of_prices_are_as_likely_as_when_said_alone(predictor):
    tree = _PriceTree(predictor, PICTURES, ROWS, "full_price")
    first, second, third = (token for token, piece in tree._numeric if piece in {"1", "2", "5"})
    tree.follow([[_Beginning("", 0.0, -1)]] * 2)
    tree.follow([[_Beginning("", 0.0, first), _Beginning("", 0.0, second)]] * 2)
    seen = tree._seen.shape[1]
    after = [_Beginning("", 0.0, third, (seen - 1,)), _Beginning("", 0.0, second, (seen - 2,))]
    followed = tree.follow([after] * 2)  # the row with padding among them
    for row, (values, picture) in enumerate(zip(ROWS, PICTURES, strict=True)):
        for place, path in enumerate([(second, third), (first, second)]):
            expected = _after_tokens(predictor, values, picture, path)[tree._ids]
            assert np.allclose(followed[row, place], expected.double().numpy(), atol=1e-4)


def _after_tokens(predictor, values, picture, tokens):
    """Log probabilities of what follows the answer so far and these tokens, in one plain pass."""
    answer, places = predictor.task.format_fields(values)
    prompt = vlm.make_dialogue(predictor.processor, predictor.task.question).prompt
    text = prompt + answer[: places["full_price"][0]].rstrip()
    inputs = dict(predictor.processor(text=[text], images=[[picture]], return_tensors="pt"))
    for name in {"input_ids", "attention_mask", "token_type_ids"} & set(inputs):
        more = inputs[name][:, -1:].expand(1, len(tokens))
        more = torch.tensor([tokens]) if name == "input_ids" else more
        inputs[name] = torch.cat([inputs[name], more], dim=1)
    return predictor.model(**inputs).logits[0, -1].float().log_softmax(dim=-1)


def test_a_processor_that_writes_after_the_prompt_is_refused(idefics3_checkpoint):
    processor = vlm.load_processor(str(idefics3_checkpoint))
    expand = processor.get_text_with_replacements

    def expand_and_add(text, **settings):
        texts, places = expand(text, **settings)
        return [each + "\n" for each in texts], places

    processor.get_text_with_replacements = expand_and_add
    with pytest.raises(TrainError, match="makes other tokens of a prompt with its answer"):
        Encoder(processor, Task.load()).encode("1", ROWS[0], [(60, 40)])


def test_batches_of_a_tokenizer_without_padding_are_padded_with_its_end(
    idefics3_checkpoint, tmp_path
):
    import json
    import shutil

    folder = tmp_path / "unpadded"
    shutil.copytree(idefics3_checkpoint, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    del settings["pad_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    assert vlm.load_processor(str(folder)).tokenizer.pad_token == "<|endoftext|>"


def test_memory_is_estimated_where_a_tower_names_its_sizes_otherwise():
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    tower = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2}
    decoder = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    decoder |= {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 200}
    with torch.device("meta"):
        model = Qwen2VLForConditionalGeneration(
            Qwen2VLConfig(vision_config=tower, text_config=decoder)
        )
    options = TrainOptions(dataset="data", output="model")
    load = Load(samples=1, tokens=100, answer_tokens=20, crops=1)
    memory = estimate_memory(model, load, options)
    assert memory.peak > 16 * model.num_parameters()  # weights, gradients, two moments
    assert memory.activations > 0
