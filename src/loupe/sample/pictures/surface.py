"""Surfaces: the colours, cloth and pattern of a part, and what polished metal mirrors."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from loupe.sample.goods import ACCENT_RGB, COLOURS
from loupe.sample.pictures.pattern import Plane

METAL_RAMPS: dict[str, tuple[tuple[float, int, int, int], ...]] = {
    "gold": (
        (0.0, 74, 42, 6), (0.2, 150, 98, 22), (0.36, 232, 180, 70), (0.47, 255, 243, 190),
        (0.56, 222, 166, 58), (0.72, 128, 80, 16), (0.86, 250, 214, 112), (1.0, 255, 252, 228),
    ),
    "silver": (
        (0.0, 46, 50, 58), (0.2, 112, 118, 128), (0.36, 196, 202, 210), (0.47, 255, 255, 255),
        (0.56, 184, 190, 200), (0.72, 84, 90, 100), (0.86, 222, 227, 233), (1.0, 255, 255, 255),
    ),
    "gunmetal": (
        (0.0, 20, 21, 25), (0.3, 66, 68, 75), (0.47, 150, 154, 162), (0.6, 60, 62, 68),
        (0.8, 34, 35, 40), (1.0, 120, 124, 132),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Surface:
    """What a part is made of: colours in 0..255, a cloth, and a pattern with its scale."""

    rgb: tuple[int, int, int]
    cloth: str = "cotton"
    pattern: str = "plain"
    accent: tuple[int, int, int] = (0, 0, 0)
    scale: float = 1.0
    block_at: float = 57.0

    def plain(self, cloth: str | None = None) -> "Surface":
        """The same colour without the pattern."""
        return replace(self, pattern="plain", cloth=cloth or self.cloth)

    def tinted(self, factor: float) -> "Surface":
        """The same surface, darker (below 1) or lighter (above 1)."""
        return replace(self, rgb=shade_rgb(self.rgb, factor), accent=shade_rgb(self.accent, factor))


def shade_rgb(rgb: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    """The colour times a factor below 1, or moved towards white by a factor above 1."""
    if factor <= 1:
        r, g, b = (round(channel * factor) for channel in rgb)
    else:
        r, g, b = (round(channel + (255 - channel) * (factor - 1)) for channel in rgb)
    return r, g, b


def named_surface(
    colour: str, accent: str, pattern: str, cloth: str, scale: float = 1.0, block_at: float = 57.0
) -> Surface:
    """The surface of a product's main cloth."""
    return Surface(COLOURS[colour], cloth, pattern, ACCENT_RGB[accent], scale, block_at)


def albedo(surface: Surface, share: Plane | None) -> Plane:
    """(channels, rows, columns), or (channels, 1, 1) where the colour is the same everywhere."""
    ground = channels_of(surface.rgb)
    if share is None:
        return ground
    mixed: Plane = ground + share * (channels_of(surface.accent) - ground)
    return mixed


def channels_of(rgb: tuple[int, int, int]) -> Plane:
    """(channels, 1, 1): a colour of 0..255 as shares of full strength."""
    channels: Plane = (np.asarray(rgb, np.float32) / np.float32(255)).reshape(3, 1, 1)
    return channels


@lru_cache(maxsize=4)
def metal_ramp(metal: str) -> Plane:
    """(channels, 256): what the metal mirrors, from its darkest to its brightest side."""
    stops = np.array(METAL_RAMPS[metal], dtype=float)
    places = np.linspace(0, 1, 256)
    channels = [np.interp(places, stops[:, 0], stops[:, i]) for i in (1, 2, 3)]
    ramp: Plane = (np.stack(channels) / 255.0).astype(np.float32)
    return ramp
