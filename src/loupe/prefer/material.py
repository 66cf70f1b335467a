"""What is learnt from: the answers drawn for training rows, ranked, and their pairs encoded."""

from __future__ import annotations

import json
import logging
import random
import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path

from trl import DPOConfig

from loupe.build.dataset import Dataset, Split
from loupe.errors import PreferError
from loupe.options import PreferOptions
from loupe.predict import Predictor
from loupe.prefer.pairs import PairSet
from loupe.prefer.ranking import Ranked, rank_answers, tell_pairs
from loupe.prefer.samples import (
    SAMPLES,
    Sampling,
    Texts,
    describe_model,
    read_samples,
    sample_answers,
)
from loupe.prefer.trainer import PreferenceTrainer
from loupe.train.examples import Encoder, LeftOut
from loupe.train.pictures import PictureCache
from loupe.train.run import Learning

__all__ = ["encode_pairs", "rank_drawn_answers"]

logger = logging.getLogger(__name__)

PAIRS = "pairs.jsonl"


def rank_drawn_answers(
    predictor: Predictor, split: Split, dataset: Dataset, options: PreferOptions
) -> Ranked:
    """Draw answers for the rows, rank them, and write the pairs.

    Raises:
        PreferError: no row gives a pair.
    """
    ids = [str(name) for name in split.column("row_id")]
    sampling = Sampling(
        model=describe_model(options.model),
        dataset_fingerprint=dataset.info["fingerprint"],
        samples=options.samples,
        temperature=options.temperature,
        max_new_tokens=options.max_new_tokens,
        seed=options.seed,
    )
    path = Path(options.output) / SAMPLES
    if options.samples_from is None:
        count = min(options.max_rows or len(ids), len(ids))
        places = sorted(random.Random(options.seed).sample(range(len(ids)), count))
    else:
        taken = _take_over(options.samples_from, path, sampling)
        places = [place for place, name in enumerate(ids) if name in taken]
    logger.info("%s answers to each of %s training rows", options.samples, f"{len(places):,}")
    samples = sample_answers(
        predictor,
        {ids[place]: partial(split.pictures, place) for place in places},
        sampling,
        path,
        options.sample_batch_size,
    )
    truths = {ids[place]: split.values(place) for place in places}
    ranked = rank_answers(predictor.task, truths, samples, options.field_weights, options.margin)
    lines = [json.dumps(asdict(pair), ensure_ascii=False) + "\n" for pair in ranked.pairs]
    (Path(options.output) / PAIRS).write_text("".join(lines), "utf-8")
    logger.info(tell_pairs(ranked.to_dict()))
    if not ranked.pairs:
        raise PreferError(
            f"No row gave a pair: of {ranked.rows:,} rows none has two answers whose scores differ "
            f"by margin {options.margin}. Lower margin, or raise samples or temperature."
        )
    return ranked


def _take_over(samples_from: str, path: Path, sampling: Sampling) -> dict[str, Texts]:
    """Copy the answers of an earlier run, where they were drawn in the same way, and give them."""
    source = Path(samples_from) / SAMPLES
    if not source.is_file():
        raise PreferError(
            f"samples_from {samples_from!r} holds no {SAMPLES}; name a folder that `loupe prefer` "
            "wrote, or drop it."
        )
    taken = read_samples(source, sampling)
    shutil.copyfile(source, path)
    return taken


def encode_pairs(
    ranked: Ranked,
    split: Split,
    encoder: Encoder,
    predictor: Predictor,
    options: PreferOptions,
) -> PairSet:
    """Encode the pairs; one in whose answers a special token is found is left out and told."""
    places = {str(name): place for place, name in enumerate(split.column("row_id"))}
    sizes = split.picture_sizes()
    encoded, rows = [], []
    for pair in ranked.pairs:
        place = places[pair.row_id]
        chosen = encoder.encode_answer(pair.row_id, pair.chosen, sizes[place])
        rejected = encoder.encode_answer(pair.row_id, pair.rejected, sizes[place])
        if not isinstance(chosen, LeftOut) and not isinstance(rejected, LeftOut):
            encoded.append((chosen, rejected))
            rows.append(place)
    if left_out := len(ranked.pairs) - len(encoded):
        logger.info("%s pairs were left out: a special token is in an answer", left_out)
    if not encoded:
        raise PreferError("Every pair was left out: in each a special token is in an answer.")
    learning = Learning(
        PreferenceTrainer,
        partial(
            DPOConfig,
            beta=options.beta,
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, options.answer_weight],
            precompute_ref_log_probs=True,
            max_length=None,
        ),
    )
    return PairSet(encoded, rows, PictureCache(split.pictures, predictor.processor), learning)
