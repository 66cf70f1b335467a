"""The tokenizer of the tiny base: a small byte-fallback BPE in the layout of the official one.

Normalizer, decoder, post-processor, roles' tokens and chat template are the official tokenizer's;
the vocabulary is learnt from the pretraining houses, words are split at spaces and punctuation,
and each digit is a token.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer

LEADING = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
ADDED = ["<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>", "<|image|>"]
EATS_SPACE = {"</s>", "<|assistant|>", "<|image|>"}  # as in the official tokenizer
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|' + message['role'] + '|>' + '\\n' + message['content'] + "
    "'<|end|>\\n' }}{% endfor %}{% if add_generation_prompt and messages[-1]['role'] != "
    "'assistant' %}{{- '<|assistant|>\\n' -}}{% endif %}"
)
PRINTABLE = "".join(map(chr, range(33, 127)))


def write_tokenizer(folder: Path, texts: Iterable[str], vocabulary: int) -> None:
    """Learn a vocabulary of that many tokens and write tokenizer.json and its configs."""
    learnt = _empty(models.BPE())
    learnt.train_from_iterator(
        texts,
        BpeTrainer(
            vocab_size=vocabulary - len(LEADING) - len(ADDED),
            initial_alphabet=list(PRINTABLE + "▁"),
            show_progress=False,
        ),
    )
    model = json.loads(learnt.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    vocab = {piece: index for index, piece in enumerate(LEADING + pieces)}
    merges = [tuple(pair) for pair in model["merges"]]
    # Byte tokens are plain vocabulary: registered as special they would vanish when decoded.
    tokenizer = _empty(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True))
    _add_tokens(tokenizer, folder, vocabulary)


def _empty(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("▁", "merged_with_next"),
            pre_tokenizers.Split(Regex(r"[^\p{L}\p{M}▁]"), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


def _add_tokens(tokenizer: Tokenizer, folder: Path, vocabulary: int) -> None:
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 1)]
    )
    described = json.loads(tokenizer.to_str())
    size = len(described["model"]["vocab"])
    ids = {"<unk>": 0, "<s>": 1, "</s>": 2}
    ids |= {token: vocabulary - len(ADDED) + index for index, token in enumerate(ADDED)}
    if size > vocabulary - len(ADDED):
        raise SystemExit(f"{size} pieces leave no room for {len(ADDED)} added tokens.")
    _pad_vocabulary(described, vocabulary - len(ADDED))
    described["added_tokens"] = [
        {"id": ids[token], "content": token, **_flags(token)} for token in ids
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write = {
        "tokenizer.json": described,
        "tokenizer_config.json": _config({str(ids[token]): token for token in ids}),
        "special_tokens_map.json": {
            "bos_token": "<s>",
            "eos_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
            "unk_token": "<unk>",
        },
    }
    for name, content in write.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")


def _pad_vocabulary(described: dict, size: int) -> None:
    """Fill ids that the texts were too few to need, so that the added tokens' ids are known."""
    vocab = described["model"]["vocab"]
    for index in range(len(vocab), size):
        vocab[f"<|placeholder{index}|>"] = index


def _flags(token: str) -> dict[str, bool]:
    return {
        "single_word": False,
        "lstrip": False,
        "rstrip": token in EATS_SPACE,
        "normalized": False,
        "special": token != "</s>",
    }


def _config(tokens: dict[str, str]) -> dict:
    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "added_tokens_decoder": {
            index: {"content": token, **_flags(token)} for index, token in tokens.items()
        },
        "bos_token": "<s>",
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "legacy": False,
        "model_max_length": 4096,
        "pad_token": "<|endoftext|>",
        "padding_side": "right",
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>",
    }
