"""The look of one product: its main surface, and the trims that follow from its cloth."""

from dataclasses import dataclass

from loupe.sample.catalogue import Product
from loupe.sample.goods import COLOURS
from loupe.sample.pictures.surface import Surface, named_surface

TAN = (164, 104, 58)
CREAM_THREAD = (244, 234, 210)
ORANGE_THREAD = (226, 150, 60)


@dataclass(frozen=True)
class Look:
    """What the drawing of a kind needs to know of a product."""

    product: Product
    main: Surface

    @property
    def trim(self) -> Surface:
        """Handles, belts and bases: tan leather on canvas, else the main colour without pattern."""
        if self.main.cloth == "canvas":
            return Surface(TAN, "leather")
        return self.main.plain("leather" if self.main.cloth == "tweed" else None).tinted(0.86)

    @property
    def lining(self) -> Surface:
        """What shows inside an opening: the main colour in the shade."""
        return Surface(COLOURS[self.product.colour], "cotton").tinted(0.5)

    @property
    def thread(self) -> tuple[int, int, int]:
        """Stitches: lighter than a dark cloth, darker than a light one."""
        red, green, blue = self.main.rgb
        if self.main.cloth == "canvas":
            return CREAM_THREAD if red + green + blue < 560 else TAN
        if self.main.cloth == "denim":
            return ORANGE_THREAD
        light = red + green + blue < 420
        return self.main.tinted(1.35).rgb if light else self.main.tinted(0.72).rgb

    @property
    def is_light(self) -> bool:
        """Whether black lines show well on the main colour."""
        return sum(self.main.rgb) > 500


def look_of(product: Product, scale: float = 1.0, block_at: float = 57.0) -> Look:
    """The look of a product; `scale` enlarges its pattern, at `block_at` a colour block begins."""
    main = named_surface(
        product.colour, product.accent, product.pattern, product.cloth, scale, block_at
    )
    return Look(product, main)
