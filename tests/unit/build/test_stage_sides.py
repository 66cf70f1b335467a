"""Whole builds whose rows belong together: groups, sides that stay, and the audit of the split."""

import random
from pathlib import Path

import pytest
from PIL import Image

from loupe.errors import CheckpointError, DatasetError, OptionError
from loupe.options import SampleOptions
from loupe.sample import make_sample

from .conftest import draw, encode, write_catalogue
from .test_stage import all_rows, build


def test_rows_of_a_group_stay_on_one_side(tmp_path):
    titles = [f"Bag {row // 3}" for row in range(90)]
    kinds = [f"kind {min(row, 85)}" for row in range(90)]
    source = write_catalogue(tmp_path, 90, title=titles, kind=kinds)
    same = encode(draw(500))
    for row in (0, 44, 89):
        (tmp_path / "pictures" / f"{row}.jpg").write_bytes(same)
    build(source, tmp_path / "data", validation_share=0.2, test_share=0.3, group_by=["kind"])
    rows = all_rows(tmp_path / "data").values()
    for column in ("title", "kind", "group_id"):
        for value in {row[column] for row in rows}:
            assert len({row["split"] for row in rows if row[column] == value}) == 1
    assert len({row["split"] for row in rows if row["row_id"] in {"1000", "1440", "1890"}}) == 1


def test_audit_tells_what_a_random_split_would_have_leaked_and_flattered(tmp_path):
    prices = [100 * 1.2 ** (row // 2) for row in range(120)]
    titles = [f"Bag {row // 2}" for row in range(120)]
    source = write_catalogue(tmp_path, 120, title=titles, full_price=prices)
    for row in range(0, 120, 2):
        twin = (tmp_path / "pictures" / f"{row}.jpg").read_bytes()
        (tmp_path / "pictures" / f"{row + 1}.jpg").write_bytes(twin)
    result = build(source, tmp_path / "data")
    audit = result.split["audit"]
    assert audit["groups"] == 60
    assert audit["rows_sharing"] == {"title": 120, "id": 0, "picture": 120, "likeness": 0}
    assert audit["test_rows_leaked"] == 0
    assert audit["test_rows_leaked_if_random"] > 10
    error = audit["neighbour_price_error"]
    assert error["random_split"] < error["this_split"] / 2
    assert f"{error['this_split']:.0%} off" in result.summary()


def test_near_identical_pictures_stay_on_one_side_unless_switched_off(tmp_path):
    source = write_catalogue(tmp_path, 60)
    for row in range(0, 60, 2):
        blocks = Image.frombytes("RGB", (8, 8), random.Random(row).randbytes(192))
        picture = blocks.resize((160, 160), Image.Resampling.BICUBIC)
        again = encode(picture.resize((100, 100)), "JPEG", quality=60)
        (tmp_path / "pictures" / f"{row}.jpg").write_bytes(encode(picture))
        (tmp_path / "pictures" / f"{row + 1}.jpg").write_bytes(again)
    found = build(source, tmp_path / "data").split["audit"]
    assert found["rows_sharing"]["likeness"] == 60
    assert found["rows_sharing"]["picture"] == 0
    off = build(source, tmp_path / "off", likeness_bits=None).split["audit"]
    assert "likeness" not in off["rows_sharing"]
    assert off["groups"] == 60


def test_pictures_that_a_model_sees_alike_stay_on_one_side(tmp_path):
    """A hash does not know a picture in its mirror image; the tower of the tiny base does."""
    sample = make_sample(SampleOptions(output=str(tmp_path / "sample"), rows=30, seed=3))
    pictures = sorted((Path(sample.output) / "images").iterdir())
    source = write_catalogue(tmp_path, 60)
    for row in range(0, 60, 2):
        picture = Image.open(pictures[row // 2])
        mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        (tmp_path / "pictures" / f"{row}.jpg").write_bytes(encode(picture))
        (tmp_path / "pictures" / f"{row + 1}.jpg").write_bytes(encode(mirrored))
    found = build(source, tmp_path / "data", likeness_model="tiny", likeness_cosine=0.9)
    shared = found.split["audit"]["rows_sharing"]
    assert shared["likeness"] < 10
    assert shared["embedding"] >= 56
    sides = sides_by_title(tmp_path / "data")
    together = [sides[f"Bag {row}"] == sides[f"Bag {row + 1}"] for row in range(0, 60, 2)]
    assert sum(together) >= 28


def test_a_model_that_is_none_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        build(
            write_catalogue(tmp_path), tmp_path / "data", likeness_model=str(tmp_path / "nowhere")
        )
    assert not [path for path in tmp_path.iterdir() if "data" in path.name]


@pytest.mark.parametrize("bits", [-1, 17])
def test_likeness_out_of_range_is_refused_in_words(tmp_path, bits):
    with pytest.raises(OptionError, match=f"likeness_bits is {bits}; expected 0 to 16 of 64"):
        build(write_catalogue(tmp_path), tmp_path / "data", likeness_bits=bits)


def test_sides_kept_of_no_dataset_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DatasetError, match="nowhere"):
        build(write_catalogue(tmp_path), tmp_path / "data", keep_sides=str(tmp_path / "nowhere"))
    assert not [path for path in tmp_path.iterdir() if "data" in path.name]


def test_item_of_several_countries_stays_on_one_side(tmp_path):
    """Titles differ by language; the code, or else the picture, is the same."""
    codes = [1000 + row % 30 if row % 30 < 15 else 1000 + row for row in range(60)]
    source = write_catalogue(
        tmp_path,
        60,
        country_code=["USA" if row < 30 else "ITA" for row in range(60)],
        product_code=codes,
        image=[f"pictures/{row % 30 if row % 30 >= 15 else row}.jpg" for row in range(60)],
    )
    result = build(source, tmp_path / "data")
    assert result.split["audit"]["groups"] == 30
    sides = {row["title"]: row["split"] for row in all_rows(tmp_path / "data").values()}
    assert all(sides[f"Bag {row}"] == sides[f"Bag {row + 30}"] for row in range(30))


def sides_by_title(folder):
    return {row["title"]: row["split"] for row in all_rows(folder).values()}


def test_rows_keep_their_side_when_rows_are_added(tmp_path):
    for folder, rows in ("a", 200), ("b", 250):
        source = write_catalogue(tmp_path / f"from {folder}", rows)
        build(source, tmp_path / folder, likeness_bits=None)  # these pictures are much alike
    before, after = sides_by_title(tmp_path / "a"), sides_by_title(tmp_path / "b")
    assert len(after) == 250
    assert {title: after[title] for title in before} == before


def test_rows_keep_the_side_of_an_earlier_dataset_in_any_order(tmp_path):
    build(write_catalogue(tmp_path / "few", 60), tmp_path / "a")
    lines = write_catalogue(tmp_path / "more", 80).read_text().splitlines(keepends=True)
    shuffled = "".join([lines[0], *reversed(lines[11:])])  # ten rows have gone
    (tmp_path / "more" / "products.csv").write_text(shuffled)
    source = tmp_path / "more" / "products.csv"
    build(source, tmp_path / "b", seed=5, keep_sides=str(tmp_path / "a"))
    before, after = sides_by_title(tmp_path / "a"), sides_by_title(tmp_path / "b")
    assert len(after) == 70
    kept = set(before) & set(after)
    assert {title: after[title] for title in kept} == {title: before[title] for title in kept}


def test_held_out_choice_that_no_training_row_has_is_counted(tmp_path):
    categories = [f"KIND {row}" for row in range(40)]
    source = write_catalogue(tmp_path, 40, category3_code=categories)
    result = build(source, tmp_path / "data")
    held_out = result.counts["validation"] + result.counts["test"]
    assert result.split["audit"]["unseen_choices"] == {"category3_code": held_out}
