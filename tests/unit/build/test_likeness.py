from loupe.build.likeness import perceptual_hash

from .conftest import draw


def test_hash_has_64_bits():
    assert 0 <= perceptual_hash(draw()) < 2**64
