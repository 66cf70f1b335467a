"""What does a training step of a frozen tower cost, with and without what the tower saw before?

And how much of a batch is padding, by the rule that makes batches: a random order, like lengths
by number (`batch_size`), like lengths by tokens (`batch_tokens`); for the dataset as it is, and for
pictures of many shapes at the published size of crops. Last, a batch packed into one row under a
block-diagonal mask beside the same batch padded: whether the losses agree, and which is faster.
It matters because padding and a tower that sees the same pictures again are paid for in each step.

Measured at the tiny size, variants in turns; processor time counts what neighbours do not disturb,
and the smallest of each is the one least disturbed.

Usage: python benchmarks/train_reuse.py [--dataset FOLDER] [--steps 6] [--rows 16] [--threads 1]
"""

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from loupe import vlm
from loupe.build import build_dataset
from loupe.build.dataset import Dataset
from loupe.options import BuildOptions, SampleOptions, TrainOptions
from loupe.phi3_v import Phi3VImageProcessor
from loupe.predict import Predictor
from loupe.sample import make_sample
from loupe.train.batches import Collator, ExampleDataset, LengthGroupedOrder, TokenBatches
from loupe.train.features import FeaturedDataset, FeatureStore, identify_tower
from loupe.train.material import gather_material
from loupe.train.optimizer import build_optimizer

ROWS_OF_SAMPLE = 600
WIDEST = 3.0  # of mixed pictures, width to height or the other way round
Batch = dict[str, Any]


def open_dataset(folder: str | None, scratch: Path) -> Dataset:
    """Open a dataset folder, or build one of the sample catalogue."""
    if folder is None:
        folder = str(scratch / "data")
        make_sample(SampleOptions(output=str(scratch / "sample"), rows=ROWS_OF_SAMPLE))
        build_dataset(BuildOptions(source=str(scratch / "sample"), output=folder, workers=1))
    return Dataset.open(folder)


def measure(variants: dict[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Give the smallest processor and wall seconds of each, measured in turns after one that warms.

    The first call of each is left out.
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for _ in range(repeats + 1):
        for name, act in variants.items():
            started = time.process_time(), time.perf_counter()
            act()
            seconds[name].append(
                (time.process_time() - started[0], time.perf_counter() - started[1])
            )
    return {
        name: {"processor": min(cpu for cpu, _ in taken[1:]), "wall": min(w for _, w in taken[1:])}
        for name, taken in seconds.items()
    }


def measure_steps(
    predictor: Predictor, train: ExampleDataset, store: FeatureStore, rows: int, repeats: int
) -> dict[str, dict[str, float]]:
    """Time steps on fresh rows: from pixels, in a first pass that keeps features, from features."""
    model, collate = predictor.model, Collator(predictor.processor)
    model.train()
    model.model.vision_embed_tokens.img_processor.requires_grad_(False)
    optimizer = build_optimizer(model, "muon", 1e-4, 0.0)
    featured = FeaturedDataset(train, [[f"{place:064}"] for place in range(len(train))], store)
    counts = dict.fromkeys(("pixels", "first pass", "kept"), 0)

    def places(name: str) -> range:
        begin = counts[name] * rows
        counts[name] += 1
        return range(begin, begin + rows)

    def step(batch: Batch) -> None:
        del batch["row_ids"]
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def from_store(name: str) -> None:
        batch = collate([featured[place, 0] for place in places(name)])
        with torch.no_grad():
            batch = store.complete(batch, model.get_tower_features)
        step(batch)

    return measure(
        {
            "pixels": lambda: step(collate([train[place, 0] for place in places("pixels")])),
            "first pass": lambda: from_store("first pass"),
            "kept": lambda: from_store("kept"),
        },
        repeats,
    )


def padding_share(lengths: Sequence[int], batches: Iterable[Sequence[int]]) -> float:
    """Give the share of all places in batches that are padding."""
    held = [[lengths[place] for place in batch] for batch in batches]
    return 1 - sum(map(sum, held)) / sum(len(batch) * max(batch) for batch in held)


def padding_by_rule(lengths: Sequence[int], rows: int) -> dict[str, float]:
    """Give the share of padding by the rule that makes batches; by tokens, with as much a batch."""
    mixed = list(range(len(lengths)))
    random.Random(0).shuffle(mixed)
    grouped = [place for place, _ in LengthGroupedOrder(lengths, rows, seed=0)]
    by_tokens = TokenBatches(lengths, max(rows * sum(lengths) // len(lengths), *lengths), 0)
    cut = [slice(at, at + rows) for at in range(0, len(lengths), rows)]
    return {
        "random order": padding_share(lengths, [mixed[each] for each in cut]),
        "batch_size": padding_share(lengths, [grouped[each] for each in cut]),
        "batch_tokens": padding_share(lengths, [[p for p, _ in batch] for batch in by_tokens]),
    }


def mixed_lengths(texts: Sequence[int], crops: int) -> list[int]:
    """Give the lengths that these texts would have with pictures of many shapes and sizes."""
    processor, draw = Phi3VImageProcessor(num_crops=crops), random.Random(0)
    return [
        text + processor.count_image_tokens(1000, round(1000 * WIDEST ** draw.uniform(-1, 1)))
        for text in texts
    ]


def pack(batch: Batch) -> Batch:
    """Put the samples of a batch behind each other in one row, whose positions start anew."""
    real = batch["attention_mask"].bool()
    positions = (batch["attention_mask"].cumsum(dim=1) - 1)[real]
    packed = {name: batch[name][real][None] for name in ("input_ids", "labels")}
    pictures = {name: batch[name] for name in ("tower_features", "image_sizes")}
    return {**packed, **pictures, "position_ids": positions[None]}


def measure_packing(
    predictor: Predictor, train: ExampleDataset, rows: int, repeats: int
) -> dict[str, Any]:
    """Compare a batch of random rows, padded and packed, both from kept features."""
    model = predictor.model
    batch = Collator(predictor.processor)([train[place, 0] for place in range(rows)])
    del batch["row_ids"]
    with torch.no_grad():
        pixels = batch.pop("pixel_values")
        batch["tower_features"] = model.get_tower_features(pixels, batch["image_sizes"])
    packed = pack(batch)
    with torch.no_grad():
        difference = abs(float(model(**batch).loss) - float(model(**packed).loss))

    def learn(inputs: Batch) -> None:
        model(**inputs).loss.backward()
        model.zero_grad()

    times = measure({"padded": lambda: learn(batch), "packed": lambda: learn(packed)}, repeats)
    padding = 1 - float(batch["attention_mask"].float().mean())
    return {"padding": padding, "loss_difference": difference, "seconds": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", help="of `loupe build`; none builds one of the sample")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        dataset = open_dataset(args.dataset, scratch)
        model, processor = vlm.load_model_and_processor(vlm.TINY, dtype="float32")
        model.config.use_cache = False  # as the Trainer sets it; with a cache no row can be packed
        predictor = Predictor(model, processor, dataset.task)
        options = TrainOptions(dataset=str(dataset.path), output=name, evaluations=0)
        train = gather_material(dataset, predictor, options).train
        basis = identify_tower(model, processor, torch.float32)
        store = FeatureStore(scratch / "features", basis, torch.float32)
        steps = measure_steps(predictor, train, store, args.rows, args.steps)
        sizes = [path.stat().st_size for path in scratch.glob("features/*/*/*")]
        packing = measure_packing(predictor, train, args.rows, args.steps)
    places = {
        ids: ids.count(processor.image_token_id) for ids in {e.prompt_ids for e in train.examples}
    }
    texts = [len(example) - places[example.prompt_ids] for example in train.examples]
    padding = {"dataset": padding_by_rule(train.lengths, args.rows)}
    for crops in (4, 16):
        padding[f"{crops} crops"] = padding_by_rule(mixed_lengths(texts, crops), args.rows)
    for name, taken in steps.items():
        print(f"step, {name:12} {taken['processor']:.3f} s of processor, {taken['wall']:.3f} s")
    for name, shares in padding.items():
        told = ", ".join(f"{rule} {share:.1%}" for rule, share in shares.items())
        print(f"padding, {name}: {told}")
    for name, taken in packing["seconds"].items():
        print(f"{name} batch: {taken['processor']:.3f} s of processor, {taken['wall']:.3f} s")
    result = {
        "steps": steps,
        "step_pixels_over_kept": steps["pixels"]["processor"] / steps["kept"]["processor"],
        "bytes_per_picture": sum(sizes) / len(sizes),
        "padding": padding,
        "packing": packing,
        "rows_per_step": args.rows,
        "train_rows": len(train),
        "threads": args.threads,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "torch_version": torch.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
