"""Read one product off several pictures: files named together, or those of one folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loupe.build.ledger import Rejection
from loupe.build.rows.locate import LocalFile
from loupe.build.sources import TABLE_SUFFIXES
from loupe.errors import PredictError
from loupe.options import PredictOptions
from loupe.predict.answering import first_line
from loupe.predict.opening import open_asked
from loupe.predict.pictures import fit_picture, walk_pictures
from loupe.predict.sources import Asked, name_field
from loupe.task import Answer

if TYPE_CHECKING:
    from PIL import Image

    from loupe.predict.predictor import Predictor

__all__ = ["find_products", "predict_together"]


def predict_together(options: PredictOptions) -> list[dict[str, Any]]:
    """Answer the task's question about each product, by all of its pictures that can be read.

    Raises:
        PredictError: no picture is named, a table or dataset is, or no picture can be read.
        CheckpointError: no model can be loaded, or it takes one picture at a time.
        TaskError: the task file declares no task.
    """
    from loupe.predict.predictor import Predictor
    from loupe.predict.tasks import choose_task

    products = find_products(options.pictures)
    if not products:
        raise PredictError(
            f"There is no picture in {', '.join(options.pictures)}; name picture files or folders."
        )
    predictor = Predictor.load(
        options.model,
        task=choose_task(options.model, options.task),
        device=options.device,
        threads=options.threads,
    )
    predictor.check_pictures(max(map(len, products)))
    answered = list(_answer_each(predictor, products, options))
    problems = [str(each["problem"]) for each in answered if each["answer"] is None]
    if len(problems) == len(answered):
        raise PredictError(f"None of the {len(answered)} products can be read. {problems[0]}")
    return answered


def find_products(names: Sequence[str]) -> list[list[Path]]:
    """Give the pictures of each product: the files named are one, those of each folder another.

    Folders are searched to any depth; each that holds pictures holds one product.

    Raises:
        PredictError: one is a table or a dataset.
    """
    for name in names:
        is_dataset = (Path(name) / "dataset.json").exists()
        if is_dataset or Path(name).suffix.lower() in TABLE_SUFFIXES:
            raise PredictError(
                f"{name!r} is a {'dataset' if is_dataset else 'table'}; together reads files and "
                "folders of pictures. Drop --together: of each row the main picture is read."
            )
    named = [Path(name) for name in names if not Path(name).is_dir()]
    folders: dict[Path, list[Path]] = {}
    for name in names:
        for path in walk_pictures(Path(name)) if Path(name).is_dir() else ():
            folders.setdefault(path.parent, []).append(path)
    return [*([named] if named else []), *folders.values()]


def _answer_each(
    predictor: Predictor, products: Sequence[Sequence[Path]], options: PredictOptions
) -> Iterator[dict[str, Any]]:
    from tqdm import tqdm

    fit = partial(fit_picture, predictor.processor)
    with tqdm(total=len(products), unit="product", leave=False, disable=None) as bar:
        for start in range(0, len(products), options.batch_size):
            batch = products[start : start + options.batch_size]
            opened = [[_try_to_open(path, fit) for path in product] for product in batch]
            shown = [[each for each in one if not isinstance(each, str)] for one in opened]
            answers = iter(_answer(predictor, [each for each in shown if each], options))
            for product, one in zip(batch, opened, strict=True):
                problems = [each for each in one if isinstance(each, str)]
                is_lost = len(problems) == len(one)
                answer = " ".join(problems) if is_lost else next(answers)
                yield _describe(product, problems, answer)
            bar.update(len(batch))


def _answer(
    predictor: Predictor, shown: Sequence[Sequence[Image.Image]], options: PredictOptions
) -> list[Answer | str]:
    """Answer products, or say why one cannot be; a batch that fails is halved."""
    if not shown:
        return []
    try:
        answers = predictor.predict(
            shown,
            batch_size=options.batch_size,
            max_new_tokens=options.max_new_tokens,
            decoding=options.decoding,
            price=options.price,
        )
    except (RuntimeError, ValueError) as error:
        why = first_line(error)  # its traceback would hold the batch in memory
    else:
        return [*answers]
    if len(shown) == 1:
        return [f"{len(shown[0])} pictures cannot be answered together: {why}"]
    half = len(shown) // 2
    return _answer(predictor, shown[:half], options) + _answer(predictor, shown[half:], options)


def _try_to_open(path: Path, fit: Callable[[Image.Image], Image.Image]) -> Image.Image | str:
    """Open a picture, or say why it cannot be: that is the picture's problem, not the run's."""
    asked = Asked(0, 0, {"picture": str(path)}, LocalFile(path))
    found = open_asked(asked, fit, fetched={}).picture
    return found.detail if isinstance(found, Rejection) else found


def _describe(
    product: Sequence[Path], problems: Sequence[str], answer: Answer | str
) -> dict[str, Any]:
    """Tell of one product, or why there is no answer; of pictures that were left out as well."""
    main, *more = map(str, product)
    told: dict[str, Any] = {"picture": main} | ({"more_pictures": more} if more else {})
    if isinstance(answer, str):
        return {**told, "answer": None, "problem": answer}
    if problems:
        told["left_out"] = list(problems)
    values = {name_field(name): value for name, value in (answer.values or {}).items()}
    return {**told, **values, "answer": answer.text, "problem": answer.problem}
