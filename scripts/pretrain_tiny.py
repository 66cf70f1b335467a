"""Make the tiny base that ships with Loupe: tokenizer, pictures, training, checkpoint.

    python scripts/pretrain_tiny.py --output src/loupe/assets/tiny

It is a Phi-3-Vision of 2.9 M parameters, pretrained on goods of no house and on the sample houses
that the demo leaves out. First its eyes alone learn to tell every attribute from their mean
feature, as a CLIP tower comes trained; then all of it learns to answer, and its eyes go on telling;
last it practises prices, with its tower as it is.

Goods of no house are asked what kind they are. The house alder is asked the tutorial's question;
mistral, which has other words for the same goods, is asked in its name, so that one picture never
has two right answers. A second question asks for every visible attribute, also those that no title
names and only the price follows: metal, heel, collar. A few pictures are blank, so that a model
that sees nothing still answers in form.

Cloths such as tweed show in the finest detail, which a patch of a picture holds little of beside
its colour: while the eyes learn, patches are whitened, so that all detail is as easily learnt, and
goods whose cloth is told last are shown more often.

A base is taken up again with `--start`; `--eyes-steps 0 --steps 0` leaves its eyes as they are.
"""

import argparse
import json
import math
import os
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from PIL import Image
from tiny_eyes import LABEL_IGNORED, Eyes, whiten_patches
from tiny_goods import DETAILS, NO_HOUSE, Drawn, augment, draw_goods, invent_products, visible
from tiny_tokenizer import write_tokenizer
from torch import nn
from transformers import PreTrainedTokenizerFast

from loupe.phi3_v import Phi3VConfig, Phi3VForCausalLM, Phi3VImageProcessor, Phi3VProcessor
from loupe.sample import Product
from loupe.task import Task
from loupe.train.examples import Encoder, Example
from loupe.train.optimizer import build_optimizer
from loupe.train.soft_labels import SoftLabels, collect_spellings
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
DIGIT_WEIGHT, PRICE_SPREAD = 4, 0.1  # in the practice of prices, as examples/tiny.yaml has them
WARM_UP_SHARE = 0.03
HARD_KINDS, HARD_TIMES = ("coat", "shoulder bag", "sweater", "beanie", "pumps"), 4
"""Whose cloth is told last, and how often they are shown in a pass."""
HELD_OUT_ROWS, HELD_OUT_EVERY_STEPS, LOG_EVERY_STEPS = 128, 500, 100


def make_processor(folder: Path, products: list[Product]) -> Phi3VProcessor:
    """Make the tokenizer of the products' words, written to the folder, and the pictures' part."""
    texts = [text(product) for product in products for text in (answer_text, details_text)]
    questions = [*QUESTIONS.values(), DETAILS_QUESTION]
    write_tokenizer(folder, [*texts, *(questions * 100)], VOCABULARY)
    images = Phi3VImageProcessor(
        num_crops=NUM_CROPS,
        crop_size=CROP_SIZE_PX,
        num_img_tokens=(CROP_SIZE_PX // PATCH_SIZE_PX // 2) ** 2,
    )
    return Phi3VProcessor(images, PreTrainedTokenizerFast.from_pretrained(folder))


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


def answer_values(product: Product) -> dict[str, object]:
    """Give the fields of a house's product."""
    return {
        "title": product.title,
        "category3_code": product.category,
        "full_price": product.full_price,
    }


def answer_text(product: Product) -> str:
    """Write a product as the tutorial's answer, or the kind of goods of no house."""
    if product.house == NO_HOUSE:
        return product.kind
    return Task.load().format(answer_values(product))


def details_text(product: Product) -> str:
    """Write what the picture shows beyond the title; a dash for what it does not."""
    return ", ".join(visible(product, name) or "-" for name in DETAILS)


class Teacher:
    """Makes batches of products' dialogues, as tensors that the model takes."""

    def __init__(self, processor: Phi3VProcessor) -> None:
        self.processor = processor
        self.encoders = {
            house: Encoder(processor, replace(Task.load(), question=question))
            for house, question in QUESTIONS.items()
        }
        self.then_ask = self._encode(f"<|user|>\n{DETAILS_QUESTION}<|end|><|assistant|>\n")
        self.end = processor.tokenizer.convert_tokens_to_ids("<|end|>")

    def show(self, pictures: list[Image.Image]) -> dict[str, torch.Tensor]:
        """Prepare pictures."""
        prepared = self.processor.image_processor(images=pictures, return_tensors="pt")
        return {name: prepared[name] for name in ("pixel_values", "image_sizes")}

    def ask(
        self, products: list[Product], soft_labels: SoftLabels | None = None
    ) -> dict[str, torch.Tensor]:
        """Write both questions and answers, padded on the right; only answers are labelled."""
        examples = [self.write(product) for product in products]
        width = max(map(len, examples))
        ids = torch.full((len(products), width), self.processor.tokenizer.pad_token_id)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, LABEL_IGNORED)
        for row, example in enumerate(examples):
            begin, end = len(example.prompt_ids), len(example)
            ids[row, :end] = torch.tensor(example.prompt_ids + example.answer_ids)
            mask[row, :end] = 1
            labels[row, begin:end] = torch.tensor(example.answer_ids)
            asked = begin + example.answer_ids.index(self.end) + 1
            labels[row, asked : asked + len(self.then_ask)] = LABEL_IGNORED
        soft = soft_labels.soften(examples, labels) if soft_labels else {}
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, **soft}

    def write(self, product: Product) -> Example:
        """Write a product's dialogue; the second question stands within its `answer_ids`."""
        encoder, sizes = self.encoders[product.house], [(CROP_SIZE_PX * math.isqrt(NUM_CROPS),) * 2]
        if product.house == NO_HOUSE:
            example = encoder.encode_answer("", product.kind, sizes)
        else:
            example = encoder.encode("", answer_values(product), sizes)
        details = (*self._encode(details_text(product)), self.end)
        return replace(example, answer_ids=(*example.answer_ids, *self.then_ask, *details))

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])


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
    hard = [each for each in drawn if each.product.kind in HARD_KINDS]
    fold = whiten_patches(eyes, teacher.show([augment(each.picture, rng) for each in drawn[:500]]))
    eyes_optimizer = build_optimizer(eyes, "muon", args.learning_rate, 0.0)
    eyes.requires_grad_(False)
    optimizer = build_optimizer(model, "muon", args.learning_rate, 0.0)
    eyes.requires_grad_(True)
    every = [*{id(each): each for part in (model, eyes) for each in part.parameters()}.values()]
    batches = endless_batches([*drawn, *hard * (HARD_TIMES - 1)], args.batch_size, rng)
    steps = args.eyes_steps + args.steps
    course = Course(steps)
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
        if course.add(loss):
            course.tell(measure(model, teacher, held_out, eyes))
    fold()
    return course.told


def practise_prices(
    model: Phi3VForCausalLM,
    teacher: Teacher,
    drawn: list[Drawn],
    held_out: list[Drawn],
    args: argparse.Namespace,
) -> list[dict[str, object]]:
    """Train all but the tower on the houses' products, digits counting more; give the course."""
    rng = random.Random(args.seed)
    drawn, held_out = (
        [each for each in some if each.product.house != NO_HOUSE] for some in (drawn, held_out)
    )
    model.model.vision_embed_tokens.img_processor.requires_grad_(False)
    optimizer = build_optimizer(model, "muon", args.practice_learning_rate, 0.0)
    learnt = [each for each in model.parameters() if each.requires_grad]
    spellings = collect_spellings(teacher.write(each.product) for each in drawn)
    soft_labels = SoftLabels(teacher.processor.tokenizer, DIGIT_WEIGHT, PRICE_SPREAD, spellings)
    batches = endless_batches(drawn, args.batch_size, rng)
    course = Course(args.practice_steps)
    for step in range(1, args.practice_steps + 1):
        batch = next(batches)
        asked = teacher.ask([each.product for each in batch], soft_labels)
        shown = teacher.show([augment(each.picture, rng) for each in batch])
        loss = model(**asked, **shown).loss
        loss.backward()
        nn.utils.clip_grad_norm_(learnt, 1.0)
        set_rate(optimizer, args.practice_learning_rate * cosine(step, args.practice_steps))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if course.add(loss):
            course.tell(measure(model, teacher, held_out))
    return course.told


class Course:
    """What is told of a training of so many steps."""

    def __init__(self, steps: int) -> None:
        self.told: list[dict[str, object]] = []
        self._steps, self._started = steps, time.time()
        self._step, self._losses = 0, []

    def add(self, loss: torch.Tensor) -> bool:
        """Count a step; tell whether it is time to measure."""
        self._step += 1
        self._losses.append(loss.item())
        is_last = self._step == self._steps
        if self._step % LOG_EVERY_STEPS == 0 or is_last:
            mean = sum(self._losses) / len(self._losses)
            seconds = round(time.time() - self._started)
            self.told.append({"step": self._step, "loss": mean, "seconds": seconds})
            self._losses = []
            print(self.told[-1], flush=True)
        return self._step % HELD_OUT_EVERY_STEPS == 0 or is_last

    def tell(self, measures: dict[str, object]) -> None:
        """Add what was measured at this step."""
        self.told[-1] |= measures
        print(measures, flush=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def measure(
    model: Phi3VForCausalLM, teacher: Teacher, held_out: list[Drawn], eyes: Eyes | None = None
) -> dict[str, object]:
    """Measure on products that are never trained on, their pictures as drawn."""
    model.eval()
    products = [each.product for each in held_out]
    shown = teacher.show([Image.fromarray(each.picture) for each in held_out])
    features = model.get_image_features(**shown)
    loss = float(model(**teacher.ask(products), image_features=features).loss)
    model.train()
    read = {"held_out_read_right": eyes.count_right(features, products)} if eyes else {}
    return {"held_out_loss": loss, **read}


def commit() -> str:
    """Give the commit that the base is made at; pictures change with the code that draws them."""
    words = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
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
    parser.add_argument("--practice-steps", type=int, default=2_400, help="steps on prices")
    parser.add_argument("--practice-learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--pictures", type=Path, help="a .npy file that keeps what was drawn")
    parser.add_argument("--start", type=Path, help="a base to go on from")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    products = invent_products(args.goods, args.rows, args.seed)
    side = CROP_SIZE_PX * math.isqrt(NUM_CROPS)
    drawn = draw_goods(products, args.seed, side, args.pictures)
    unseen = invent_products(HELD_OUT_ROWS, HELD_OUT_ROWS, args.seed + 1)
    held_out = draw_goods(unseen, args.seed + 1, side)
    not_told = {"output", "pictures", "start"}
    settings = {key: value for key, value in vars(args).items() if key not in not_told}
    made = {"houses": [*QUESTIONS], "commit": commit(), **settings}
    if args.start:
        processor = Phi3VProcessor.from_pretrained(args.start)
        model = Phi3VForCausalLM.from_pretrained(args.start, dtype=torch.float32).train()
        made["start"] = json.loads((args.start / "pretraining.json").read_text("utf-8"))
    else:
        processor = make_processor(args.output, products)
        model = Phi3VForCausalLM(tiny_config(processor))
    teacher = Teacher(processor)
    if args.eyes_steps + args.steps:
        eyes = Eyes(model, products)
        made["course"] = train(model, eyes, teacher, drawn, held_out, args)
    made["practice_course"] = practise_prices(model, teacher, drawn, held_out, args)
    stop_generation_at(model, make_dialogue(processor, Task.load().question))
    model.to(torch.bfloat16).save_pretrained(args.output)
    processor.save_pretrained(args.output)
    Task.load().save(args.output / "task.yaml")
    (args.output / "pretraining.json").write_text(json.dumps(made, indent=1), "utf-8")


if __name__ == "__main__":
    main()
