import numpy as np
from PIL import Image

from loupe.build.pictures.perceptual_hash import HASH_BYTES, perceptual_hash, small_pixels


def pack(*images):
    content = b"".join(perceptual_hash(image).to_bytes(HASH_BYTES, "big") for image in images)
    return np.frombuffer(content, np.uint8).reshape(len(images), HASH_BYTES)


def test_small_pixels_are_those_of_the_picture():
    left_red = Image.new("RGB", (60, 60), "white")
    left_red.paste((250, 0, 0), (0, 0, 30, 60))
    pixels = small_pixels(pack(left_red)).reshape(6, 6, 3)
    assert pixels[:, 0].tolist() == [[250, 0, 0]] * 6
    assert pixels[:, 5].tolist() == [[255, 255, 255]] * 6
