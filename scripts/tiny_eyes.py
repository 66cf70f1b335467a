"""The eyes of the tiny base: its tower and projection, with a reading of every attribute."""

from collections.abc import Sequence

import torch
from tiny_goods import DETAILS, visible
from torch import nn

from loupe.phi3_v import Phi3VForCausalLM
from loupe.sample import Product

ATTRIBUTES = ("kind", *DETAILS)
LABEL_IGNORED = -100


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
