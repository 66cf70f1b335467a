"""Where the pictures of a row are: in a local file, behind a URL, or in the table itself."""

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loupe.build.ledger import Reason, Rejection
from loupe.task import is_missing

__all__ = ["Embedded", "LocalFile", "Place", "Url", "list_pictures", "locate_picture"]

_WEB = frozenset({"http", "https"})
_SCHEME = re.compile(r"^(data:|[A-Za-z][A-Za-z0-9+.-]*://)")


@dataclass(frozen=True)
class LocalFile:
    """A picture in a file of this machine."""

    path: Path


@dataclass(frozen=True)
class Url:
    """A picture behind an http or https URL, or in an object store."""

    url: str

    @property
    def is_web(self) -> bool:
        """Tell whether it is fetched over http or https."""
        return self.url.partition("://")[0].lower() in _WEB


@dataclass(frozen=True)
class Embedded:
    """A picture whose bytes stand in the table."""

    content: bytes


Place = LocalFile | Url | Embedded


def list_pictures(cells: Sequence[Any]) -> list[Any]:
    """Give what a row's cells name one by one, the main picture first; lists are taken apart.

    A table of text holds a list as JSON. Nothing in the first cell stands for the main picture.

    >>> list_pictures(["front.jpg", '["back.jpg", "seam.jpg"]', None])
    ['front.jpg', 'back.jpg', 'seam.jpg', None]
    """
    main, *further = map(_take_apart, cells)
    return [*(main or [None]), *(each for cell in further for each in cell)]


def _take_apart(cell: Any) -> list[Any]:
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            cell = json.loads(cell)
        except ValueError:
            return [cell]  # a file may be called so
    return cell if isinstance(cell, list) else [cell]


def locate_picture(cell: Any, root: Path | None, stores: Collection[str] = ()) -> Place | Rejection:
    """Say where a table's cell finds its picture.

    A relative path starts from `root`, and no path may leave it: a table from elsewhere must not
    pull other files of this machine into a dataset. Links that lie inside `root` are followed,
    because the table cannot have made them. Without a root, the table holds no paths. `stores` are
    the schemes of URLs that are followed beside http and https.
    """
    if isinstance(cell, Mapping):  # the picture column of Hugging Face datasets
        cell = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    if isinstance(cell, bytes):
        return Embedded(cell)
    if is_missing(cell):
        return Rejection(Reason.NO_PICTURE, f"the picture's column holds {cell!r}")
    text = str(cell).strip()
    if text.startswith("//"):  # the scheme of the page that a link was taken from
        text = f"https:{text}"
    scheme = _SCHEME.match(text)
    if scheme is None and root is not None:
        return _locate_file(text, root)
    if scheme is None:
        return Rejection(Reason.NO_PICTURE, f"{text[:100]!r} is no link to a picture")
    if scheme.group().removesuffix("://").lower() in {*_WEB, *stores}:
        return Url(text)
    detail = f"{text[:100]!r} is not fetched; expected a path, or a URL with http:// or https://"
    return Rejection(Reason.REFUSED_ADDRESS, detail)


def _locate_file(text: str, root: Path) -> LocalFile | Rejection:
    if "\0" in text:
        return Rejection(Reason.MISSING_PICTURE, f"{text[:100]!r} is not a file name")
    top = os.path.abspath(root)  # noqa: PTH100 - resolve() would follow the user's own links
    path = os.path.normpath(os.path.join(top, text))  # noqa: PTH118 - lexical, see above
    if os.path.commonpath([top, path]) != top:
        detail = f"{text!r} lies outside the folder that pictures may come from (picture_root)"
        return Rejection(Reason.OUTSIDE_FOLDER, detail)
    return LocalFile(Path(path))
