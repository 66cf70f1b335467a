"""The page: one HTML file with nothing fetched from elsewhere, its template beside this file."""

import base64
from collections.abc import Iterator, Mapping
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from loupe.build.profile.bars import Bar, draw_bars, rank, spread
from loupe.build.profile.material import Example, Material, Tile, read_material
from loupe.build.splits import SPLITS
from loupe.task import Task

__all__ = ["write_profile"]

_FILE = "profile.html"
_MOST_VALUES = 20
_SIDES_PX = (64, 128, 224, 336, 512, 768, 1024, 1600, 2400)
_GROUP_SIZES = (1, 2, 3, 4, 6, 10, 20, 50)
_RULES = {
    "title": "the same title",
    "id": "the same id",
    "group_by": "the same columns of group_by",
    "picture": "identical pixels",
    "likeness": "near-identical pictures",
    "embedding": "pictures that a model sees alike",
}


def write_profile(folder: Path, task: Task, source: str, record: Mapping[str, Any]) -> None:
    """Write the page of a dataset whose other files are written.

    `record` is what dataset.json says of counts, split and further pictures.
    """
    counts, split = record["counts"], record["split"]
    material = read_material(folder, task)
    template = Template(resources.files(__package__).joinpath("page.html").read_text("utf-8"))
    kept = sum(counts[name] for name in SPLITS)
    page = template.substitute(
        style=resources.files("loupe").joinpath("page.css").read_text("utf-8"),
        title=escape(source),
        verdict=f"{kept:,} of {counts['read']:,} rows kept, in {split['audit']['groups']:,} groups "
        "that stay whole",
        facts=_list_facts(
            {"source": source, "policy": split["policy"], "seed": split["seed"]}
            | _tell_more(record.get("more_images"))
        ),
        cards="".join(_show_cards(counts, split["audit"])),
        rejected=_show_rejected(counts["rejected"], material.examples),
        values="\n".join(_draw_values(material)),
        pictures="\n".join(_draw_pictures(material)),
        groups="\n".join(_draw_groups(material, split["audit"])),
        audit="".join(_show_audit(split["audit"], counts["test"])),
        tiles="".join(map(_show_tile, material.tiles)),
    )
    (folder / _FILE).write_text(page, "utf-8")


def _tell_more(more: Mapping[str, Any] | None) -> dict[str, str]:
    if more is None:
        return {}
    left_out = "".join(f", {reason} {count:,}" for reason, count in more["left_out"].items())
    return {"further pictures": f"{more['kept']:,} of {more['named']:,} kept{left_out}"}


def _list_facts(facts: Mapping[str, Any]) -> str:
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>"
        for name, value in facts.items()
    )


def _show_cards(counts: Mapping[str, Any], audit: Mapping[str, Any]) -> Iterator[str]:
    rejected = sum(counts["rejected"].values())
    by_split = {name: f"{counts[name]:,}" for name in SPLITS}
    yield _show_card("Kept", f"{sum(counts[name] for name in SPLITS):,}", "rows", by_split)
    reasons = {reason: f"{rows:,}" for reason, rows in list(counts["rejected"].items())[:3]}
    yield _show_card("Rejected", f"{rejected:,}", f"{rejected / counts['read']:.1%}", reasons)
    random = f"{audit['test_rows_leaked_if_random']:,.0f} of {counts['test']:,}"
    leaked = {"in a random split": random, "largest group": f"{audit['largest_group_rows']:,} rows"}
    yield _show_card("Leaked", f"{audit['test_rows_leaked']:,}", "test rows", leaked)
    if error := audit.get("neighbour_price_error"):
        beside = {"in a random split": f"{error['random_split']:.0%}"}
        note = "off, the nearest picture's price"
        yield _show_card("Neighbour", f"{error['this_split']:.0%}", note, beside)


def _show_card(heading: str, big: str, note: str, lines: Mapping[str, str]) -> str:
    listed = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in lines.items())
    return (
        f'<article class="card"><h3>{heading}</h3><p class="big">{big}</p>'
        f'<p class="range">{note}</p><dl>{listed}</dl></article>'
    )


def _show_rejected(counts: Mapping[str, int], examples: Mapping[str, list[Example]]) -> str:
    if not counts:
        return "<p>No row was rejected.</p>"
    lines = (
        f'<tr><th scope="row">{escape(reason)}</th><td>{rows:,}</td><td>'
        + "".join(
            f"<div>row {each.row_number:,} ({escape(each.row_id)}): {escape(each.detail)}</div>"
            for each in examples[reason]
        )
        + "</td></tr>"
        for reason, rows in counts.items()
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Rejected rows"><table>'
        "<thead><tr><th>reason</th><th>rows</th><th>the first of them</th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _draw_values(material: Material) -> Iterator[str]:
    for name, numbers in material.numbers.items():
        yield draw_bars(name, "rows by range", spread(numbers))
    for name, counts in material.choices.items():
        values = len(set().union(*counts.values()))
        yield draw_bars(name, f"{values:,} values", rank(counts, _MOST_VALUES))


def _draw_pictures(material: Material) -> Iterator[str]:
    edges = [0, *_SIDES_PX, np.inf]
    counts = [np.histogram(material.sides_px[split] - 0.5, edges)[0].tolist() for split in SPLITS]
    labels = [*(f"up to {side:,} px" for side in _SIDES_PX), f"above {_SIDES_PX[-1]:,} px"]
    bars = [(label, parts) for label, parts in zip(labels, zip(*counts, strict=True), strict=True)]
    yield draw_bars("Longest side", "rows", [bar for bar in bars if sum(bar[1])])
    sizes: list[Bar] = [
        (f"{width:,} × {height:,} px", [rows])
        for (width, height), rows in material.picture_sizes.most_common(len(_SIDES_PX))
    ]
    yield draw_bars("Commonest sizes", f"of {len(material.picture_sizes):,}", sizes)


def _draw_groups(material: Material, audit: Mapping[str, Any]) -> Iterator[str]:
    shared: list[Bar] = [
        (_RULES.get(rule, rule), [rows]) for rule, rows in audit["rows_sharing"].items()
    ]
    yield draw_bars("Why rows go together", "rows that share it with another", shared)
    edges = [*_GROUP_SIZES, np.inf]
    counts = np.histogram(material.group_sizes, edges)[0].tolist()
    bars: list[Bar] = [
        (_name_range(start, end), [groups])
        for start, end, groups in zip(_GROUP_SIZES, edges[1:], counts, strict=True)
        if groups
    ]
    yield draw_bars("Size of the groups", "groups", bars)


def _name_range(start: int, end: float) -> str:
    if end == start + 1:
        return "1 row" if start == 1 else f"{start} rows"
    return f"{start} rows or more" if np.isinf(end) else f"{start} to {end - 1:.0f} rows"


def _show_audit(audit: Mapping[str, Any], test_rows: int) -> Iterator[str]:
    yield _show_measure(
        "Test rows with a sibling in train",
        f"{audit['test_rows_leaked']:,} of {test_rows:,}",
        f"{audit['test_rows_leaked_if_random']:,.1f} expected",
    )
    if error := audit.get("neighbour_price_error"):
        yield _show_measure(
            "Price of the nearest training picture is off by (median)",
            f"{error['this_split']:.1%}",
            f"{error['random_split']:.1%}",
        )
    for name, measured in audit["unlike_test_rows"].items():
        if measured:
            yield _show_measure(
                f"Test rows to move until {name} is spread as in all rows",
                f"{measured['this_split']:.1%}",
                f"{measured['random_split']:.1%}",
            )
    for name, rows in audit["unseen_choices"].items():
        yield _show_measure(f"Held-out rows whose {name} no training row has", f"{rows:,}", "")


def _show_measure(what: str, here: str, random: str) -> str:
    return f'<tr><th scope="row">{escape(what)}</th><td>{here}</td><td>{random}</td></tr>'


def _show_tile(tile: Tile) -> str:
    picture = base64.b64encode(tile.picture).decode()
    values = "".join(
        f"<li>{escape(f'{value:,g}' if isinstance(value, float) else str(value))}</li>"
        for value in tile.values.values()
    )
    return (
        f'<div class="example"><img src="data:image/jpeg;base64,{picture}" alt="" loading="lazy">'
        f'<ul><li class="side {tile.split}">{tile.split}</li>{values}</ul></div>'
    )
