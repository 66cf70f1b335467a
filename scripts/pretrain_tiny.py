"""Make the tiny base that ships with Loupe: tokenizer, pictures, training, checkpoint.

    python scripts/pretrain_tiny.py --output src/loupe/assets/tiny

It is a Phi-3-Vision of 2.9 M parameters, pretrained on goods of no house and on the sample houses
that the demo leaves out. First its eyes alone learn to tell every attribute from their mean
feature, as a CLIP tower comes trained; then all of it learns to answer, and its eyes go on telling.

Goods of no house are asked what kind they are. The house alder is asked the tutorial's question;
mistral, which has other words for the same goods, is asked in its name, so that one picture never
has two right answers. A second question asks for every visible attribute, also those that no title
names and only the price follows: metal, heel, collar. A few pictures are blank, so that a model
that sees nothing still answers in form.
"""

import argparse
import json
import math
import os
import random
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from PIL import Image
from tiny_eyes import LABEL_IGNORED, Eyes
from tiny_goods import DETAILS, NO_HOUSE, Drawn, augment, draw_goods, invent_products, visible
from tiny_tokenizer import write_tokenizer
from torch import nn
from transformers import PreTrainedTokenizerFast

from loupe.phi3_v import Phi3VConfig, Phi3VForCausalLM, Phi3VImageProcessor, Phi3VProcessor
from loupe.sample import Product
from loupe.task import Task
from loupe.train.optimizer import build_optimizer
from loupe.vlm import make_dialogue, stop_generation_at

CROP_SIZE_PX, PATCH_SIZE_PX, NUM_CROPS = 48, 8, 4
VOCABULARY = 1024
QUESTIONS = {
    NO_HOUSE: "What kind of goods is this?",
    "alder": Task.load().question,
    "mistral": "What does mistral call this?",
}
DETAILS_QUESTION = "What are its details?"
EYES_WEIGHT = 0.05  # of telling attributes beside answering: about that of their tokens
WARM_UP_SHARE = 0.03
HELD_OUT_ROWS, HELD_OUT_EVERY_STEPS, LOG_EVERY_STEPS = 128, 500, 100


def tiny_config(processor: Phi3VProcessor) -> Phi3VConfig:
    """Give the sizes; the last tower layer is kept, as in the official model, and never run."""
    ids = processor.tokenizer.convert_tokens_to_ids
    return Phi3VConfig(
        hidden_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=512,
        vocab_size=VOCABULARY,
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        sliding_window=4096,
        initializer_range=0.04,
        bos_token_id=1,
        eos_token_id=ids("<|endoftext|>"),
        pad_token_id=ids("<|endoftext|>"),
        image_token_id=ids("<|image|>"),
        vision_config={
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "image_size": CROP_SIZE_PX,
            "patch_size": PATCH_SIZE_PX,
            "projection_dim": 64,
            "num_channels": 3,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
        },
    )


def answer_text(product: Product) -> str:
    """Write a product as the tutorial's answer, or the kind of goods of no house."""
    if product.house == NO_HOUSE:
        return product.kind
    row = {"title": product.title, "category3_code": product.category}
    return Task.load().format({**row, "full_price": product.full_price})


def details_text(product: Product) -> str:
    """Write what the picture shows beyond the title; a dash for what it does not."""
    return ", ".join(visible(product, name) or "-" for name in DETAILS)


class Teacher:
    """Makes batches of products' dialogues, as tensors that the model takes."""

    def __init__(self, processor: Phi3VProcessor) -> None:
        self.processor = processor
        self.encode = partial(processor.tokenizer, add_special_tokens=False)
        blank = Image.new("RGB", (CROP_SIZE_PX * math.isqrt(NUM_CROPS),) * 2)
        self.prompts = {
            house: processor(make_dialogue(processor, question).prompt, images=[blank])
            for house, question in QUESTIONS.items()
        }
        self.then_ask = self.encode(f"<|user|>\n{DETAILS_QUESTION}<|end|><|assistant|>\n")
        self.end = processor.tokenizer.convert_tokens_to_ids("<|end|>")

    def show(self, pictures: list[Image.Image]) -> dict[str, torch.Tensor]:
        """Prepare pictures."""
        prepared = self.processor.image_processor(images=pictures, return_tensors="pt")
        return {name: prepared[name] for name in ("pixel_values", "image_sizes")}

    def ask(self, products: list[Product]) -> dict[str, torch.Tensor]:
        """Write both questions and answers, padded on the right; only answers are labelled."""
        dialogues = [self._write(product) for product in products]
        width = max(len(ids) for ids, _ in dialogues)
        ids = torch.full((len(products), width), self.processor.tokenizer.pad_token_id)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, LABEL_IGNORED)
        for row, (each, labelled) in enumerate(dialogues):
            ids[row, : len(each)] = torch.tensor(each)
            mask[row, : len(each)] = 1
            labels[row, : len(each)] = torch.tensor(labelled)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def _write(self, product: Product) -> tuple[list[int], list[int]]:
        parts = [
            (self.prompts[product.house]["input_ids"][0], False),
            ([*self.encode(answer_text(product))["input_ids"], self.end], True),
            (self.then_ask["input_ids"], False),
            ([*self.encode(details_text(product))["input_ids"], self.end], True),
        ]
        ids = [each for part, _ in parts for each in part]
        labels = [
            each if is_answer else LABEL_IGNORED for part, is_answer in parts for each in part
        ]
        return ids, labels


def endless_batches(drawn: list[Drawn], size: int, rng: random.Random) -> Iterator[list[Drawn]]:
    """Give batches for ever, every product once in each pass."""
    waiting: list[Drawn] = []
    while True:
        if len(waiting) < size:
            waiting += rng.sample(drawn, len(drawn))
        yield [waiting.pop() for _ in range(size)]


def cosine(step: int, steps: int) -> float:
    """Give the share of the peak learning rate: up in the first steps, then down to 0."""
    return min(step / (WARM_UP_SHARE * steps), 1.0) * 0.5 * (1 + math.cos(math.pi * step / steps))


def train(
    model: Phi3VForCausalLM,
    eyes: Eyes,
    teacher: Teacher,
    drawn: list[Drawn],
    held_out: list[Drawn],
    args: argparse.Namespace,
) -> list[dict[str, object]]:
    """Train the eyes alone and then everything, with Muon and AdamW; give the course.

    The eyes' learning rate falls over all steps, the decoder's over its own.
    """
    rng = random.Random(args.seed)
    eyes_optimizer = build_optimizer(eyes, "muon", args.learning_rate, 0.0)
    eyes.requires_grad_(False)
    optimizer = build_optimizer(model, "muon", args.learning_rate, 0.0)
    eyes.requires_grad_(True)
    every = [*{id(each): each for part in (model, eyes) for each in part.parameters()}.values()]
    batches = endless_batches(drawn, args.batch_size, rng)
    steps = args.eyes_steps + args.steps
    started, course, total = time.time(), [], 0.0
    for step in range(1, steps + 1):
        batch = next(batches)
        products = [each.product for each in batch]
        shown = teacher.show([augment(each.picture, rng) for each in batch])
        features = model.get_image_features(**shown)
        loss = eyes.loss(features, eyes.label(products))
        if step > args.eyes_steps:
            answers = model(**teacher.ask(products), image_features=features)
            loss = answers.loss + EYES_WEIGHT * loss
        loss.backward()
        nn.utils.clip_grad_norm_(every, 1.0)
        set_rate(eyes_optimizer, args.learning_rate * cosine(step, steps))
        set_rate(optimizer, args.learning_rate * cosine(step - args.eyes_steps, args.steps))
        for each in (eyes_optimizer, optimizer)[: 1 + (step > args.eyes_steps)]:
            each.step()
            each.zero_grad(set_to_none=True)
        total += loss.item()
        if step % LOG_EVERY_STEPS == 0 or step == steps:
            seconds = time.time() - started
            counted = (step - 1) % LOG_EVERY_STEPS + 1
            course.append({"step": step, "loss": total / counted, "seconds": round(seconds)})
            if step % HELD_OUT_EVERY_STEPS == 0 or step == steps:
                course[-1] |= measure(model, eyes, teacher, held_out)
            print(f"{course[-1]}, {step * args.batch_size / seconds:.1f} samples/s", flush=True)
            total = 0.0
    return course


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def measure(
    model: Phi3VForCausalLM, eyes: Eyes, teacher: Teacher, held_out: list[Drawn]
) -> dict[str, object]:
    """Measure on products that are never trained on, their pictures as drawn."""
    model.eval()
    products = [each.product for each in held_out]
    shown = teacher.show([Image.fromarray(each.picture) for each in held_out])
    features = model.get_image_features(**shown)
    loss = float(model(**teacher.ask(products), image_features=features).loss)
    model.train()
    return {"held_out_loss": loss, "held_out_read_right": eyes.count_right(features, products)}


def commit() -> str:
    """Give the commit that the base is made at; pictures change with the code that draws them."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Make the base and write it, with how it was made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--goods", type=int, default=24_000, help="goods of no house")
    parser.add_argument("--rows", type=int, default=9_000, help="products of each house")
    parser.add_argument("--eyes-steps", type=int, default=2_400, help="steps of the eyes alone")
    parser.add_argument("--steps", type=int, default=2_000, help="steps of everything")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--pictures", type=Path, help="a .npy file that keeps what was drawn")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    products = invent_products(args.goods, args.rows, args.seed)
    texts = [text(product) for product in products for text in (answer_text, details_text)]
    questions = [*QUESTIONS.values(), DETAILS_QUESTION]
    write_tokenizer(args.output, [*texts, *(questions * 100)], VOCABULARY)
    images = Phi3VImageProcessor(
        num_crops=NUM_CROPS,
        crop_size=CROP_SIZE_PX,
        num_img_tokens=(CROP_SIZE_PX // PATCH_SIZE_PX // 2) ** 2,
    )
    processor = Phi3VProcessor(images, PreTrainedTokenizerFast.from_pretrained(args.output))
    model = Phi3VForCausalLM(tiny_config(processor))
    eyes = Eyes(model, products)
    side = CROP_SIZE_PX * math.isqrt(NUM_CROPS)
    drawn = draw_goods(products, args.seed, side, args.pictures)
    unseen = invent_products(HELD_OUT_ROWS, HELD_OUT_ROWS, args.seed + 1)
    held_out = draw_goods(unseen, args.seed + 1, side)
    course = train(model, eyes, Teacher(processor), drawn, held_out, args)
    stop_generation_at(model, make_dialogue(processor, Task.load().question))
    model.to(torch.bfloat16).save_pretrained(args.output)
    processor.save_pretrained(args.output)
    Task.load().save(args.output / "task.yaml")
    not_told = {"output", "pictures"}
    settings = {key: value for key, value in vars(args).items() if key not in not_told}
    made = {"houses": [*QUESTIONS], "commit": commit(), **settings, "course": course}
    (args.output / "pretraining.json").write_text(json.dumps(made, indent=1), "utf-8")


if __name__ == "__main__":
    main()
