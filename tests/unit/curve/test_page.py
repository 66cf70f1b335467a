"""The curve as text and as a drawing."""

import xml.etree.ElementTree as ET

from loupe.curve.page import describe_curve, draw

FIELDS = {"kind": {"type": "choice"}, "price": {"type": "price"}}
TASK = {"question": "?", "answer": "{kind}; {price}", "fields": FIELDS}
ACCURACY, ERROR = "evaluate/kind_accuracy", "evaluate/price_median_ape"


def run(rows, accuracy, error):
    def interval(value):
        return {"value": value, "low": value - 0.05, "high": value + 0.05}

    return {"train_rows": rows, "scores": {ACCURACY: interval(accuracy), ERROR: interval(error)}}


RECORD = {
    "task": TASK,
    "shares": [
        {"share": 0.25, "runs": [run(100, 0.6, 0.3), run(120, 0.7, 0.3)]},
        {"share": 1.0, "runs": [run(440, 0.8, 0.2), run(440, 0.9, 0.2)]},
    ],
    "steps": [
        {
            "notes": ["Few runs."],
            "from": 0.25,
            "to": 1.0,
            "scores": {
                "kind_accuracy": {
                    "advantage": {"value": 0.2, "low": 0.1, "high": 0.3},
                    "better": "second",
                }
            },
        }
    ],
}


def test_the_table_gives_the_mean_of_the_runs():
    lines = describe_curve(RECORD).splitlines()
    assert lines[1].split() == ["0.25", "110", "65.0", "%", "30.0", "%"]
    assert lines[2].split() == ["1", "440", "85.0", "%", "20.0", "%"]
    assert lines[-3:] == [
        "From share 0.25 to 1:",
        "  kind: accuracy: better, +20.0 points (+10.0 to +30.0)",
        "Note: Few runs.",
    ]


def test_the_drawing_has_a_panel_for_each_score_and_a_dot_for_each_run():
    root = ET.fromstring(draw(RECORD))
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{space}g")) == 2
    assert len(root.findall(f".//{space}circle")) == 2 * 4
    line = root.find(f".//{space}polyline").get("points").split()
    first, last = (tuple(map(float, corner.split(","))) for corner in line)
    assert first[0] < last[0]  # more rows to the right
    assert first[1] > last[1]  # higher accuracy further up


def test_a_single_share_is_drawn():
    record = {**RECORD, "shares": RECORD["shares"][:1], "steps": []}
    assert "training rows" in draw(record)
    assert describe_curve(record).splitlines()[-1].startswith("0.25")
