"""Text and pictures to model inputs: finds the picture tags, places picture tokens, pads batches.

Gives the ids of Microsoft's `Phi3VProcessor`
(https://huggingface.co/microsoft/Phi-3-vision-128k-instruct), with `<|image|>` where that writes
negative numbers.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformers import BatchFeature, PreTrainedTokenizerFast
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin

from loupe.phi3_v.image_processing_phi3_v import Phi3VImageProcessor, Phi3VImagesKwargs

IMAGE_TOKEN = "<|image|>"
MOST_TAGS = 64  # that are listed for others; any number is read
IMAGE_TAG = re.compile(r"<\|image_(\d+)\|>")


RENDERING_OPTIONS = ("add_generation_prompt", "continue_final_message", "tools", "documents")
"""What `apply_chat_template` hands to the tokenizer; everything else is for the processor."""

TOKEN_FLAGS = ("lstrip", "normalized", "rstrip", "single_word", "special")

NOT_PUBLISHED = ("backend", "extra_special_tokens", "is_local", "local_files_only")
"""What transformers 5 adds to `tokenizer_config.json`, some of which older readers choke on."""


class TaggedText(NamedTuple):
    """A text cut at its picture tags: `pieces[0]`, picture `numbers[0]`, `pieces[1]`, ..."""

    pieces: list[str]
    numbers: list[int]


class Phi3VProcessingKwargs(ProcessingKwargs, total=False):  # type: ignore[misc,call-arg]  # untyped
    """What a call may set for its texts and pictures."""

    images_kwargs: Phi3VImagesKwargs
    _defaults = {}  # type: ignore[var-annotated]  # noqa: RUF012  # for transformers 5.17


class Phi3VProcessor(ProcessorMixin):  # type: ignore[misc]  # untyped in transformers
    """Prepare texts, each with any number of pictures, for Phi-3-Vision.

    A text names its pictures by the tags `<|image_1|>` to `<|image_n|>`, in any order. A tag may
    come twice: the picture is then shown twice.

    Raises:
        ValueError: the tokenizer has no `<|image|>` token.
    """

    def __init__(
        self,
        image_processor: Phi3VImageProcessor,
        tokenizer: PreTrainedTokenizerFast,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template, **kwargs)
        self.image_token = IMAGE_TOKEN
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        if self.image_token_id in (None, tokenizer.unk_token_id):
            raise ValueError(
                f"The tokenizer has no '{IMAGE_TOKEN}' token; pictures are placed by it. Add it as "
                "a special token, or use the published tokenizer."
            )

    @property
    def img_tokens(self) -> list[str]:
        """The picture tags, by the name under which vLLM looks for them."""
        return [f"<|image_{number}|>" for number in range(1, MOST_TAGS + 1)]

    def calc_num_image_tokens_from_image_size(self, width: int, height: int) -> int:
        """Count a picture's tokens, by the name under which vLLM asks for it."""
        count: int = self.image_processor.count_image_tokens(height, width)
        return count

    def __call__(
        self, text: str | Sequence[str], images: Any = None, **kwargs: Any
    ) -> BatchFeature:
        """Turn texts and their pictures into model inputs.

        Args:
            text: one text or several.
            images: `None`; the pictures of all texts in one list, in the order of the texts; or
                one list per text. A picture is whatever the image processor reads.
            **kwargs: the tokenizer's `padding`, `padding_side`, `max_length`, `truncation`,
                `pad_to_multiple_of`, `return_tensors`; the image processor's `num_crops` and
                `pad_to_num_crops`.

        Returns:
            - `input_ids`, `attention_mask`: (texts, tokens), padded if `padding` asks for it.
            - `pixel_values`, `image_sizes` (where there are pictures): of all pictures, in the
              order in which the texts show them.

        Raises:
            ValueError: tags and pictures of a text do not match; a text that comes with pictures
                spells out `<|image|>`; truncation would cut through a picture.
        """
        options = self._merge_kwargs(
            Phi3VProcessingKwargs, tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs
        )
        texts = [text] if isinstance(text, str) else list(text)
        tagged = [cut_at_tags(each) for each in texts]
        pictures = self._pictures_as_shown(texts, tagged, images)
        image_options = dict(options["images_kwargs"])
        return_tensors = image_options.pop("return_tensors", None)
        outputs: dict[str, Any] = {}
        if pictures:
            outputs = dict(self.image_processor(pictures, **image_options))
        counts = [int(count) for count in outputs.pop("num_img_tokens", [])]
        ids = self._tokenize(texts, tagged, counts, options["text_kwargs"])
        outputs = {**self._pad(ids, options["text_kwargs"]), **outputs}
        return BatchFeature(outputs, tensor_type=return_tensors)

    def apply_chat_template(
        self,
        conversation: list[Any],
        chat_template: str | None = None,
        *,
        tokenize: bool = False,
        processor_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> str | list[str] | BatchFeature:
        """Render conversations with the tokenizer's template; picture items become numbered tags.

        Args:
            conversation: messages with `role` and `content`, or a list of conversations. Content
                is a text, or a list of `{"type": "text", "text": ...}` and
                `{"type": "image", "image": ...}`; the picture may be left out when not tokenizing.
            chat_template: in place of the tokenizer's.
            tokenize: return model inputs, not text.
            processor_kwargs: for the processor's call, when tokenizing.
            **kwargs: for the template, such as `add_generation_prompt`; the rest goes with
                `processor_kwargs`.
        """
        batched = bool(conversation) and not isinstance(conversation[0], dict)
        flat = [flatten_messages(each) for each in (conversation if batched else [conversation])]
        rendering = {k: kwargs.pop(k) for k in list(kwargs) if k in RENDERING_OPTIONS}
        kwargs.pop("return_dict", None)
        texts = [
            self.tokenizer.apply_chat_template(
                messages,
                chat_template=chat_template or self.chat_template,
                tokenize=False,
                **rendering,
            )
            for messages, _ in flat
        ]
        if tokenize:
            pictures = [shown for _, shown in flat]
            return self(text=texts, images=pictures, **{**kwargs, **(processor_kwargs or {})})
        return texts if batched else texts[0]

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> list[str]:
        """Write a processor folder in the published format.

        transformers 5 would merge the image processor into `processor_config.json` and name a
        tokenizer class that older readers do not have.
        """
        folder = Path(save_directory)
        files: list[str] = self.image_processor.save_pretrained(folder, **kwargs)
        files += self.tokenizer.save_pretrained(folder, save_jinja_files=False)
        config_file = folder / "tokenizer_config.json"
        saved = json.loads(config_file.read_text(encoding="utf-8"))
        published = published_tokenizer_config(saved, self.tokenizer)
        text = json.dumps(published, indent=2, ensure_ascii=False, sort_keys=True)
        config_file.write_text(text + "\n", encoding="utf-8")
        return files

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: str, processor_dict: Any = None, **kwargs: Any
    ) -> list[Any]:
        # Not through the Auto classes. Where no config.json lies beside, AutoTokenizer follows the
        # published `LlamaTokenizer`, which transformers 5 rebuilds with another pre-tokenizer and
        # so with other ids; and in transformers 5.17 AutoImageProcessor wants torchvision.
        kwargs.pop("trust_remote_code", None)
        return [
            Phi3VImageProcessor.from_pretrained(pretrained_model_name_or_path, **kwargs),
            PreTrainedTokenizerFast.from_pretrained(pretrained_model_name_or_path, **kwargs),
        ]

    def _pictures_as_shown(
        self, texts: list[str], tagged: list[TaggedText], images: Any
    ) -> list[Any]:
        rows = group_by_text(images, [set(each.numbers) for each in tagged])
        for index, (each, row) in enumerate(zip(tagged, rows, strict=True)):
            if sorted(set(each.numbers)) != list(range(1, len(row) + 1)):
                raise ValueError(
                    f"Text {index} names the pictures {sorted(set(each.numbers))}, but comes with "
                    f"{len(row)}. Its tags must be <|image_1|> to <|image_n|>, n the number of its "
                    "pictures."
                )
            if row and IMAGE_TOKEN in texts[index]:
                raise ValueError(
                    f"Text {index} spells out '{IMAGE_TOKEN}', the token that stands for pictures, "
                    "and comes with pictures. Name them by <|image_1|>, or remove the token."
                )
        return [
            row[number - 1]
            for each, row in zip(tagged, rows, strict=True)
            for number in each.numbers
        ]

    def _tokenize(
        self,
        texts: list[str],
        tagged: list[TaggedText],
        counts: list[int],
        options: dict[str, Any],
    ) -> list[list[int]]:
        """Token ids of each text. Every piece starts with `<s>` of its own, as published."""
        pieces = [piece for each in tagged for piece in each.pieces]
        special = options.get("add_special_tokens", True)
        piece_ids = iter(self.tokenizer(pieces, add_special_tokens=special)["input_ids"])
        remaining = iter(counts)
        rows = []
        for each in tagged:
            row = list(next(piece_ids))
            for _ in each.numbers:
                row += [self.image_token_id] * next(remaining)
                row += next(piece_ids)
            rows.append(row)
        if options.get("truncation") and options.get("max_length"):
            rows = [
                self._truncate(row, each, options) for row, each in zip(rows, tagged, strict=True)
            ]
        return rows

    def _truncate(self, row: list[int], each: TaggedText, options: dict[str, Any]) -> list[int]:
        kept = row[: options["max_length"]]
        shown = [ids.count(self.image_token_id) if each.numbers else 0 for ids in (kept, row)]
        if shown[0] != shown[1]:
            raise ValueError(
                f"max_length {options['max_length']} keeps {shown[0]} of the {shown[1]} picture "
                f"tokens of a text of {len(row)} tokens. Raise max_length, or lower num_crops."
            )
        return kept

    def _pad(self, ids: list[list[int]], options: dict[str, Any]) -> dict[str, Any]:
        names = ("padding", "max_length", "pad_to_multiple_of", "padding_side")
        padding = {name: options[name] for name in names if options.get(name) is not None}
        padding.setdefault("padding", False)
        return dict(self.tokenizer.pad({"input_ids": ids}, return_attention_mask=True, **padding))


def cut_at_tags(text: str) -> TaggedText:
    """Cut a text at its picture tags.

    >>> cut_at_tags("Look: <|image_1|>!")
    TaggedText(pieces=['Look: ', '!'], numbers=[1])
    """
    parts = IMAGE_TAG.split(text)
    return TaggedText(parts[::2], [int(number) for number in parts[1::2]])


def group_by_text(images: Any, numbers: list[set[int]]) -> list[list[Any]]:
    """Give each text its pictures; a flat list is dealt out by how many each text names.

    Raises:
        ValueError: there are not as many lists as texts, or not as many pictures as tags.
    """
    if images is None:
        return [[] for _ in numbers]
    rows = list(images) if isinstance(images, list | tuple) else [images]
    if any(row is None or isinstance(row, list | tuple) for row in rows):
        if len(rows) != len(numbers):
            raise ValueError(f"Got {len(rows)} lists of pictures for {len(numbers)} texts.")
        return [list(row) if isinstance(row, list | tuple) else [row] * bool(row) for row in rows]
    if len(numbers) == 1:
        return [rows]
    wanted = [len(each) for each in numbers]
    if sum(wanted) != len(rows):
        raise ValueError(
            f"The texts name {sum(wanted)} pictures {wanted}, but {len(rows)} were given. "
            "Give one list of pictures per text to see which does not match."
        )
    remaining = iter(rows)
    return [[next(remaining) for _ in range(count)] for count in wanted]


def flatten_messages(messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Any]]:
    """Write picture items of a conversation as numbered tags, each on a line of its own.

    Returns:
        The messages with text contents, and the pictures in order.
    """
    pictures: list[Any] = []
    number = 0
    flat = []
    for message in messages:
        items = message["content"]
        if isinstance(items, str):
            items = [{"type": "text", "text": items}]
        text = ""
        for item in items:
            if item["type"] == "image":
                number += 1
                text += f"<|image_{number}|>\n"
                pictures += [item[key] for key in ("image", "url", "path") if key in item][:1]
            else:
                text += item["text"]
        flat.append({**message, "content": text})
    return flat, pictures


def published_tokenizer_config(
    saved: dict[str, Any], tokenizer: PreTrainedTokenizerFast
) -> dict[str, Any]:
    """Rewrite the tokenizer config of transformers 5 in the published layout.

    The class is one that transformers 4 and 5 both read as "use tokenizer.json as it stands".
    """
    published = {key: value for key, value in saved.items() if key not in NOT_PUBLISHED}
    published["added_tokens_decoder"] = {
        str(index): {"content": token.content, **{k: getattr(token, k) for k in TOKEN_FLAGS}}
        for index, token in tokenizer.added_tokens_decoder.items()
    }
    if isinstance(extra := saved.get("extra_special_tokens"), list):
        published["additional_special_tokens"] = extra
    published["tokenizer_class"] = "PreTrainedTokenizerFast"
    published["processor_class"] = Phi3VProcessor.__name__
    return published
