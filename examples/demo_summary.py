"""The figures of a demo run, read off what its stages wrote; the last line is one JSON object."""

import json
import sys
import time
from pathlib import Path
from typing import Any

CATEGORY = "evaluate/category3_code_accuracy"
PRICE = "evaluate/full_price_median_ape"
TITLE = "evaluate/title_token_f1"


def figures(folder: Path, started: float) -> dict[str, Any]:
    """Collect the figures of the demo in `folder`; `started` is in seconds since the epoch."""
    scores = json.loads((folder / "evaluation" / "scores.json").read_text("utf-8"))
    training = json.loads((folder / "model" / "training.json").read_text("utf-8"))
    model, gain = scores["scores"], scores["picture_gain"]
    intervals = scores["certainty"]["prices"]["full_price"]
    true_median = scores["baselines"]["median_of_true_category3_code"]
    said, free = (scores["variants"][name]["scores"] for name in ("said", "free"))
    return {
        "category_accuracy": model[CATEGORY]["value"],
        "colour_accuracy": model["evaluate/colour_word_accuracy"]["value"],
        "pattern_accuracy": model["evaluate/pattern_word_accuracy"]["value"],
        "title_token_f1": model[TITLE]["value"],
        "parse_rate": model["evaluate/parse_rate"]["value"],
        "parse_rate_free": free["evaluate/parse_rate"]["value"],
        "price_median_ape": model[PRICE]["value"],
        "price_median_ape_as_said": said[PRICE]["value"],
        "price_median_ape_best_possible": scores["best_possible"][PRICE]["value"],
        "price_median_ape_category_median": true_median["scores"][PRICE]["value"],
        "price_interval_coverage": intervals["coverage"]["value"],
        "price_interval_width": intervals["median_relative_width"]["value"],
        "picture_gain_category": gain[CATEGORY]["blind"]["value"],
        "picture_gain_category_low": min(twin["low"] for twin in twins_of(gain[CATEGORY])),
        "picture_gain_price_low": min(twin["low"] for twin in twins_of(gain[PRICE])),
        "baselines_beaten": not any(
            scores["beaten"][name]["not_beaten"] for name in (TITLE, PRICE)
        ),
        "blind_category_accuracy": scores["twins"]["blind"]["scores"][CATEGORY]["value"],
        "shuffled_category_accuracy": scores["twins"]["shuffled"]["scores"][CATEGORY]["value"],
        "constant_category_accuracy": scores["baselines"]["constant"]["scores"][CATEGORY]["value"],
        "test_products": scores["counts"]["rows"],
        "train_seconds": training["seconds"],
        "total_seconds": round(time.time() - started, 1),
        "report": str(folder / "evaluation" / "report.html"),
    }


def twins_of(gain: dict[str, Any]) -> list[dict[str, float]]:
    """Give the gains over the blind and over the shuffled twin."""
    return [gain["blind"], gain["shuffled"]]


if __name__ == "__main__":
    print(json.dumps(figures(Path(sys.argv[1]), float(sys.argv[2]))))
