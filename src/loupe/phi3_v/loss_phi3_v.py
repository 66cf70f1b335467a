"""The loss of labels that may count in part: several right tokens, weights, smoothing."""

from typing import NamedTuple

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

IGNORED_LABEL = -100  # what PyTorch's cross-entropy leaves out


class LabelShares(NamedTuple):
    """What is right at each position, and by how much it counts."""

    choices: torch.Tensor
    """Token ids, (rows, tokens, choices)."""
    weights: torch.Tensor
    """By how much each choice counts, (rows, tokens, choices)."""
    smoothing: float = 0.0
    """Share of the weights that all tokens of the vocabulary divide, 0 to 1."""


def share_labels(
    labels: torch.Tensor,
    choices: torch.Tensor | None,
    weights: torch.Tensor | None,
    smoothing: float,
) -> LabelShares:
    """Bring labels (rows, tokens), or the choices that stand in for them, to one form.

    Raises:
        ValueError: one of `choices` and `weights` is given without the other.
    """
    if choices is None and weights is None:
        choices = labels.clamp(min=0).unsqueeze(2)
        weights = torch.ones(choices.shape, device=labels.device)
    if choices is None or weights is None:
        raise ValueError("label_choices and label_weights go together; give both or none.")
    return LabelShares(choices, weights, smoothing)


def score_labels(
    head: nn.Module,
    hidden: torch.Tensor,
    labels: torch.Tensor,
    chunk: int,
    num_items_in_batch: int | torch.Tensor | None = None,
    shares: LabelShares | None = None,
) -> torch.Tensor:
    """Next-token cross-entropy of labels (rows, tokens), from hidden states (rows, tokens, hidden).

    Logits exist for scored positions only, and for `chunk` of them at a time: where that is not
    all, they are computed again for their gradients. `shares` stand in for the labels where these
    are scored. The sum is divided by `num_items_in_batch`, or by the number of scored positions; it
    is 0 where there is none.
    """
    shares = shares or share_labels(labels, None, None, 0.0)
    is_scored = labels[:, 1:] != IGNORED_LABEL
    states = hidden[:, :-1][is_scored]  # (scored positions, hidden)
    choices, weights = (each[:, 1:][is_scored] for each in shares[:2])  # (.., choices)
    total = states.new_zeros((), dtype=torch.float32)

    def score(some: torch.Tensor, wanted: torch.Tensor, weighing: torch.Tensor) -> torch.Tensor:
        likelihoods: torch.Tensor = head(some).float().log_softmax(dim=-1)
        right = (likelihoods.gather(1, wanted) * weighing).sum()
        if not shares.smoothing:
            return -right
        even = (likelihoods.mean(dim=-1) * weighing.sum(dim=-1)).sum()
        return -torch.lerp(right, even, shares.smoothing)

    chunks = (torch.split(each, chunk) for each in (states, choices, weights))
    # Without scored positions there is one empty chunk, so that all weights have (zero) gradients.
    for part in zip(*chunks, strict=True):
        if len(states) > chunk and torch.is_grad_enabled():
            total = total + checkpoint(score, *part, use_reentrant=False)
        else:
            total = total + score(*part)
    return total / (max(1, len(states)) if num_items_in_batch is None else num_items_in_batch)
