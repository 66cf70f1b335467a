"""Random two-layer checkpoints of other families than Phi-3-Vision, in their published layout."""

import json

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
WORDS = "Product: Category: Full Price: What is shown in this image? User Assistant"
IDEFICS3_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
GEMMA3_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + message['role'].replace('assistant', 'model') + '\n' }}"
    "{% for part in message['content'] %}"
    "{{ '<start_of_image>' if part['type'] == 'image' else part['text'] | trim }}{% endfor %}"
    "{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
LLAVA_NEXT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}"
    "{{ '<image>\n' if part['type'] == 'image' else part['text'] + ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def make_byte_tokenizer(special, **settings):
    """A small byte-level tokenizer, each digit a token of its own, a space apart from it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + len(special) + 40,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=special,
        show_progress=False,
    )
    tokenizer.train_from_iterator([WORDS] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings)


def write_idefics3(folder):
    """Tiles with names, one matrix for embeddings and head, answers that end with an utterance."""
    import torch
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
        Idefics3Processor,
    )

    signs = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = make_byte_tokenizer(
        ["<|im_start|>", "<|endoftext|>", *signs, *tiles],
        bos_token="<|im_start|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    )
    image_processor = Idefics3ImageProcessorPil(
        size={"longest_edge": 56}, max_image_size={"longest_edge": 28}
    )
    processor = Idefics3Processor(image_processor, tokenizer, image_seq_len=1)
    torch.manual_seed(0)
    model = Idefics3ForConditionalGeneration(
        Idefics3Config(
            vision_config={"image_size": 28, "patch_size": 14, **SIZES},
            text_config=_decoder(tokenizer, model_type="llama", num_key_value_heads=2),
            image_token_id=processor.image_token_id,
            scale_factor=2,
            tie_word_embeddings=True,
        )
    )
    # As published, with the settings in three files; save_pretrained writes them into one.
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    settings = {"image_seq_len": 1, "processor_class": "Idefics3Processor"}
    (folder / "processor_config.json").write_text(json.dumps(settings), "utf-8")
    (folder / "chat_template.json").write_text(
        json.dumps({"chat_template": IDEFICS3_TEMPLATE}), "utf-8"
    )
    return folder


def write_gemma3(folder):
    """Kinds of tokens, the begin written by tokenizer and template both, turns that end."""
    import torch
    from tokenizers import processors
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3ImageProcessorPil,
        Gemma3Processor,
    )

    names = ["boi_token", "eoi_token", "image_token"]
    signs = ["<start_of_image>", "<end_of_image>", "<image_soft_token>"]
    tokenizer = make_byte_tokenizer(
        ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", *signs],
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        extra_special_tokens=dict(zip(names, signs, strict=True)),
    )
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)]
    )
    processor = Gemma3Processor(
        Gemma3ImageProcessorPil(size={"height": 56, "width": 56}),
        tokenizer,
        chat_template=GEMMA3_TEMPLATE,
        image_seq_length=4,
    )
    torch.manual_seed(0)
    begin, end, place = tokenizer.convert_tokens_to_ids(signs)
    model = Gemma3ForConditionalGeneration(
        Gemma3Config(
            vision_config={
                "image_size": 56, "patch_size": 14, "vision_use_head": False, **SIZES,
            },
            text_config=_decoder(tokenizer, num_key_value_heads=1, head_dim=16),
            mm_tokens_per_image=4,
            image_token_id=place,
            boi_token_index=begin,
            eoi_token_index=end,
        )
    )  # fmt: skip
    # transformers starts it with zeros, by which no picture would be seen
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.1)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_llava_next(folder, tokenizer):
    """Grids of tiles, pictures of unlike numbers of tokens, answers that end with the text."""
    import torch
    from transformers import (
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessorPil,
        LlavaNextProcessor,
    )

    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.chat_template = None
    grids = [[28, 56], [56, 28], [56, 56]]
    processor = LlavaNextProcessor(
        LlavaNextImageProcessorPil(
            size={"shortest_edge": 28},
            crop_size={"height": 28, "width": 28},
            image_grid_pinpoints=grids,
        ),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_NEXT_TEMPLATE,
    )
    torch.manual_seed(0)
    tower = {"model_type": "clip_vision_model", "projection_dim": 32, **SIZES}
    model = LlavaNextForConditionalGeneration(
        LlavaNextConfig(
            vision_config={**tower, "image_size": 28, "patch_size": 14},
            text_config=_decoder(tokenizer, model_type="llama", num_key_value_heads=2),
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            image_grid_pinpoints=grids,
        )
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _decoder(tokenizer, **settings):
    return {
        **SIZES,
        **settings,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
