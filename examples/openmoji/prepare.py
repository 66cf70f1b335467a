"""Turn the npm package `openmoji` into a table and pictures that `loupe build` reads.

    python prepare.py PACKAGE_FOLDER OUTPUT_FOLDER

OpenMoji (https://openmoji.org) is drawn by its authors under CC BY-SA 4.0. A family is a drawing
with its skin tones, so that no tone of a test picture is trained on.
"""

import csv
import io
import sys
from pathlib import Path

import resvg_py
from PIL import Image

SIZE_PX = 144


def draw(svg: Path) -> Image.Image:
    """Draw a vector picture on white."""
    drawn = bytes(resvg_py.svg_to_bytes(svg_path=str(svg), width=SIZE_PX, height=SIZE_PX))
    picture = Image.open(io.BytesIO(drawn)).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def main(package: Path, output: Path) -> None:
    """Write OUTPUT/openmoji.csv and OUTPUT/images/."""
    images = output / "images"
    images.mkdir(parents=True, exist_ok=True)
    with (package / "data" / "openmoji.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (output / "openmoji.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "title", "group", "subgroup", "family", "image"])
        for row in rows:
            name = f"{row['hexcode']}.png"
            draw(package / "color" / "svg" / f"{row['hexcode']}.svg").save(images / name)
            family = row["skintone_base_hexcode"] or row["hexcode"]
            title, group, subgroup = row["annotation"], row["group"], row["subgroups"]
            table.writerow([row["hexcode"], title, group, subgroup, family, f"images/{name}"])
    print(f"Wrote {len(rows)} rows to {output / 'openmoji.csv'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
