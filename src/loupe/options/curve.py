"""Options of `loupe curve`."""

from __future__ import annotations

from dataclasses import dataclass, field

from loupe.errors import OptionError
from loupe.options.train import MOST_SEED

__all__ = ["CurveOptions"]


@dataclass(frozen=True, kw_only=True)
class CurveOptions:
    """Train on shares of the rows and evaluate each, to tell what more rows would give."""

    dataset: str
    """Folder that `loupe build` wrote."""
    output: str
    """Folder to write: learning_curve.json, learning_curve.svg, and of each run its model and its
    evaluation. Finished runs are not made again."""
    model: str | None = None
    """Checkpoint folder or hub name to start from; none means that of `train`, else tiny."""
    shares: list[float] = field(default_factory=lambda: [0.125, 0.25, 0.5, 1.0])
    """Shares of the training rows, whole groups; smaller ones are within larger ones."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Seeds of rows and training; several tell how much the curve owes to chance."""
    train: str | None = None
    """YAML file of options for `loupe train`, such as the options.yaml of a model: with epochs all
    shares are passed over as often, with max_steps all make as many steps; none means defaults."""
    evaluate: str | None = None
    """YAML file of options for `loupe evaluate`; none means defaults, without baselines."""

    def __post_init__(self) -> None:
        are_seeds = self.seeds and all(0 <= seed <= MOST_SEED for seed in self.seeds)
        if not self.shares or not all(0 < share <= 1 for share in self.shares) or not are_seeds:
            raise OptionError(
                f"shares is {self.shares} and seeds {self.seeds}; expected shares above 0 and at "
                f"most 1, and at least one seed, each 0 to {MOST_SEED}."
            )
