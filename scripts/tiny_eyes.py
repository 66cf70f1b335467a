"""The eyes of the tiny base: its tower and projection, with a reading of every attribute."""

from collections.abc import Callable, Mapping, Sequence

import torch
from tiny_goods import DETAILS, visible
from torch import nn
from torch.nn.utils import parametrize

from loupe.phi3_v import Phi3VForCausalLM
from loupe.sample import Product

ATTRIBUTES = ("kind", *DETAILS)
LABEL_IGNORED = -100
LEAST_SPREAD = 1e-3  # of a patch's mean square: what is fainter is as it was drawn, noise
FINE_DETAIL = 0.1  # how strongly detail is seen at first, where the mean square of a patch is 1


class Eyes(nn.Module):
    """A model's tower and projection, and one linear reading of each attribute.

    The readings are of the mean feature of a picture, and are thrown away after pretraining.

    Args:
        model: whose eyes they are; the weights are shared.
        products: what the values of the attributes are taken from.
    """

    def __init__(self, model: Phi3VForCausalLM, products: Sequence[Product]) -> None:
        super().__init__()
        self.vision = model.model.vision_embed_tokens
        self.values = [sorted({visible(p, name) for p in products}) for name in ATTRIBUTES]
        self.norm = nn.LayerNorm(model.config.hidden_size)
        self.readings = nn.ModuleList(
            nn.Linear(model.config.hidden_size, len(values)) for values in self.values
        )

    def get_output_embeddings(self) -> None:
        """Tell the optimizer that there are no embeddings of words here."""

    def label(self, products: Sequence[Product]) -> torch.Tensor:
        """Give the attributes as (products, attributes); what no picture shows is ignored."""
        labels = [
            [
                values.index(visible(product, name))
                if visible(product, name) or name != "accent"
                else LABEL_IGNORED
                for name, values in zip(ATTRIBUTES, self.values, strict=True)
            ]
            for product in products
        ]
        return torch.tensor(labels)

    def read(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Read features of pictures, each (tokens, hidden): (pictures, values) per attribute."""
        means = self.norm(torch.stack([each.mean(dim=0) for each in features]))
        return [reading(means) for reading in self.readings]

    def loss(self, features: Sequence[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        """Give the sum over attributes of the mean cross-entropy."""
        terms = [
            nn.functional.cross_entropy(logits, labels[:, index], ignore_index=LABEL_IGNORED)
            for index, logits in enumerate(self.read(features))
        ]
        return torch.stack(terms).sum()

    def count_right(
        self, features: Sequence[torch.Tensor], products: Sequence[Product]
    ) -> dict[str, float]:
        """Give the share that is read right of each attribute, where the picture shows it."""
        right = {}
        for index, (name, logits) in enumerate(zip(ATTRIBUTES, self.read(features), strict=True)):
            shown = [at for at, product in enumerate(products) if visible(product, name)]
            told = [self.values[index][each] for each in logits.argmax(dim=-1)[shown].tolist()]
            pairs = zip(shown, told, strict=True)
            hits = [visible(products[at], name) == value for at, value in pairs]
            right[name] = round(sum(hits) / len(hits), 3)
        return right


class _Whitened(nn.Module):
    """Weights, (out, channels, height, width), of patches that are whitened: as those of pixels."""

    def __init__(self, whiten: torch.Tensor, colour: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("whiten", whiten)
        self.register_buffer("colour", colour)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return (weight.flatten(1) @ self.whiten).view_as(weight)

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        return (weight.flatten(1) @ self.colour).view_as(weight)


def whiten_patches(eyes: Eyes, shown: Mapping[str, torch.Tensor]) -> Callable[[], None]:
    """Learn the patch embedding in a space where all detail of patches is as strong.

    Pixels beside each other are alike, so that nearly all of a patch is its colour, and weights
    that follow the pixels learn grain last. Some of it is seen from the start.

    Args:
        eyes: whose patch embedding it is.
        shown: prepared pictures, `pixel_values` as (pictures, crops, channels, height, width).

    Returns:
        What makes the weights those of pixels again, when they are learnt.
    """
    [embedding] = (each for each in eyes.modules() if isinstance(each, nn.Conv2d))
    pixels = shown["pixel_values"].flatten(0, 1)
    size = embedding.kernel_size[0]
    patches = nn.functional.unfold(pixels, size, stride=size).transpose(1, 2).flatten(0, 1)
    spread, axes = torch.linalg.eigh(patches.T @ patches / len(patches))
    scale = (spread + LEAST_SPREAD * spread.mean()).sqrt()
    whitened = _Whitened(axes / scale @ axes.T, axes * scale @ axes.T)
    parametrize.register_parametrization(embedding, "weight", whitened)
    with torch.no_grad():
        weight = embedding.parametrizations["weight"].original
        weight += FINE_DETAIL * torch.randn_like(weight)
    return lambda: parametrize.remove_parametrizations(embedding, "weight")
