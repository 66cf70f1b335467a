"""Look at each row before any picture is touched, and keep a few bytes of it."""

import hashlib
import unicodedata
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loupe.build.hashing import hash_text
from loupe.build.ledger import Reason, Rejection
from loupe.build.rows.columns import NUMBER_TYPES, Columns, read_values
from loupe.build.rows.locate import Embedded, Place, Url, list_pictures, locate_picture
from loupe.build.rows.names import name_key
from loupe.build.table import Table
from loupe.task import Task, is_missing

__all__ = [
    "Examined",
    "Examiner",
    "GoodRow",
    "examine_rows",
    "key_of",
    "normalise_title",
]

_NOTHING = 0  # in place of a hash


@dataclass(frozen=True)
class GoodRow:
    """A row that can be used if its main picture can: its typed values, and where pictures are.

    `more` has its further pictures, or why one is left out before it is touched.
    """

    values: dict[str, Any]
    place: Place
    more: tuple[Place | Rejection, ...] = ()


@dataclass(frozen=True)
class Examined:
    """What is kept of a table's rows in memory, whatever their number; arrays of shape (rows,).

    `places` points into `place_keys`, sorted and each once; -1 where the row was rejected. So does
    `more_places`, for the further pictures that have a place; with `more_rows`, the rows that name
    them, it is of shape (further pictures,), in the order of the table. `names_more` tells whether
    any row names a further picture, be it without a place. `keys` has by rule the hash of what ties
    a row to others, 0 for nothing; `numbers` and `choices` have the values of the task's fields of
    such types, choices as hashes; `names` has the keys of the rows' ids, of rejected rows too.
    """

    places: npt.NDArray[np.int64]
    place_keys: npt.NDArray[np.uint64]
    more_rows: npt.NDArray[np.int64]
    more_places: npt.NDArray[np.int64]
    names_more: bool
    keys: dict[str, npt.NDArray[np.uint64]]
    numbers: dict[str, npt.NDArray[np.float64]]
    choices: dict[str, npt.NDArray[np.uint64]]
    names: npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Examiner:
    """Tell of each row whether it can be used; asked again, it gives the same answer."""

    table: Table
    task: Task
    columns: Columns
    root: Path
    stores: tuple[str, ...] = ()
    max_pictures: int | None = None

    def rows(self) -> Iterator[tuple[dict[str, Any], GoodRow | Rejection]]:
        """Give each row of the table in order, with what is found of it."""
        for number, row in enumerate(self.table.rows()):
            yield row, self._examine(number, row)

    def _examine(self, number: int, row: Mapping[str, Any]) -> GoodRow | Rejection:
        if number in self.table.problems:
            return Rejection(Reason.MALFORMED_ROW, self.table.problems[number])
        values = read_values(row, self.task, self.columns)
        if isinstance(values, Rejection):
            return values
        root = None if self.columns.only_links else self.root
        cells = list_pictures([row[column] for column in self.columns.pictures])
        place, *more = (locate_picture(cell, root, self.stores) for cell in cells)
        if isinstance(place, Rejection):
            return place
        return GoodRow(values, place, tuple(self._bound(more)))

    def _bound(self, more: Sequence[Place | Rejection]) -> Iterator[Place | Rejection]:
        for number, place in enumerate(more, start=2):
            if self.max_pictures is None or number <= self.max_pictures:
                yield place
            else:
                detail = f"picture {number} of the row, above max_pictures {self.max_pictures}"
                yield Rejection(Reason.TOO_MANY_PICTURES, detail)


def examine_rows(examiner: Examiner) -> Examined:
    """Go through the table once."""
    measures = _choose_measures(examiner.columns, examiner.task)
    found_by: dict[str, dict[str, array[Any]]] = {
        kind: {name: array("d" if kind == "numbers" else "Q") for name in by_name}
        for kind, by_name in measures.items()
    }
    names, id_column = array("Q"), examiner.columns.id
    more_rows, more_keys, names_more = array("q"), array("Q"), False
    for number, (row, found) in enumerate(examiner.rows()):
        names.append(name_key(None if id_column is None else row.get(id_column)))
        for kind, by_name in measures.items():
            for name, measure in by_name.items():
                value = measure(row, found) if isinstance(found, GoodRow) else _NOTHING
                found_by[kind][name].append(value)
        for place in found.more if isinstance(found, GoodRow) else ():
            names_more = True
            if not isinstance(place, Rejection):
                more_rows.append(number)
                more_keys.append(key_of(place))
    named = np.asarray(found_by["places"][""] + more_keys, np.uint64)
    place_keys, places = np.unique(named, return_inverse=True)
    if place_keys.size and place_keys[0] == _NOTHING:
        place_keys, places = place_keys[1:], places - 1
    return Examined(
        places=places[: len(names)],
        place_keys=place_keys,
        more_rows=np.asarray(more_rows, np.int64),
        more_places=places[len(names) :],
        names_more=names_more,
        keys={name: np.asarray(each, np.uint64) for name, each in found_by["keys"].items()},
        numbers={name: np.asarray(each, np.float64) for name, each in found_by["numbers"].items()},
        choices={name: np.asarray(each, np.uint64) for name, each in found_by["choices"].items()},
        names=np.asarray(names, np.uint64),
    )


def key_of(place: Place) -> int:
    """Give 64 bits that name a picture's place; another one once a local file has changed."""
    if isinstance(place, Embedded):
        return hash_text(f"bytes {hashlib.sha256(place.content).hexdigest()}")
    if isinstance(place, Url):
        return hash_text(f"url {place.url}")
    try:
        status = place.path.stat()
    except OSError:
        return hash_text(f"file {place.path}")
    return hash_text(f"file {place.path} {status.st_size} {status.st_mtime_ns}")


def normalise_title(title: str) -> str:
    """Give the form in which titles are compared: case, spacing and Unicode variants aside."""
    return " ".join(unicodedata.normalize("NFKC", title).casefold().split())


_Measure = Callable[[Mapping[str, Any], GoodRow], float]


def _choose_measures(columns: Columns, task: Task) -> dict[str, dict[str, _Measure]]:
    """Give what is kept of a good row, by kind and name."""
    titles = [] if columns.title is None else [columns.title]
    ids = [] if columns.id is None else [columns.id]
    tied_by = {"title": titles, "id": ids, "group_by": list(columns.group_by)}
    types = {name: field.type for name, field in task.fields.items()}
    return {
        "places": {"": lambda row, good: key_of(good.place)},
        "keys": {
            rule: partial(_key_of_cells, rule, names) for rule, names in tied_by.items() if names
        },
        "numbers": {
            name: partial(_number_of, name) for name in types if types[name] in NUMBER_TYPES
        },
        "choices": {name: partial(_choice_of, name) for name in types if types[name] == "choice"},
    }


def _number_of(name: str, _: Mapping[str, Any], good: GoodRow) -> float:
    return float(good.values[name])


def _choice_of(name: str, _: Mapping[str, Any], good: GoodRow) -> int:
    return hash_text(str(good.values[name]))


def _key_of_cells(rule: str, columns: list[str], row: Mapping[str, Any], _: GoodRow) -> int:
    cells = [row[column] for column in columns]
    if all(map(is_missing, cells)):
        return _NOTHING
    texts = [normalise_title(str(cell)) if rule == "title" else str(cell) for cell in cells]
    return hash_text(f"{rule} {texts[0] if len(texts) == 1 else texts}")
