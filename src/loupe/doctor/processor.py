"""Whether processor, chat template and model agree, so that a picture gets where it is looked for.

The published conversation and its ids: https://huggingface.co/microsoft/Phi-3.5-vision-instruct.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jinja2

from loupe import vlm
from loupe.doctor.findings import Finding, name_some
from loupe.doctor.pictures import draw_pictures
from loupe.errors import CheckpointError
from loupe.phi3_v import Phi3VConfig, Phi3VProcessor

__all__ = ["examine_processor"]

QUESTION = "What is shown in this image?"
OFFICIAL_PROMPT = "<|user|>\n<|image_1|>\n{question}<|end|>\n<|assistant|>\n"
PUBLISHED_VOCABULARY = 32064
PUBLISHED_IDS = {
    "<|endoftext|>": 32000,
    "<|assistant|>": 32001,
    "<|system|>": 32006,
    "<|end|>": 32007,
    "<|user|>": 32010,
    "<|image|>": 32044,
}
LINE_AFTER_USER = (32010, 29871, 13)  # a rebuilt tokenizer leaves the 29871 out
MOST_CROPS = 16  # of the published settings
FROM_BASE = (
    "Copy preprocessor_config.json, tokenizer.json and tokenizer_config.json from the checkpoint "
    "that this one was made of."
)


def examine_processor(
    folder: Path, config: Phi3VConfig | None, generation: Path
) -> tuple[Phi3VProcessor | None, list[Finding]]:
    """Examine the processor in a folder beside its model's config.

    `generation` is the folder whose generation_config.json ends the answers. The processor is None
    where it cannot be loaded.
    """
    try:
        processor = vlm.load_processor(str(folder))
    except CheckpointError as error:
        return None, [_wrong(str(error), FROM_BASE)]
    if not isinstance(processor, Phi3VProcessor):
        what = f"The processor is a {type(processor).__name__}, not Phi-3-Vision's."
        return None, [_wrong(what, FROM_BASE)]
    findings = [*_check_tokens(processor), *_check_template(processor)]
    if config is not None:
        findings += [*_check_pictures(processor, config), *_check_ids(processor, config)]
    findings += _check_ends(processor, generation)
    if not any(each.verdict == "wrong" for each in findings):
        crops = processor.image_processor.num_crops
        what = (
            "Picture tokens, special tokens and the chat template are the published ones; a "
            f"picture is cut into up to {crops} crops."
        )
        findings.insert(0, Finding("processor", "well", what))
    return processor, findings


def _check_tokens(processor: Phi3VProcessor) -> Iterator[Finding]:
    """Special tokens must be single tokens; batches need padding that ends no answer."""
    tokenizer = processor.tokenizer
    split = [
        name
        for name in PUBLISHED_IDS
        if tokenizer(name, add_special_tokens=False)["input_ids"]
        != [tokenizer.convert_tokens_to_ids(name)]
        or tokenizer.convert_tokens_to_ids(name) == tokenizer.unk_token_id
    ]
    if split:
        yield _wrong(f"{name_some(split)} are no single tokens of the tokenizer.", FROM_BASE)
    if tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
        what = f"eos_token is {tokenizer.eos_token}, pad_token is {tokenizer.pad_token}."
        yield _wrong(what, "Set both to <|endoftext|> in tokenizer_config.json, as published.")
    elif tokenizer.pad_token == vlm.PHI3_V_END:
        what = f"Batches are padded with {vlm.PHI3_V_END}, the token that ends an answer."
        yield _wrong(what, "Set pad_token to <|endoftext|> in tokenizer_config.json.")


def _check_template(processor: Phi3VProcessor) -> Iterator[Finding]:
    """The chat template must write the published conversation."""
    cure = "Take chat_template out of the base's tokenizer_config.json."
    content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
    try:
        prompt = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
    except (ValueError, TypeError, jinja2.TemplateError) as error:
        yield _wrong(f"The chat template cannot be used: {str(error).splitlines()[0]}", cure)
        return
    official = OFFICIAL_PROMPT.format(question=QUESTION)
    if prompt != official:
        what = f"The chat template writes {prompt!r} where the published one writes {official!r}."
        yield _wrong(what, cure)


def _check_pictures(processor: Phi3VProcessor, config: Phi3VConfig) -> Iterator[Finding]:
    """Ids, sizes and numbers of picture tokens must be those that the model counts on."""
    pictures = processor.image_processor
    if processor.image_token_id != config.image_token_id:
        yield _wrong(
            f"The processor puts pictures at token {processor.image_token_id}, the model looks for "
            f"{config.image_token_id}.",
            "Set image_token_id in config.json to the tokenizer's <|image|>, or use its tokenizer.",
        )
    expected = {"crop_size": config.crop_size, "num_img_tokens": config.tokens_per_side**2}
    for name, value in expected.items():
        if (given := getattr(pictures, name)) != value:
            yield _wrong(
                f"preprocessor_config.json has {name} {given}, the model's tower makes it {value}.",
                f"Set {name} to {value} in preprocessor_config.json.",
            )
    if not 1 <= pictures.num_crops <= MOST_CROPS:
        yield _wrong(
            f"num_crops is {pictures.num_crops}; published are 4 and 16, 1 to {MOST_CROPS} work.",
            "Set num_crops in preprocessor_config.json.",
        )
        return
    picture = draw_pictures(config.crop_size)[0]
    prompt = OFFICIAL_PROMPT.format(question=QUESTION)
    made = processor(prompt, [picture], return_tensors="pt")
    placed = int((made["input_ids"] == processor.image_token_id).sum())
    side = config.tokens_per_side
    height, width = (int(size) // config.crop_size for size in made["image_sizes"][0])
    features = (height * width + 1) * side**2 + 1 + (height + 1) * side
    if placed != features:
        yield _wrong(
            f"A picture takes {placed} places in the text and gives {features} features.",
            "Correct crop_size and num_img_tokens in preprocessor_config.json.",
        )
    crops = pictures.num_crops
    most = pictures.count_image_tokens(config.crop_size * crops, config.crop_size)
    if most > config.max_position_embeddings:
        yield _wrong(
            f"A picture of {crops} crops is {most} tokens; the model was made for texts of "
            f"{config.max_position_embeddings}.",
            "Lower num_crops in preprocessor_config.json.",
        )


def _check_ids(processor: Phi3VProcessor, config: Phi3VConfig) -> Iterator[Finding]:
    """Ids must be within the vocabulary, and the published ones where it has the published size."""
    tokenizer = processor.tokenizer
    highest = max(tokenizer.get_vocab().values())
    if highest >= config.vocab_size:
        yield _wrong(
            f"The tokenizer has ids up to {highest}, the model embeds {config.vocab_size}.",
            "Use the tokenizer of the base, or resize the model's embeddings and train them.",
        )
    if config.vocab_size != PUBLISHED_VOCABULARY:
        return
    for name, published in PUBLISHED_IDS.items():
        if (given := tokenizer.convert_tokens_to_ids(name)) != published:
            yield _wrong(f"{name} is token {given}; published is {published}.", FROM_BASE)
    line = tuple(tokenizer("<|user|>\n", add_special_tokens=False)["input_ids"])
    if line != LINE_AFTER_USER:
        what = f"A line end after <|user|> gives the ids {line}; published is {LINE_AFTER_USER}."
        yield _wrong(what, FROM_BASE)


def _check_ends(processor: Phi3VProcessor, folder: Path) -> Iterator[Finding]:
    """Other tools stop where generation_config.json says; Loupe stops at the answer's end."""
    from transformers import GenerationConfig

    end = processor.tokenizer.convert_tokens_to_ids(vlm.PHI3_V_END)
    try:
        given = GenerationConfig.from_pretrained(str(folder)).eos_token_id
    except OSError:
        given = None
    if end not in (given if isinstance(given, list) else [given]):
        yield Finding(
            "processor",
            "note",
            f"generation_config.json ends answers at {given}, not at {vlm.PHI3_V_END} ({end}): "
            "Loupe stops there all the same, other tools write on.",
            f"Give other tools' `generate` eos_token_id={end}; `loupe train` writes it.",
        )


def _wrong(what: str, cure: str) -> Finding:
    return Finding("processor", "wrong", what, cure)
