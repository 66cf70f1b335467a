"""Turn the units of the game Wesnoth into a table and pictures that `loupe build` reads.

    python prepare.py CORE_FOLDER OUTPUT_FOLDER

CORE_FOLDER is `data/core` of the game: its units are declared in `units/*/*.cfg` and drawn in
`images/units/`. A unit has a name, a race and a price in gold, and many small pictures: standing,
attacking, defending, as a woman and as a man. All pictures of one unit are one family, so that a
test unit was never seen. Drawn by the authors of The Battle for Wesnoth (https://www.wesnoth.org),
GPL 2 or later.
"""

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

SIDE_PX = 144
ENLARGED = 2
GROUND = (214, 210, 200)


class Unit(NamedTuple):
    """What the game says of a unit; `image` is the file it stands by, below `images/`."""

    name: str
    race: str
    cost: int
    level: int
    image: str


def read_units(core: Path) -> Iterator[Unit]:
    """Read the units that can be bought: those with a name, a race, a cost and a picture."""
    for path in sorted((core / "units").glob("*/*.cfg")):
        text = path.read_text("utf-8")
        for name, value in re.findall(r"^#define (\w+)\n(.*?)#enddef", text, re.M | re.S):
            text = text.replace(f"{{{name}}}", value.strip())
        for block in re.findall(r"^\[unit_type\]\n(.*?)^\[/unit_type\]", text, re.M | re.S):
            # What is indented once is its own; what is indented further belongs to its parts.
            values = dict(re.findall(r'^ {4}(\w+) *=(?: *_)? *"?([^"\n]*)"?', block, re.M))
            if {"name", "race", "cost", "image"} <= set(values):
                yield Unit(
                    values["name"].rpartition("^")[2],
                    values["race"],
                    int(values["cost"]),
                    int(values["level"]),
                    values["image"].partition("~")[0],
                )


def find_owners(units: list[Unit], images: Path) -> Iterator[tuple[Path, Unit]]:
    """Give each picture to the unit with the longest name that begins the picture's."""
    stems = {unit.image.removesuffix(".png"): unit for unit in units}
    for path in sorted((images / "units").rglob("*.png")):
        name = path.relative_to(images).with_suffix("").as_posix()
        pieces = re.split(r"([-+])", name)
        begins = ("".join(pieces[:count]) for count in range(len(pieces), 0, -2))
        unit = next((stems[begin] for begin in begins if begin in stems), None)
        if unit is not None:
            yield path, unit


def draw(path: Path) -> Image.Image | None:
    """Put a figure in the middle of a ground, enlarged without blur; None where there is none."""
    with Image.open(path) as opened:
        picture = opened.convert("RGBA")
    box = picture.getchannel("A").getbbox()
    if box is None:
        return None
    figure = picture.crop(box)
    figure = figure.resize((figure.width * ENLARGED, figure.height * ENLARGED), Image.NEAREST)
    ground = Image.new("RGBA", (max(SIDE_PX, figure.width), max(SIDE_PX, figure.height)), GROUND)
    place = (ground.width - figure.width) // 2, (ground.height - figure.height) // 2
    ground.alpha_composite(figure, place)
    return ground.convert("RGB")


def main(core: Path, output: Path) -> None:
    """Write OUTPUT/wesnoth.csv and OUTPUT/images/."""
    images = output / "images"
    images.mkdir(parents=True, exist_ok=True)
    units = list(read_units(core))
    count = 0
    with (output / "wesnoth.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "name", "race", "cost", "level", "unit", "image"])
        for path, unit in find_owners(units, core / "images"):
            drawn = draw(path)
            if drawn is None:
                continue
            place = path.relative_to(core / "images" / "units").with_suffix("").as_posix()
            name = re.sub(r"[^\w.-]", "_", place)
            drawn.save(images / f"{name}.png")
            row = [unit.name, unit.race, unit.cost, unit.level, unit.image]
            table.writerow([place, *row, f"images/{name}.png"])
            count += 1
    print(f"Wrote {count} pictures of {len(units)} units to {output / 'wesnoth.csv'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
