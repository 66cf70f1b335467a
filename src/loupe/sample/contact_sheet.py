"""The contact sheet: one picture of many products with their titles and prices."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from loupe.sample.catalogue import Product
from loupe.sample.table import image_path

CELL_PX = 224
CAPTION_PX = 46
GAP_PX = 6
COLUMNS = 8
TITLE_PX = 12.0
MAX_ROWS = 6
PAPER = (255, 255, 255)
INK, PALE_INK = (28, 28, 32), (120, 120, 128)


def draw_contact_sheet(products: Sequence[Product], folder: Path) -> Image.Image:
    """The sheet of the pictures under a folder, each kind in turn until the sheet is full."""
    chosen = _choose(products, COLUMNS * MAX_ROWS)
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    step_x, step_y = CELL_PX + GAP_PX, CELL_PX + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (columns * step_x + GAP_PX, rows * step_y + GAP_PX), PAPER)
    for index, product in enumerate(chosen):
        corner = (GAP_PX + index % columns * step_x, GAP_PX + index // columns * step_y)
        with Image.open(folder / image_path(product)) as picture:
            cell = picture.convert("RGB").resize((CELL_PX, CELL_PX), Image.Resampling.LANCZOS)
            sheet.paste(cell, corner)
        _write_caption(sheet, product, (corner[0] + 2, corner[1] + CELL_PX + 4))
    return sheet


def _choose(products: Sequence[Product], count: int) -> list[Product]:
    """Products of as many kinds as there are, in an order that mixes them, one per family."""
    families: set[int] = set()
    seen: dict[str, int] = {}
    ranked = []
    for index, product in enumerate(products):
        if product.family_id in families:
            continue
        families.add(product.family_id)
        rank = seen.get(product.kind, 0)
        seen[product.kind] = rank + 1
        ranked.append((rank, index, product))
    return [product for _, _, product in sorted(ranked, key=lambda entry: entry[:2])[:count]]


def _write_caption(sheet: Image.Image, product: Product, corner: tuple[int, int]) -> None:
    draw = ImageDraw.Draw(sheet)
    size = TITLE_PX
    while draw.textlength(product.title, font=ImageFont.load_default(size)) > CELL_PX - 4:
        size -= 0.5
    draw.text(corner, product.title, INK, ImageFont.load_default(size))
    price = f"${product.full_price:,.0f}"
    draw.text((corner[0], corner[1] + 18), price, PALE_INK, ImageFont.load_default(TITLE_PX))
