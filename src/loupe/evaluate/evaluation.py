"""What an evaluation found, and how it is written to scores.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loupe.evaluate.certainty import Certainty
from loupe.evaluate.intervals import Interval
from loupe.evaluate.look import Seen
from loupe.evaluate.maps import Maps
from loupe.evaluate.neighbours import Neighbours
from loupe.evaluate.slices import Slice, Slices
from loupe.evaluate.systems import Measured, Measures
from loupe.evaluate.verdict import Gain, compare, describe_gain, headlines, state_verdict
from loupe.options import EvaluateOptions

__all__ = ["FORMAT", "STAGE", "Evaluation"]

FORMAT = 1
STAGE = "evaluate/"


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured; one object for the file, the report and the terminal."""

    options: EvaluateOptions
    fingerprint: str | None
    """The dataset's."""
    measures: Measures
    seen: Seen
    model: Measured
    variants: tuple[Measured, ...]
    """The same model read in other ways: answered freely, prices as they were said."""
    twins: tuple[Measured, ...]
    baselines: tuple[Measured, ...]
    best_possible: Measured | None
    gains: tuple[Gain, ...]
    slices: Slices
    neighbours: Neighbours | None
    """None where there are no training rows."""
    maps: Maps | None
    """Which part of some pictures decided; None where it was not asked for."""
    shuffled: tuple[int, ...] | None
    """Whose picture each row had in the shuffled twin."""
    notes: tuple[str, ...]
    seconds: float
    certainty: Certainty | None = None
    """How far the model's own certainty can be trusted; None where it has no calibration."""

    @property
    def verdict(self) -> str:
        """Whether the model looks, in words."""
        return state_verdict(self.gains)

    def advantage(self, other: Measured, score: str) -> Interval | None:
        """Give how much better the model is than another; None where it has no such score."""
        if score not in other.draws or score not in self.model.draws:
            return None
        return compare(self.model, other, score, self.measures.confidence)

    def headlines(self) -> dict[str, str | None]:
        """Name the headline scores, with their fields."""
        return headlines(self.measures.task, self.model.scores)

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as plain data without NaN: the content of scores.json."""
        task, rows = self.measures.task, self.measures.rows
        return {
            "format": FORMAT,
            "verdict": self.verdict,
            "model": self.options.model,
            "dataset": {
                "path": self.options.dataset,
                "split": self.options.split,
                "fingerprint": self.fingerprint,
                "task": task.to_dict(),
            },
            "counts": {
                "rows": len(rows),
                "groups": len(set(rows.groups)),
                "unparsed": sum(answer.values is None for answer in self.seen.answers),
                "problems": _count_problems([answer.problem for answer in self.seen.answers]),
                "words": {words.column: sum(words.is_asked) for words in self.measures.words},
            },
            "confidence": self.measures.confidence,
            "scores": _scores_to_dict(self.model.scores),
            "variants": {other.system.name: self._other_to_dict(other) for other in self.variants},
            "best_possible": None
            if self.best_possible is None
            else _scores_to_dict(self.best_possible.scores),
            "baselines": {
                other.system.name: self._other_to_dict(other) for other in self.baselines
            },
            "twins": {twin.system.name: self._other_to_dict(twin) for twin in self.twins},
            "picture_gain": {STAGE + gain.score: self._gain_to_dict(gain) for gain in self.gains},
            "beaten": self._beaten(),
            "slices": [_slice_to_dict(part) for part in self.slices.all],
            "worst_slices": {
                STAGE + score: {
                    **_slice_to_dict(part),
                    "by_chance": self.slices.by_chance[score].to_dict(),
                }
                for score, part in self.slices.worst.items()
            },
            "maps": None if self.maps is None else self.maps.to_dict(rows),
            "certainty": None if self.certainty is None else self.certainty.to_dict(),
            "notes": list(self.notes),
            "options": asdict(self.options),
            "seconds": round(self.seconds, 1),
        }

    def _other_to_dict(self, other: Measured) -> dict[str, Any]:
        advantages = {score: self.advantage(other, score) for score in self.headlines()}
        return {
            "label": other.system.label,
            "is_oracle": other.system.is_oracle,
            "scores": _scores_to_dict(other.scores),
            "models_advantage": _scores_to_dict(
                {score: advantage for score, advantage in advantages.items() if advantage}
            ),
        }

    def _gain_to_dict(self, gain: Gain) -> dict[str, Any]:
        return {
            "field": gain.field,
            "looks": gain.looks if gain.by_twin else None,
            "text": describe_gain(self.measures.task, gain),
            **{twin: interval.to_dict() for twin, interval in gain.by_twin.items()},
        }

    def _beaten(self) -> dict[str, dict[str, list[str]]]:
        """Name the baselines that the model clearly beats in each headline score, and the rest."""
        beaten: dict[str, dict[str, list[str]]] = {}
        for score in self.headlines():
            held = beaten.setdefault(STAGE + score, {"beaten": [], "not_beaten": []})
            for other in self.baselines:
                advantage = self.advantage(other, score)
                if advantage is not None:
                    held["beaten" if advantage.low > 0 else "not_beaten"].append(other.system.name)
        return beaten


def _scores_to_dict(scores: dict[str, Interval]) -> dict[str, Any]:
    return {STAGE + name: interval.to_dict() for name, interval in scores.items()}


def _slice_to_dict(part: Slice) -> dict[str, Any]:
    return {
        "by": part.by,
        "name": part.name,
        "rows": part.rows,
        "scores": _scores_to_dict(part.scores),
    }


def _count_problems(problems: Sequence[str | None]) -> dict[str, int]:
    """Count problems by their begin; what was found instead differs from row to row."""
    kinds = Counter(problem.partition(", found")[0] for problem in problems if problem)
    return dict(kinds.most_common(20))
