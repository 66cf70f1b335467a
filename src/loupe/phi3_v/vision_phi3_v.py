"""The picture side of Phi-3-Vision: from crops to the features that stand among the tokens.

A CLIP tower, a 2 x 2 merge of its patches, learnt separators and a projection, under the parameter
names of the published checkpoints (https://huggingface.co/microsoft/Phi-3-vision-128k-instruct).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from loupe.phi3_v.configuration_phi3_v import PATCHES_PER_TOKEN_SIDE, Phi3VConfig


class Phi3VVisionTower(nn.Module):
    """The CLIP tower up to its last layer but one, whose output are the picture features.

    The last layer and `post_layernorm` are in every checkpoint and never run.
    """

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.vision_model = CLIPVisionModel._from_config(config)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Encode (crops, 3, side, side) to (crops, patches, channels).

        The layers are called here, not through `CLIPVisionModel.forward`: it would run them all,
        and its record of hidden states doubles when the decoder's is asked for as well.
        """
        hidden: torch.Tensor = self.vision_model.pre_layrnorm(self.vision_model.embeddings(crops))
        for layer in self.vision_model.encoder.layers[:-1]:
            hidden = layer(hidden, attention_mask=None)
        return hidden[:, 1:]  # the class token sees no place of its own


class Phi3VImageEmbedding(nn.Module):
    """From crops to picture features: tower, 2 x 2 merge, separators, projection."""

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__()
        tower: Any = config.vision_config
        channels = PATCHES_PER_TOKEN_SIDE**2 * tower.hidden_size
        self.crop_size = config.crop_size
        self.img_processor = Phi3VVisionTower(tower)
        self.glb_GN = nn.Parameter(torch.zeros(1, 1, channels))
        self.sub_GN = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.img_projection = nn.Sequential(
            nn.Linear(channels, config.hidden_size),
            nn.GELU(),
            nn.Linear(config.hidden_size, config.hidden_size),
        )

    def forward(
        self,
        pixel_values: torch.Tensor | None,
        image_sizes: torch.Tensor,
        tower_features: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Encode pictures. For shapes see `Phi3VModel.get_image_features`."""
        grids = grids_from_sizes(image_sizes, self.crop_size)
        if tower_features is None:
            tower_features = self.encode_crops(pixel_values, image_sizes)
        elif len(tower_features) != (wanted := sum(1 + rows * columns for rows, columns in grids)):
            raise ValueError(
                f"tower_features has {len(tower_features)} crops; image_sizes tells of {wanted}. "
                "Give both of exactly the same pictures."
            )
        merged = merge_patches(tower_features)  # (crops, rows, columns, 4 * channels)
        # The projection's own dtype could be that of packed weights, where it is quantised.
        merged = merged.to(self.glb_GN.dtype)
        parts = torch.split(merged, [1 + rows * columns for rows, columns in grids])
        sequences = [self._arrange(part, *grid) for part, grid in zip(parts, grids, strict=True)]
        projected = self.img_projection(torch.cat(sequences))  # (tokens of all, hidden)
        return torch.split(projected, [len(sequence) for sequence in sequences])

    def encode_crops(self, pixel_values: Any, image_sizes: torch.Tensor) -> torch.Tensor:
        """Run the tower. For shapes see `Phi3VModel.get_tower_features`."""
        grids = grids_from_sizes(image_sizes, self.crop_size)
        features: torch.Tensor = self.img_processor(select_real_crops(pixel_values, grids))
        return features

    def _arrange(self, merged: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """Order one picture's tokens: its grid of crops, `glb_GN`, the view of the whole.

        `merged`: (1 + rows * columns, side, side, channels), the whole first. Every row of tokens
        ends with `sub_GN`. Returns (tokens, channels).
        """
        _, side, _, channels = merged.shape
        grid = merged[1:].view(rows, columns, side, side, channels).transpose(1, 2)
        grid = grid.reshape(rows * side, columns * side, channels)
        return torch.cat((self._end_rows(grid), self.glb_GN[0], self._end_rows(merged[0])))

    def _end_rows(self, grid: torch.Tensor) -> torch.Tensor:
        ends = self.sub_GN[0].expand(grid.shape[0], 1, -1)
        return torch.cat((grid, ends), dim=1).flatten(0, 1)  # (rows * (columns + 1), channels)


def grids_from_sizes(image_sizes: torch.Tensor, crop_size: int) -> list[tuple[int, int]]:
    """Rows and columns of crops of each picture, from sizes (images, 2) in pixels.

    Raises:
        ValueError: a size is no positive multiple of `crop_size`.
    """
    sizes: list[list[int]] = image_sizes.tolist()
    for height, width in sizes:
        if min(height, width) < crop_size or height % crop_size or width % crop_size:
            raise ValueError(
                f"image_sizes has {height} x {width} px; both must be multiples of {crop_size} px, "
                "the crop size of this model. Prepare pictures with the model's own processor."
            )
    return [(height // crop_size, width // crop_size) for height, width in sizes]


def select_real_crops(pixel_values: torch.Tensor, grids: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Leave out padding: (images, 1 + crops, 3, side, side) to (real crops of all, 3, side, side).

    Raises:
        ValueError: `pixel_values` holds other pictures, or fewer crops, than the grids say.
    """
    counts = [1 + rows * columns for rows, columns in grids]
    if len(pixel_values) != len(counts) or pixel_values.shape[1] < max(counts):
        raise ValueError(
            f"pixel_values holds {pixel_values.shape[0]} pictures of up to {pixel_values.shape[1]} "
            f"crops; image_sizes tells of {len(counts)} pictures of up to {max(counts)}."
        )
    return torch.cat([crops[:count] for crops, count in zip(pixel_values, counts, strict=True)])


def merge_patches(patches: torch.Tensor) -> torch.Tensor:
    """Join 2 x 2 patches to a token: (crops, side * side, channels) to (.., .., .., 4 * channels).

    Source: the space-to-depth of InternLM-XComposer2-4KHD, in the published channel order: upper
    left, upper right, lower left, lower right.
    """
    crops, count, channels = patches.shape
    step = PATCHES_PER_TOKEN_SIDE
    side = int(count**0.5) // step
    grid = patches.view(crops, side, step, side, step, channels)
    grid = grid.permute(0, 1, 3, 2, 4, 5)  # (crops, rows, columns, 2, 2, channels)
    return grid.reshape(crops, side, side, step * step * channels)
