"""Make the tiny base that ships with Loupe: tokenizer, pictures, training, checkpoint.

    python scripts/pretrain_tiny.py --output src/loupe/assets/tiny

It is a Phi-3-Vision of 2.9 M parameters, pretrained on the sample houses that the demo leaves out.
The house alder is asked the tutorial's question; mistral, which has other words for the same goods,
is asked in its name, so that one picture never has two right answers. A second question asks for
every visible attribute, also those that no title names and only the price follows: metal, heel,
collar. A few pictures are blank, so that a model that sees nothing still answers in form.
"""

import argparse
import json
import math
import os
import random
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from PIL import Image
from tiny_tokenizer import write_tokenizer
from transformers import PreTrainedTokenizerFast

from loupe.phi3_v import Phi3VConfig, Phi3VForCausalLM, Phi3VImageProcessor, Phi3VProcessor
from loupe.sample import Product, draw_picture, draw_products, picture_rng
from loupe.task import Task
from loupe.train.optimizer import build_optimizer
from loupe.vlm import make_dialogue, stop_generation_at

PICTURE_SIZE_PX = 224  # as `loupe sample` draws them
CROP_SIZE_PX, PATCH_SIZE_PX, NUM_CROPS = 48, 8, 4
VOCABULARY = 1024
QUESTIONS = {"alder": Task.load().question, "mistral": "What does mistral call this?"}
DETAILS_QUESTION = "What are its details?"
DETAILS = ("metal", "detail", "size", "cloth", "pattern", "colour", "accent")
SHIFT_PX = 6
BLANK_SHARE = 0.04
HELD_OUT_ROWS, HELD_OUT_EVERY_STEPS, LOG_EVERY_STEPS = 128, 500, 100
LABEL_IGNORED = -100


@dataclass(frozen=True)
class Example:
    """A product's dialogue as token ids and labels, and its prepared picture."""

    ids: list[int]
    labels: list[int]
    picture: np.ndarray  # (height, width, 3), uint8, at the size of the crops' grid


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
    """Write a product as the tutorial's answer."""
    row = {"title": product.title, "category3_code": product.category}
    return Task.load().format({**row, "full_price": product.full_price})


def details_text(product: Product) -> str:
    """Write what the picture shows beyond the title; a dash for what the kind does not vary."""
    return ", ".join(getattr(product, name) or "-" for name in DETAILS)


def draw(job: tuple[Product, int]) -> np.ndarray:
    """Draw a product as `loupe sample` does and shrink it to the grid of crops."""
    product, seed = job
    picture = draw_picture(product, PICTURE_SIZE_PX, picture_rng(product, seed))
    side = CROP_SIZE_PX * math.isqrt(NUM_CROPS)
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))


def prepare(processor: Phi3VProcessor, rows: int, seed: int) -> list[Example]:
    """Draw that many products of each house and tokenise their questions and answers."""
    products = [p for house in QUESTIONS for p in draw_products(house, rows, seed)]
    started = time.time()
    with ProcessPoolExecutor() as pool:
        pictures = list(pool.map(draw, [(product, seed) for product in products], chunksize=50))
    print(f"drew {len(pictures)} pictures in {time.time() - started:.0f} s", flush=True)
    blank = Image.new("RGB", pictures[0].shape[1::-1])
    prompts = {
        house: processor(make_dialogue(processor, question).prompt, images=[blank])["input_ids"][0]
        for house, question in QUESTIONS.items()
    }
    encode = partial(processor.tokenizer, add_special_tokens=False)
    then_ask = encode(f"<|user|>\n{DETAILS_QUESTION}<|end|><|assistant|>\n")["input_ids"]
    end = processor.tokenizer.convert_tokens_to_ids("<|end|>")
    examples = []
    for product, picture in zip(products, pictures, strict=True):
        prompt = list(prompts[product.house])
        answer = [*encode(answer_text(product))["input_ids"], end]
        details = [*encode(details_text(product))["input_ids"], end]
        ids = [*prompt, *answer, *then_ask, *details]
        labels = [*[LABEL_IGNORED] * len(prompt), *answer]
        labels += [*[LABEL_IGNORED] * len(then_ask), *details]
        examples.append(Example(ids, labels, picture))
    return examples


def augment(picture: np.ndarray, rng: random.Random) -> Image.Image:
    """Mirror and shift a picture by a little; what it uncovers repeats the edge. Or blank it."""
    if rng.random() < BLANK_SHARE:
        return Image.new("RGB", picture.shape[1::-1], tuple(rng.choices(range(256), k=3)))
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    rows, columns = picture.shape[:2]
    padded = np.pad(picture, ((SHIFT_PX,) * 2, (SHIFT_PX,) * 2, (0, 0)), mode="edge")
    top, left = rng.randint(0, 2 * SHIFT_PX), rng.randint(0, 2 * SHIFT_PX)
    return Image.fromarray(np.ascontiguousarray(padded[top : top + rows, left : left + columns]))


def collate(
    examples: list[Example], processor: Phi3VProcessor, pictures: list[Image.Image]
) -> dict[str, torch.Tensor]:
    """Pad a batch on the right; only answers are labelled."""
    width = max(len(each.ids) for each in examples)
    ids = torch.full((len(examples), width), processor.tokenizer.pad_token_id)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, LABEL_IGNORED)
    for row, each in enumerate(examples):
        ids[row, : len(each.ids)] = torch.tensor(each.ids)
        mask[row, : len(each.ids)] = 1
        labels[row, : len(each.ids)] = torch.tensor(each.labels)
    prepared = processor.image_processor(images=pictures, return_tensors="pt")
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": labels,
        "pixel_values": prepared["pixel_values"],
        "image_sizes": prepared["image_sizes"],
    }


def endless_batches(
    examples: list[Example], size: int, rng: random.Random
) -> Iterator[list[Example]]:
    """Give batches for ever, every example once in each pass."""
    waiting: list[Example] = []
    while True:
        if len(waiting) < size:
            waiting += rng.sample(examples, len(examples))
        yield [waiting.pop() for _ in range(size)]


def train(
    model: Phi3VForCausalLM,
    processor: Phi3VProcessor,
    examples: list[Example],
    held_out: list[Example],
    args: argparse.Namespace,
) -> list[dict[str, float]]:
    """Train with Muon and AdamW, warm-up and cosine; give the course of the loss."""
    rng = random.Random(args.seed)
    optimizer = build_optimizer(model, "muon", args.learning_rate, 0.0)
    batches = endless_batches(examples, args.batch_size, rng)
    started, course, total = time.time(), [], 0.0
    model.train()
    for step in range(1, args.steps + 1):
        rate = args.learning_rate * min(step / (0.03 * args.steps), 1.0)
        rate *= 0.5 * (1 + math.cos(math.pi * step / args.steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = next(batches)
        pictures = [augment(each.picture, rng) for each in batch]
        loss = model(**collate(batch, processor, pictures)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total += loss.item()
        if step % LOG_EVERY_STEPS == 0 or step == args.steps:
            seconds = time.time() - started
            counted = (step - 1) % LOG_EVERY_STEPS + 1
            course.append({"step": step, "loss": total / counted, "seconds": round(seconds)})
            if step % HELD_OUT_EVERY_STEPS == 0 or step == args.steps:
                course[-1]["held_out_loss"] = measure(model, processor, held_out)
            print(f"{course[-1]}, {step * args.batch_size / seconds:.1f} samples/s", flush=True)
            total = 0.0
    return course


@torch.no_grad()
def measure(model: Phi3VForCausalLM, processor: Phi3VProcessor, examples: list[Example]) -> float:
    """Give the loss on products that are never trained on, their pictures as drawn."""
    model.eval()
    pictures = [Image.fromarray(each.picture) for each in examples]
    loss = float(model(**collate(examples, processor, pictures)).loss)
    model.train()
    return loss


def commit() -> str:
    """Give the commit that the base is made at; pictures change with the code that draws them."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Make the base and write it, with how it was made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=9_000, help="products of each house")
    parser.add_argument("--steps", type=int, default=3_300)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=20_000)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    products = [p for house in QUESTIONS for p in draw_products(house, args.rows, args.seed)]
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
    examples = prepare(processor, args.rows, args.seed)
    held_out = prepare(processor, HELD_OUT_ROWS, args.seed + 1)
    course = train(model, processor, examples, held_out, args)
    stop_generation_at(model, make_dialogue(processor, Task.load().question))
    model.to(torch.bfloat16).save_pretrained(args.output)
    processor.save_pretrained(args.output)
    Task.load().save(args.output / "task.yaml")
    settings = {key: value for key, value in vars(args).items() if key != "output"}
    made = {"houses": list(QUESTIONS), "commit": commit(), **settings, "course": course}
    (args.output / "pretraining.json").write_text(json.dumps(made, indent=1), "utf-8")


if __name__ == "__main__":
    main()
