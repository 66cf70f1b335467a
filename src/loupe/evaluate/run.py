"""The evaluation from options to report: read, answer, measure, write."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loupe.card import replace_test_scores
from loupe.errors import CheckpointError, MissingExtraError, PredictError
from loupe.evaluate.card import describe_test_scores
from loupe.evaluate.certainty import find_calibration, measure_certainty
from loupe.evaluate.evaluation import Evaluation
from loupe.evaluate.look import Looker, Seen
from loupe.evaluate.maps import Maps, make_maps
from loupe.evaluate.material import Material, find_most_pictures, read_material
from loupe.evaluate.neighbours import Neighbours, find_neighbours
from loupe.evaluate.output import PREDICTIONS, REPORT, SCORES, staged_folder, write_predictions
from loupe.evaluate.report import MAX_TABLE_ROWS, render_report
from loupe.evaluate.result import EvaluateResult
from loupe.evaluate.slices import measure_slices
from loupe.evaluate.systems import FEATURES, Measured, Measures, System, baseline_ladder
from loupe.evaluate.tasks import compare_tasks
from loupe.evaluate.twins import blind_answers, shuffled_rows
from loupe.evaluate.untuned import answer_untuned
from loupe.evaluate.verdict import picture_gains
from loupe.options import EvaluateOptions, save_options
from loupe.task import Answer, Task

if TYPE_CHECKING:
    from loupe.build.dataset import Dataset
    from loupe.certainty import Calibration
    from loupe.predict import Predictor

__all__ = ["evaluate", "evaluate_model"]

USUAL_ANSWER_TOKENS = 96
ANSWER_MARGIN = 1.25  # longest training answer, and a quarter more

logger = logging.getLogger(__name__)


def evaluate_model(options: EvaluateOptions) -> EvaluateResult:
    """Answer a split's pictures, score the answers, and write the evidence beside the scores.

    Raises:
        EvaluateError: the evaluation cannot be made.
        DatasetError: there is no finished dataset.
        CheckpointError: there is no model.
    """
    from loupe.build.dataset import Dataset

    dataset = Dataset.open(options.dataset, most_pictures=find_most_pictures(options))
    return evaluate(dataset, lambda: _load_predictor(options, dataset.task), options)


def evaluate(
    dataset: Dataset, load_predictor: Callable[[], Predictor], options: EvaluateOptions
) -> EvaluateResult:
    """Evaluate with a dataset and a predictor that somebody else provides."""
    with staged_folder(Path(options.output), overwrite=options.overwrite) as folder:
        started = time.monotonic()
        material = read_material(dataset, options)
        calibration = find_calibration(options)
        evaluation = _evaluate(material, load_predictor, options, calibration, started)
        scores = evaluation.to_dict()
        write_predictions(evaluation, folder / PREDICTIONS)
        save_options(options, folder)
        text = json.dumps(scores, indent=2, ensure_ascii=False, allow_nan=False)
        (folder / SCORES).write_text(text + "\n", "utf-8")
        (folder / REPORT).write_text(render_report(evaluation), "utf-8")
    if options.split == "test" and replace_test_scores(
        Path(options.model), describe_test_scores(evaluation)
    ):
        logger.info("Wrote the scores into the model's card, %s/README.md", options.model)
    return EvaluateResult(options.output, scores)


def _load_predictor(options: EvaluateOptions, task: Task) -> Predictor:
    from loupe.predict import Predictor

    has_task = (Path(options.model) / "task.yaml").is_file()
    return Predictor.load(
        options.model,
        task=None if has_task else task,
        device=options.device,
        threads=options.threads,
    )


def _evaluate(
    material: Material,
    load_predictor: Callable[[], Predictor],
    options: EvaluateOptions,
    calibration: Calibration | None,
    started: float,
) -> Evaluation:
    measures = Measures(
        material.task,
        material.rows,
        material.words,
        options.bootstrap,
        options.confidence,
        options.seed,
    )
    answered = _answer(material, load_predictor, options, calibration)
    model, variants, twins, baselines, best = (
        tuple(measures.measure(system) for system in systems if system.role == role)
        for systems in [_systems(material, answered, options)]
        for role in ("model", "variant", "twin", "baseline", "best_possible")
    )
    return Evaluation(
        options=options,
        fingerprint=material.fingerprint,
        measures=measures,
        seen=answered.seen,
        model=model[0],
        variants=variants,
        twins=twins,
        baselines=baselines,
        best_possible=best[0] if best else None,
        gains=picture_gains(material.task, model[0], twins, options.confidence),
        slices=measure_slices(
            measures,
            answered.seen.answers,
            [main for main, *_ in answered.seen.sizes_px],
            options.slice_by,
        ),
        neighbours=_neighbours(material, answered),
        maps=answered.maps,
        shuffled=answered.shuffled,
        notes=answered.notes + material.notes + tuple(_silence(twins)),
        seconds=time.monotonic() - started,
        certainty=None
        if calibration is None
        else measure_certainty(calibration, measures, answered.seen, options, material.fingerprint),
    )


def _neighbours(material: Material, answered: Answered) -> Neighbours | None:
    if not len(material.train):
        return None
    vectors = answered.train_vectors[FEATURES], answered.seen.vectors[FEATURES]
    return find_neighbours(material.rows, material.train, vectors, answered.seen.thumbnails)


def _silence(twins: Sequence[Measured]) -> Iterator[str]:
    """Tell where a twin mostly says nothing, so that beating it alone would prove little."""
    for twin in twins:
        if (rate := twin.scores["parse_rate"].value) < 0.5:
            yield (
                f"{100 * (1 - rate):.0f} % of the {twin.system.name} twin's answers do not parse, "
                "which counts as wrong: a gain over this twin alone would prove little."
            )


@dataclass(frozen=True)
class Answered:
    """What the model said, and what the baselines see."""

    task: Task
    """The model's, by which its answers are read."""
    seen: Seen
    train_vectors: dict[str, Any]
    blind: list[Answer] | None
    shuffled: tuple[int, ...] | None
    maps: Maps | None = None
    untuned: System | None = None
    notes: tuple[str, ...] = ()


def _answer(
    material: Material,
    load_predictor: Callable[[], Predictor],
    options: EvaluateOptions,
    calibration: Calibration | None,
) -> Answered:
    predictor = load_predictor()
    if calibration is not None:
        calibration.check_use(predictor.task, options.decoding)
    notes = compare_tasks(material.task, predictor.task, material.rows, options)
    if (most_pictures := max(map(len, material.rows.split.picture_sizes()))) > 1:
        predictor.check_pictures(most_pictures)
    task, most = predictor.task, options.max_new_tokens
    most = most or _longest_answer(predictor, material)
    answered = _look(material, predictor, options, most, reads=calibration is not None)
    answered = replace(answered, notes=notes)
    if options.maps:
        answered = _add_maps(answered, material, predictor, options)
    del predictor  # before the other is loaded, so that they need not fit into memory together
    if material.untuned is not None:
        answered = _add_untuned(
            answered,
            material.untuned,
            lambda base: answer_untuned(base, task, material.rows, options, most),
        )
    return answered


def _add_maps(
    answered: Answered, material: Material, predictor: Predictor, options: EvaluateOptions
) -> Answered:
    """Map what decided; where that cannot be, the answers that are there are worth a note."""
    logger.info("Mapping what decided in %d pictures", options.maps)
    try:
        maps = make_maps(
            predictor,
            material.rows,
            answered.seen.answers,
            options.maps,
            options.batch_size,
            options.seed,
        )
    except PredictError as error:
        return replace(answered, notes=(*answered.notes, f"There are no maps. {error}"))
    return replace(answered, maps=maps, notes=(*answered.notes, *maps.doubts()))


def _add_untuned(answered: Answered, base: str, ask: Callable[[str], System]) -> Answered:
    """Let the checkpoint before fine-tuning answer; where it cannot be loaded, note that."""
    logger.info("Answering them by %s, as it was before fine-tuning", base)
    try:
        return replace(answered, untuned=ask(base))
    except (CheckpointError, MissingExtraError) as error:
        note = f"The checkpoint before fine-tuning is left out. {error}"
        return replace(answered, notes=(*answered.notes, note))


def _look(
    material: Material,
    predictor: Predictor,
    options: EvaluateOptions,
    max_new_tokens: int,
    *,
    reads: bool,
) -> Answered:
    from tqdm import tqdm

    rows, train = material.rows, material.train
    is_hidden = not sys.stderr.isatty()
    with tqdm(total=len(rows) + len(train), unit="picture", disable=is_hidden) as bar:
        looker = Looker(
            predictor,
            options.batch_size,
            max_new_tokens,
            options.decoding,
            options.price,
            MAX_TABLE_ROWS,
            bar.update,
            reads,
        )
        logger.info("Answering %d pictures of split %s", len(rows), options.split)
        seen = looker.see(rows)
        shuffled = shuffled_rows(rows.groups, options.seed) if options.twins else None
        return Answered(
            predictor.task,
            seen,
            looker.vectors(train) if len(train) else {},
            blind_answers(looker.answer, seen.sizes_px) if options.twins else None,
            None if shuffled is None else tuple(shuffled.tolist()),
        )


def _longest_answer(predictor: Predictor, material: Material) -> int:
    """Give the room that an answer needs, in tokens, by the training answers."""
    tokenizer, truths = getattr(predictor.processor, "tokenizer", None), material.train.truths
    if tokenizer is None or not truths:
        return USUAL_ANSWER_TOKENS
    task = replace(material.task, answer=predictor.task.answer)  # its choices, as the model writes
    texts = list(dict.fromkeys(task.format(truth) for truth in truths))
    longest = max(map(len, tokenizer(texts, add_special_tokens=False)["input_ids"]))
    return int(longest * ANSWER_MARGIN) + 1


def _systems(material: Material, answered: Answered, options: EvaluateOptions) -> list[System]:
    task, answers = material.task, answered.seen.answers
    fields = tuple(task.fields)
    systems = [System("model", "the model", "model", answers, fields)]
    prices = tuple(name for name in fields if task.fields[name].type == "price")
    if options.price != "said" and prices:
        said = [answered.task.parse(answer.text) for answer in answers]
        systems.append(System("said", "the model, price as it was said", "variant", said, prices))
    if answered.seen.free is not None:
        free = answered.seen.free
        systems.append(System("free", "the model, answering freely", "variant", free, fields))
    if answered.blind is not None:
        systems.append(System("blind", "blind twin: grey picture", "twin", answered.blind, fields))
    if answered.shuffled is not None:
        # The question is the same for all rows, so the answer belongs to the picture alone.
        other = [answers[row] for row in answered.shuffled]
        systems.append(
            System("shuffled", "shuffled twin: another row's picture", "twin", other, fields)
        )
    if len(material.train):
        vectors = {
            name: (theirs, answered.seen.vectors[name])
            for name, theirs in answered.train_vectors.items()
        }
        systems += baseline_ladder(
            task, material.rows, material.train, answers, vectors, options.seed
        )
    if answered.untuned is not None:
        systems.append(answered.untuned)
    if material.best is not None:
        known = tuple(material.best[0].values or {})
        systems.append(
            System("best_possible", "best possible", "best_possible", material.best, known)
        )
    return systems
