"""Check one picture, bring it upright and to sRGB, and hash how it looks."""

from loupe.build.pictures.check import CheckedPicture, PictureRules, check_picture
from loupe.build.pictures.perceptual_hash import HASH_BYTES

__all__ = ["HASH_BYTES", "CheckedPicture", "PictureRules", "check_picture"]
