"""What tests build for themselves: a random two-layer Phi-3-Vision with a tokenizer of its own."""

import json
import os

import pytest

from families import write_gemma3, write_idefics3, write_llava_next

# Before torch is imported. Two-layer models gain nothing from threads, and threads that wait for
# each other made these tests thirty times as slow where cores were shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

WORDS = "Product: Category: Full Price: What is shown in this image? red green blue cup bag USD"
DIGITS = " 0 1 2 3 4 5 6 7 8 9 . 10 20.5"
PLACEHOLDERS = [f"<|placeholder{k}|>" for k in range(1, 5)]
ADDED_TOKENS = ["<|endoftext|>", "<|assistant|>", *PLACEHOLDERS]
ADDED_TOKENS += ["<|system|>", "<|end|>", "<|user|>", "<|image|>"]
WITHOUT_RSTRIP = {"<|endoftext|>", "<|system|>", "<|end|>", "<|user|>"}
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content']"
    " + '<|end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)

LLAVA_TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{{ '<image>\n' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def train_merges(text, size):
    """Byte-pair merges within words of a text, and the pieces they make."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False)
    learner.train_from_iterator([text], trainer)
    learnt = json.loads(learner.to_str())["model"]
    return list(learnt["vocab"]), [tuple(merge) for merge in learnt["merges"]]


def make_tokenizer(text=WORDS, size=200):
    """A small tokenizer in the published layout: byte fallback, one `<s>` before every text."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces, merges = train_merges(text, size)
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(
        [AddedToken(name, normalized=False) for name in ("<unk>", "<s>", "</s>")]
    )
    tokenizer.add_special_tokens(
        [
            AddedToken(name, normalized=False, rstrip=name not in WITHOUT_RSTRIP)
            for name in ADDED_TOKENS
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        unk_token="<unk>",
        padding_side="right",
        chat_template=CHAT_TEMPLATE,
    )


def make_processor(crop_size=28, patch_size=14, num_crops=4, **tokenizer_settings):
    from loupe.phi3_v import Phi3VImageProcessor, Phi3VProcessor

    image_processor = Phi3VImageProcessor(
        num_crops=num_crops,
        crop_size=crop_size,
        num_img_tokens=(crop_size // (2 * patch_size)) ** 2,
    )
    return Phi3VProcessor(image_processor, make_tokenizer(**tokenizer_settings))


def make_model(processor, crop_size=28, patch_size=14, width=32, layers=2):
    import torch

    from loupe.phi3_v import Phi3VConfig, Phi3VForCausalLM

    tower = {"hidden_size": width, "intermediate_size": 2 * width, "num_attention_heads": 2}
    config = Phi3VConfig(
        vocab_size=len(processor.tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        original_max_position_embeddings=512,
        initializer_range=0.05,
        bos_token_id=processor.tokenizer.bos_token_id,
        eos_token_id=processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
        image_token_id=processor.image_token_id,
        vision_config={
            **tower,
            "num_hidden_layers": layers,
            "image_size": crop_size,
            "patch_size": patch_size,
        },
    )
    torch.manual_seed(0)
    return Phi3VForCausalLM(config)


def write_tiny_checkpoint(folder, **sizes):
    """Write a random model and its processor, in the published format."""
    processor = make_processor(**sizes)
    make_model(processor, **sizes).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """Folder of a random two-layer Phi-3-Vision: 28 px crops, one token each."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), crop_size=28, patch_size=14)


def write_llava_checkpoint(folder):
    """Write a random two-layer Llava: another family, another template and end of answers."""
    import torch
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    processor = LlavaProcessor(
        CLIPImageProcessorPil(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, do_center_crop=True
        ),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=LLAVA_TEMPLATE,
    )
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    sizes["num_attention_heads"] = 2
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(
                image_size=28, patch_size=14, projection_dim=32, **sizes
            ),
            text_config=LlamaConfig(
                vocab_size=len(tokenizer),
                max_position_embeddings=512,
                num_key_value_heads=2,
                **sizes,
            ),
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            vision_feature_layer=-2,
        )
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def llava_checkpoint(tmp_path_factory):
    """Folder of a random checkpoint of another family than Phi-3-Vision."""
    return write_llava_checkpoint(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="session")
def idefics3_checkpoint(tmp_path_factory):
    """Folder of a random Idefics3."""
    return write_idefics3(tmp_path_factory.mktemp("idefics3"))


@pytest.fixture(scope="session")
def gemma3_checkpoint(tmp_path_factory):
    """Folder of a random Gemma 3."""
    return write_gemma3(tmp_path_factory.mktemp("gemma3"))


@pytest.fixture(scope="session")
def llava_next_checkpoint(tmp_path_factory):
    """Folder of a random LLaVA-NeXT, with a tokenizer like Llama's."""
    return write_llava_next(tmp_path_factory.mktemp("llava_next"), make_tokenizer(WORDS + DIGITS))
