import pytest

from loupe.errors import BuildError

from .conftest import read

ACCENTED = "title;price\nCafé ‘crème’ — Größe;12,50\nÎle;7\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_unicode_text_is_read_in_every_encoding(tmp_path, encoding):
    rows = list(read(tmp_path, ACCENTED.encode(encoding)).rows())
    assert rows == [
        {"title": "Café ‘crème’ — Größe", "price": "12,50"},
        {"title": "Île", "price": "7"},
    ]


def test_text_that_is_not_utf8_is_read_as_windows_1252_and_this_is_said(tmp_path, caplog):
    rows = list(read(tmp_path, ACCENTED.encode("cp1252")).rows())
    assert rows[0]["title"] == "Café ‘crème’ — Größe"
    assert "is not UTF-8 (near byte 15: " in caplog.text
    assert "--encoding NAME" in caplog.text


def test_encoding_and_delimiter_that_are_given_are_used(tmp_path):
    text = "title^n\nСумка, красная^1\n".encode("cp1251")
    rows = list(read(tmp_path, text, encoding="cp1251", delimiter="^").rows())
    assert rows == [{"title": "Сумка, красная", "n": 1}]
    with pytest.raises(BuildError, match=r"not utf-8 text .near byte 8"):
        read(tmp_path, text, encoding="utf-8")
    with pytest.raises(BuildError, match="no encoding 'klingon'"):
        read(tmp_path, text, encoding="klingon")
    with pytest.raises(BuildError, match="no encoding 'zip'"):
        read(tmp_path, text, encoding="zip")
    with pytest.raises(BuildError, match="Delimiter 'ab' cannot be"):
        read(tmp_path, text, encoding="cp1251", delimiter="ab")
