"""The report's part on certainty: do intervals hold the truth, is confidence the share of right."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from loupe.evaluate.certainty import Certainty, ChoiceCertainty, PriceCertainty
from loupe.evaluate.evaluation import Evaluation
from loupe.evaluate.intervals import Interval
from loupe.evaluate.report.curves import draw_reliability, draw_risk

__all__ = ["render_certainty"]


def render_certainty(evaluation: Evaluation) -> Iterator[str]:
    """Say what was promised and what held, and draw it; nothing without a calibration."""
    certainty = evaluation.certainty
    if certainty is None:
        return
    lines = [
        *certainty.notes,
        *(line for each in certainty.prices for line in _price_lines(certainty, each)),
        *(_choice_line(each) for each in certainty.choices),
    ]
    yield f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
    yield f'<div class="curves">{"".join(_figures(certainty))}</div>'
    for price in certainty.prices:
        if price.categories:
            yield _category_table(price)


def _price_lines(certainty: Certainty, price: PriceCertainty) -> Iterator[str]:
    rows, scores = price.coverage_by_rows, price.scores
    yield (
        f"{price.field}: intervals of {100 * certainty.coverage:g} % hold the truth in "
        f"{_percent(scores['coverage'])} of answers ({_percent(rows)} if rows, not groups, are "
        f"drawn); median width {_percent(scores['median_relative_width'])} of the price."
    )
    if not price.given:
        return
    aim = f"an error of at most {100 * price.error:g} %"
    if price.selection is None:
        yield f"{price.field}: {aim} is shown for no share of the calibration's rows."
        return
    hits = f"{_percent(price.given['hits'])} of them are so near" if "hits" in price.given else ""
    yield (
        f"{price.field}: for {aim}, {100 * price.selection.share:.0f} % of the calibration's rows "
        f"are answered; here {_percent(price.given['share'])}. {hits}"
    )


def _choice_line(choice: ChoiceCertainty) -> str:
    before, after = choice.scores["error_before"], choice.scores["error_after"]
    return (
        f"{choice.field}: confidence is off by {_percent(after)} (expected calibration error), by "
        f"{_percent(before)} before calibration; temperature {choice.temperature:.3g}."
    )


def _figures(certainty: Certainty) -> Iterator[str]:
    for price in certainty.prices:
        title = f"{price.field}: share of answers off by more than {100 * price.error:g} %"
        yield _figure(
            title,
            "dashed: the calibration's rows",
            draw_risk(price.risk, price.expected_risk, title),
        )
    for choice in certainty.choices:
        parts = (("before", choice.bins_before), ("after", choice.bins_after))
        for name, bins in parts:
            title = f"{choice.field}: right by confidence, {name} calibration"
            yield _figure(title, "on the dashed line it is right", draw_reliability(bins, title))


def _figure(title: str, remark: str, drawn: str) -> str:
    return (
        f"<figure><figcaption>{escape(title)} <small>{escape(remark)}</small></figcaption>{drawn}"
        "</figure>"
    )


def _category_table(price: PriceCertainty) -> str:
    lines = "".join(
        f'<tr><th scope="row" dir="auto">{escape(name)}</th><td>{rows:,}</td>'
        f"<td>{'its own' if own else 'shared'}</td>"
        + "".join(
            f"<td>{_percent(scores[each]) if each in scores else '–'}</td>"
            for each in ("coverage", "median_relative_width")
        )
        + "</tr>"
        for name, (rows, own, scores) in price.categories.items()
    )
    return (
        f"<h3>{escape(price.field)} by answered category</h3><div class='scroll'><table>"
        "<thead><tr><td></td><th scope='col'>rows</th><th scope='col'>quantile</th>"
        "<th scope='col'>truth within the interval</th><th scope='col'>median width</th></tr>"
        f"</thead><tbody>{lines}</tbody></table></div>"
    )


def _percent(interval: Interval) -> str:
    value, low, high = (100 * each for each in (interval.value, interval.low, interval.high))
    return f"{value:.1f} % ({low:.1f} to {high:.1f} %)"
