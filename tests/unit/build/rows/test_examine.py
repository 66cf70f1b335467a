import pytest

from loupe.build.rows.examine import normalise_title


@pytest.mark.parametrize("title", ["The  Bag ", "THE BAG", "the\u00a0bag", "Ｔhe bag"])
def test_titles_are_compared_without_case_spacing_and_unicode_variants(title):
    assert normalise_title(title) == "the bag"
