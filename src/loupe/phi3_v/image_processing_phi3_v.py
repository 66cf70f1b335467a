"""Pictures to crops: resize, pad, cut into a grid of square crops, and add one view of the whole.

Gives the pixels of Microsoft's `Phi3VImageProcessor`
(https://huggingface.co/microsoft/Phi-3-vision-128k-instruct) with Pillow, numpy and torch alone.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, load_image
from transformers.processing_utils import ImagesKwargs

CROP_SIZE_PX = 336  # CLIP ViT-L/14-336
TOKENS_PER_CROP = 144  # 24 x 24 patches, 2 x 2 to a token
PADDING_LEVEL = 255  # white, put on before normalisation
HALFWAY_CUBIC_WEIGHTS = (-0.09375, 0.59375, 0.59375, -0.09375)
"""Weights of the four neighbours of a point halfway between two samples (cubic with a = -0.75)."""


class Phi3VImagesKwargs(ImagesKwargs, total=False):  # type: ignore[misc,call-arg]  # untyped
    """What a call may change for its own pictures."""

    num_crops: int
    pad_to_num_crops: bool


class Phi3VImageProcessor(BaseImageProcessor):  # type: ignore[misc]  # untyped in transformers
    """Cut pictures into crops for Phi-3-Vision.

    Args:
        num_crops: most crops that a picture may be cut into, the view of the whole not counted.
        image_mean: per channel, on the scale where white is 1.
        image_std: per channel, on the same scale.
        num_img_tokens: tokens that one crop becomes, its row separators not counted.
        crop_size: side of a crop, in pixels; must be the tower's picture size.
        do_convert_rgb: convert every picture to RGB; if false, other modes are refused.
        **kwargs: kept as attributes and written back, as every image processor does.
    """

    model_input_names = ["pixel_values", "image_sizes"]  # noqa: RUF012  # transformers' declaration
    valid_kwargs = Phi3VImagesKwargs

    def __init__(  # the keys of preprocessor_config.json
        self,
        num_crops: int = 1,
        image_mean: Sequence[float] = OPENAI_CLIP_MEAN,
        image_std: Sequence[float] = OPENAI_CLIP_STD,
        num_img_tokens: int = TOKENS_PER_CROP,
        crop_size: int = CROP_SIZE_PX,
        do_convert_rgb: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if math.isqrt(num_img_tokens) ** 2 != num_img_tokens:
            raise ValueError(
                f"num_img_tokens is {num_img_tokens}; the tokens of a crop form a square, so it "
                "must be a square number, such as 144."
            )
        self.num_crops = num_crops
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.num_img_tokens = num_img_tokens
        self.crop_size = crop_size
        self.do_convert_rgb = do_convert_rgb

    def preprocess(
        self,
        images: Any,
        return_tensors: str | None = None,
        num_crops: int | None = None,
        *,
        pad_to_num_crops: bool = True,
        **kwargs: Any,
    ) -> BatchFeature:
        """Turn pictures into crops.

        Args:
            images: a Pillow image, an array (height, width, 3) of bytes, a path or a URL, or any
                nesting of lists of them.
            return_tensors: as in transformers; `None` leaves torch tensors.
            num_crops: in place of the processor's own, for this call.
            pad_to_num_crops: pad every picture to `num_crops` crops, as published code expects;
                if false, only to the most crops of a picture in this call. The model reads either.
            **kwargs: ignored.

        Returns:
            - `pixel_values`: (images, 1 + crops, channels, crop height, crop width), the view of
              the whole first, then crops row by row, then zeros.
            - `image_sizes`: (images, 2), height and width in pixels after resizing and padding.
            - `num_img_tokens`: (images,).

        Raises:
            TypeError: something is not a picture.
            ValueError: there is no picture; `num_crops` is below 1; a picture is so narrow that
                nothing is left of it; a picture is not RGB and may not be converted.
        """
        most = self.num_crops if num_crops is None else num_crops
        pictures = [self._read(image) for image in _flatten(images)]
        if not pictures:
            raise ValueError("No picture was given. Leave images out for text alone.")
        planes = [self._fit(picture, most) for picture in pictures]
        sizes = [(plane.shape[1], plane.shape[2]) for plane in planes]
        crops = max(self._grid(size)[0] * self._grid(size)[1] for size in sizes)
        shape = (len(planes), 1 + (most if pad_to_num_crops else crops), 3, *[self.crop_size] * 2)
        # numpy's zeros are pages never touched, where torch's are written: padding costs nothing.
        pixel_values = torch.from_numpy(np.zeros(shape, dtype=np.float32))
        for plane, places in zip(planes, pixel_values, strict=True):
            self._write_crops(plane, places)
        data = {
            "pixel_values": pixel_values,
            "image_sizes": torch.tensor(sizes),
            "num_img_tokens": torch.tensor([self._count_tokens(*self._grid(s)) for s in sizes]),
        }
        return BatchFeature(data, tensor_type=return_tensors)

    def count_image_tokens(self, height: int, width: int, num_crops: int | None = None) -> int:
        """Tokens that a picture of this size, in pixels, becomes. No pixel is touched."""
        most = self.num_crops if num_crops is None else num_crops
        rows, columns = fit_to_crops(height, width, most, self.crop_size).grid(self.crop_size)
        return self._count_tokens(rows, columns)

    def to_dict(self) -> dict[str, Any]:
        """What is written to `preprocessor_config.json`: the published keys."""
        written: dict[str, Any] = super().to_dict()
        written["processor_class"] = "Phi3VProcessor"
        if self.crop_size == CROP_SIZE_PX:
            written.pop("crop_size")
        return written

    def _read(self, image: Any) -> Image.Image:
        picture = _open(image)
        if picture.mode == "RGB":
            return picture
        if not self.do_convert_rgb:
            raise ValueError(
                f"A picture has mode '{picture.mode}'; RGB is expected. Convert it, or set "
                "do_convert_rgb."
            )
        return picture.convert("RGB")

    def _fit(self, picture: Image.Image, num_crops: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Resize and pad. Returns bytes (channels, height, width), both multiples of a crop."""
        fit = fit_to_crops(picture.height, picture.width, num_crops, self.crop_size)
        turned = picture.width < picture.height
        # Portraits are mirrored to landscape for the resize: Pillow rounds between its horizontal
        # and its vertical pass, so resizing them upright gives other bytes.
        if turned:
            picture = picture.transpose(Image.Transpose.TRANSPOSE)
        picture = picture.resize(
            (max(fit.height, fit.width), min(fit.height, fit.width)), Image.Resampling.BILINEAR
        )
        if turned:
            picture = picture.transpose(Image.Transpose.TRANSPOSE)
        planes = np.full((3, fit.padded_height, fit.padded_width), PADDING_LEVEL, dtype=np.uint8)
        top, left = fit.offset
        inner = planes[:, top : top + fit.height, left : left + fit.width]
        for channel in range(3):
            inner[channel] = np.asarray(picture.getchannel(channel))
        return planes

    def _write_crops(
        self, planes: np.ndarray[Any, np.dtype[np.uint8]], places: torch.Tensor
    ) -> None:
        """Write the whole and the crops of one picture into its (1 + crops, 3, side, side)."""
        rows, columns = self._grid(planes.shape[1:])
        side = self.crop_size
        levels = torch.from_numpy(planes)
        places[0] = shrink_to_crop(levels, side)
        crops = places[1 : 1 + rows * columns].view(rows, columns, 3, side, side)
        crops.copy_(levels.view(3, rows, side, columns, side).permute(1, 3, 0, 2, 4))
        mean = torch.tensor(self.image_mean).view(3, 1, 1)
        std = torch.tensor(self.image_std).view(3, 1, 1)
        # Three operations in this order, not one scale and shift: they give the published bits.
        places[: 1 + rows * columns].div_(PADDING_LEVEL).sub_(mean).div_(std)

    def _grid(self, size: Sequence[int]) -> tuple[int, int]:
        return size[0] // self.crop_size, size[1] // self.crop_size

    def _count_tokens(self, rows: int, columns: int) -> int:
        """Sub-grid, separator, whole view; each row of tokens ends with a separator of its own."""
        side = math.isqrt(self.num_img_tokens)
        return (rows * columns + 1) * self.num_img_tokens + 1 + (rows + 1) * side


class CropFit:
    """Size of a picture when resized, in pixels, and the canvas of whole crops around it."""

    def __init__(self, height: int, width: int, crop_size: int) -> None:
        self.height = height
        self.width = width
        self.padded_height = math.ceil(height / crop_size) * crop_size
        self.padded_width = math.ceil(width / crop_size) * crop_size

    @property
    def offset(self) -> tuple[int, int]:
        """Pixels of padding above and to the left; an odd pixel goes below or to the right."""
        return (self.padded_height - self.height) // 2, (self.padded_width - self.width) // 2

    def grid(self, crop_size: int) -> tuple[int, int]:
        """Rows and columns of crops."""
        return self.padded_height // crop_size, self.padded_width // crop_size


def fit_to_crops(height: int, width: int, num_crops: int, crop_size: int) -> CropFit:
    """Find the largest size whose crops number at most `num_crops`.

    The longer side fills its crops; small pictures are enlarged. All sizes are in pixels.

    >>> fit = fit_to_crops(height=1008, width=1344, num_crops=4, crop_size=336)
    >>> (fit.height, fit.width), fit.grid(336)
    ((504, 672), (2, 2))

    Raises:
        ValueError: `num_crops` is below 1, or the shorter side would vanish.
    """
    if num_crops < 1:
        raise ValueError(f"num_crops is {num_crops}; a picture needs at least 1.")
    # These are the published operations on floats. Integer arithmetic gives other heights for
    # some shapes (21:19, 24:17).
    ratio = max(height, width) / min(height, width)
    scale = 1
    while (scale + 1) * math.ceil((scale + 1) / ratio) <= num_crops:
        scale += 1
    longer = scale * crop_size
    shorter = int(longer / ratio)
    if shorter < 1:
        raise ValueError(
            f"A picture of {width} x {height} px is too narrow: its shorter side would vanish when "
            f"the longer is {longer} px. Cut it, or raise num_crops (now {num_crops})."
        )
    if width < height:
        return CropFit(longer, shorter, crop_size)
    return CropFit(shorter, longer, crop_size)


def shrink_to_crop(levels: torch.Tensor, side: int) -> torch.Tensor:
    """Sample (channels, height, width) down to (channels, side, side), bicubic, not antialiased.

    Height and width are multiples of `side`, so every sample falls either on a pixel or halfway
    between two: a slice, or four slices with fixed weights. It is what
    `torch.nn.functional.interpolate(..., mode="bicubic")` computes, without a float copy of the
    picture. Values may leave the range of the input, as there.
    """
    for axis in (1, 2):
        levels = _shrink_axis(levels, axis, side)
    return levels


def _shrink_axis(levels: torch.Tensor, axis: int, side: int) -> torch.Tensor:
    size = levels.shape[axis]
    scale = size // side
    if scale % 2:
        return _take_every(levels, axis, scale // 2, scale)
    border = [levels.narrow(axis, at, 1) for at in (0, size - 1)]
    bordered = torch.cat((border[0], levels, border[1]), dim=axis)
    first = scale // 2 - 1  # of the four neighbours, the border counted
    total = _take_every(bordered, axis, first, scale).narrow(axis, 0, side)
    total = total * HALFWAY_CUBIC_WEIGHTS[0]
    for shift, weight in enumerate(HALFWAY_CUBIC_WEIGHTS[1:], start=1):
        neighbours = _take_every(bordered, axis, first + shift, scale)
        total.add_(neighbours.narrow(axis, 0, side), alpha=weight)
    return total


def _take_every(levels: torch.Tensor, axis: int, first: int, step: int) -> torch.Tensor:
    taken = (slice(None),) * axis + (slice(first, None, step),)
    return levels[taken].float()


def _flatten(images: Any) -> list[Any]:
    if isinstance(images, list | tuple):
        return [image for nested in images for image in _flatten(nested)]
    return [] if images is None else [images]


def _open(image: Any) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, str | Path):
        return load_image(str(image))  # type: ignore[no-any-return]
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        return Image.fromarray(image)
    raise TypeError(
        f"A picture is a {type(image).__name__}; a Pillow image, an array of bytes "
        "(height, width, 3), a path or a URL is expected."
    )
