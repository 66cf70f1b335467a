from pathlib import Path

import pytest

from loupe.build.ledger import Reason, Rejection
from loupe.build.rows.locate import Embedded, LocalFile, Url, locate_picture


@pytest.mark.parametrize(
    ("cell", "place"),
    [
        ("a/b.jpg", LocalFile(Path("/data/a/b.jpg"))),
        ("a/../b.jpg", LocalFile(Path("/data/b.jpg"))),
        ("/data/b.jpg", LocalFile(Path("/data/b.jpg"))),
        ("odd: name.jpg", LocalFile(Path("/data/odd: name.jpg"))),
        (" https://x.example/a ", Url("https://x.example/a")),
        ("HTTP://x.example/a", Url("HTTP://x.example/a")),
        (b"abc", Embedded(b"abc")),
        ({"bytes": b"abc", "path": "x.jpg"}, Embedded(b"abc")),
        ({"bytes": None, "path": "x.jpg"}, LocalFile(Path("/data/x.jpg"))),
    ],
    ids=["relative", "dots", "absolute", "colon", "url", "case", "bytes", "struct", "struct path"],
)
def test_picture_is_found_by_what_the_cell_holds(cell, place):
    assert locate_picture(cell, Path("/data")) == place


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("../secret.jpg", Reason.OUTSIDE_FOLDER),
        ("a/../../secret.jpg", Reason.OUTSIDE_FOLDER),
        ("/etc/passwd", Reason.OUTSIDE_FOLDER),
        ("/database/x.jpg", Reason.OUTSIDE_FOLDER),
        ("file:///data/x.jpg", Reason.REFUSED_ADDRESS),
        ("ftp://x.example/a.jpg", Reason.REFUSED_ADDRESS),
        ("data:image/png;base64,AAAA", Reason.REFUSED_ADDRESS),
        ("N.A.", Reason.NO_PICTURE),
        (None, Reason.NO_PICTURE),
        ({"bytes": None, "path": None}, Reason.NO_PICTURE),
        ("a\0b.jpg", Reason.MISSING_PICTURE),
    ],
    ids=["up", "down up", "root", "prefix", "file", "ftp", "data", "gap", "none", "struct", "nul"],
)
def test_cell_that_leads_nowhere_allowed_is_rejected(cell, reason):
    found = locate_picture(cell, Path("/data"))
    assert isinstance(found, Rejection)
    assert found.reason is reason


def test_link_without_a_scheme_is_read_as_https(tmp_path):
    assert locate_picture("//shop.example/is/image/12", tmp_path) == Url(
        "https://shop.example/is/image/12"
    )


@pytest.mark.parametrize("cell", ["http", "none", "n.d.", "images/1.jpg"])
def test_without_a_root_what_is_no_link_is_no_picture(cell):
    found = locate_picture(cell, None)
    assert found.reason is Reason.NO_PICTURE
    assert "is no link to a picture" in found.detail
