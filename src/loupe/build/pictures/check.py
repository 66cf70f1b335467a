"""Check one picture: bytes, format, size, pixels; and bring it upright and to 8-bit sRGB."""

import hashlib
import io
import re
import stat
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL import Image

from loupe.build.ledger import Reason, Rejection
from loupe.build.pictures.perceptual_hash import perceptual_hash
from loupe.pixels import (
    DECODE_ERRORS,
    FORMATS,
    UPRIGHT,
    find_formats,
    is_srgb,
    read_orientation,
    to_upright_srgb,
)

__all__ = ["CheckedPicture", "PictureRules", "check_picture"]

_KEPT_FORMATS = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp"}
_KEPT_MODES = frozenset({"RGB", "L", "1", "P"})  # where convert("RGB") loses and adds nothing
_JPEG_QUALITY = 95
_LOSSY_FORMATS = frozenset({"JPEG", "MPO", "WEBP", "AVIF", "HEIF"})
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_PNG_SIGNATURE_BYTES = 8
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
_HTML = re.compile(rb"(<!doctype html|<html|<head|<body)\b", re.IGNORECASE)
_XML = re.compile(rb"<(\?xml|svg)\b", re.IGNORECASE)


@dataclass(frozen=True)
class PictureRules:
    """What a picture must keep to: sides and pixels in px, size in bytes.

    Its lightest and darkest values must differ by `min_contrast`, of 255, in some channel. A
    picture whose longest side is above `max_side_px` is shrunk to it; None leaves it.
    """

    min_side_px: int
    min_contrast: int
    max_pixels: int
    max_side_px: int | None
    max_bytes: int


@dataclass(frozen=True)
class CheckedPicture:
    """A picture that passed: the file to store, upright, and what is known of it.

    `pixel_sha256` is of the upright sRGB pixels before any shrinking, so equal pictures agree
    in it whatever their format; `perceptual_hash` is near that of like pictures.
    """

    path: Path
    suffix: str
    size_bytes: int
    width: int
    height: int
    sha256: str
    pixel_sha256: str
    perceptual_hash: int


def check_picture(path: Path, rules: PictureRules, rewritten: Path) -> CheckedPicture | Rejection:
    """Check the picture in a file; where it must be changed, write the new one to `rewritten`.

    Raises:
        OSError: the rewritten picture cannot be written.
    """
    content = _read(path, rules.max_bytes)
    if isinstance(content, Rejection):
        return content
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what is decided here
        decoded = _decode(content, rules)
        if isinstance(decoded, Rejection):
            return decoded
        try:
            upright = to_upright_srgb(decoded)
        except ValueError as error:
            return Rejection(Reason.UNSUPPORTED_PIXELS, f"mode {decoded.mode}: {error}")
        if _is_plain(upright, rules.min_contrast):
            detail = f"no channel varies by min_contrast {rules.min_contrast} of 255"
            return Rejection(Reason.PLAIN_COLOUR, detail)
        stored = _shrink(upright, rules.max_side_px)
        is_kept = stored is upright and _can_keep_bytes(decoded)
        encoded, suffix = (
            (content, _KEPT_FORMATS[str(decoded.format)])
            if is_kept
            else _encode(stored, decoded.format)
        )
    if not is_kept:
        rewritten.write_bytes(encoded)
    return CheckedPicture(
        path=path if is_kept else rewritten,
        suffix=suffix,
        size_bytes=len(encoded),
        width=stored.width,
        height=stored.height,
        sha256=hashlib.sha256(encoded).hexdigest(),
        pixel_sha256=_hash_pixels(upright),
        perceptual_hash=perceptual_hash(upright),
    )


def _read(path: Path, max_bytes: int) -> bytes | Rejection:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Rejection(Reason.MISSING_PICTURE, f"{str(path)!r} is not a file")
        if status.st_size > max_bytes:
            detail = f"{status.st_size:,} bytes, above max_bytes {max_bytes:,}"
            return Rejection(Reason.TOO_LARGE, detail)
        content = path.read_bytes()
    except OSError as error:
        return Rejection(Reason.MISSING_PICTURE, f"{str(path)!r}: {error.strerror}")
    return content or Rejection(Reason.EMPTY_FILE, "0 bytes")


def _decode(content: bytes, rules: PictureRules) -> Image.Image | Rejection:
    """Decode the first frame, after its header has been found to be within the rules."""
    try:
        image = Image.open(io.BytesIO(content), formats=find_formats())
    except Image.DecompressionBombError as error:
        return Rejection(Reason.TOO_MANY_PIXELS, str(error))
    except DECODE_ERRORS:
        return _describe_unopened(content)
    problem = _check_size(image, rules)
    if problem:
        return problem
    try:
        image.load()
        if image.format == "PNG":
            _check_png_sums(content)
    except DECODE_ERRORS as error:
        detail = f"{image.format} of {image.width}×{image.height} px cannot be decoded: {error}"
        return Rejection(Reason.TRUNCATED, detail)
    return image


def _check_png_sums(content: bytes) -> None:
    """Compare the checksums of a PNG's pixel data, which Pillow reads past.

    Raises:
        ValueError: a checksum is wrong, so that some of the pixels are not the picture's.
    """
    place = _PNG_SIGNATURE_BYTES
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        if kind == b"IDAT" and end + 4 <= len(content):
            (expected,) = struct.unpack_from(">I", content, end)
            if zlib.crc32(memoryview(content)[place + 4 : end]) != expected:
                raise ValueError(f"the checksum of its pixel data at byte {place} is wrong")
        place = end + 4


def _describe_unopened(content: bytes) -> Rejection:
    start, text = content[:16], content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    is_heif = start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS
    if is_heif and "HEIF" not in Image.OPEN:
        detail = "a HEIF picture; reading it needs pillow-heif: pip install 'loupe-vlm[heif]'"
        return Rejection(Reason.NOT_A_PICTURE, detail)
    if (
        is_heif
        or start.startswith(_SIGNATURES)
        or start[8:12] == b"WEBP"
        or start[4:12] == b"ftypavif"
    ):
        detail = f"{len(content):,} bytes that begin as a picture and cannot be opened as one"
        return Rejection(Reason.TRUNCATED, detail)
    if text.startswith(b"<") and _HTML.search(text):
        return Rejection(Reason.HTML_PAGE, f"{len(content):,} bytes of HTML, {text[:60]!r}")
    kind = "an SVG or XML text" if _XML.match(text) else f"begins {start!r}"
    expected = ", ".join(name for name in FORMATS if name != "MPO")
    return Rejection(Reason.NOT_A_PICTURE, f"{kind}; expected one of {expected}")


def _check_size(image: Image.Image, rules: PictureRules) -> Rejection | None:
    size = f"{image.width}×{image.height} px"
    if image.width * image.height > rules.max_pixels:
        detail = f"{size} is above max_pixels {rules.max_pixels:,}"
        return Rejection(Reason.TOO_MANY_PIXELS, detail)
    if min(image.size) < rules.min_side_px:
        detail = f"{size}; the smallest side must be at least min_side_px {rules.min_side_px} px"
        return Rejection(Reason.TOO_SMALL, detail)
    return None


def _is_plain(image: Image.Image, min_contrast: int) -> bool:
    ranges = cast("tuple[tuple[int, int], ...]", image.getextrema())
    return all(highest - lowest < min_contrast for lowest, highest in ranges)


def _shrink(image: Image.Image, max_side_px: int | None) -> Image.Image:
    if max_side_px is None or max(image.size) <= max_side_px:
        return image
    shrunk = image.copy()
    shrunk.thumbnail((max_side_px, max_side_px), Image.Resampling.LANCZOS)
    return shrunk


def _can_keep_bytes(image: Image.Image) -> bool:
    """Tell whether every reader sees the checked pixels in the bytes as they are."""
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    return (
        image.format in _KEPT_FORMATS
        and image.mode in _KEPT_MODES
        and not image.has_transparency_data
        and frames == 1
        and is_srgb(image)
        and read_orientation(image) == UPRIGHT
    )


def _encode(image: Image.Image, kind: str | None) -> tuple[bytes, str]:
    """Encode pixels: what came with losses becomes a fine JPEG, all else a lossless PNG."""
    buffer = io.BytesIO()
    image = image.copy()
    image.info = {}  # else the old profile would be written, or a new one with the time of day
    if kind in _LOSSY_FORMATS:
        image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        return buffer.getvalue(), ".jpg"
    image.save(buffer, "PNG")
    return buffer.getvalue(), ".png"


def _hash_pixels(image: Image.Image) -> str:
    digest = hashlib.sha256(f"{image.width}x{image.height}".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()
