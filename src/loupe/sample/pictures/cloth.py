"""Cloths: how a surface takes the light, from patent leather to tweed.

Every cloth has a cue large enough for a small picture (sheen, flecks, ribs,
                                        cables) and a finer grain
that only larger pictures show.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from loupe.sample.pictures.pattern import Plane

TILE = 256


@dataclass(frozen=True)
class Cloth:
    """How a surface looks.

    `relief` scales the height of the weave; `gloss` is the strength and `shine` the sharpness of
    highlights; `band` the strength of the studio's broad reflection; `fleck` that of light and dark
    specks, `mottle` that of worn patches; `contrast` is how strongly slopes shade.
    """

    weave: str = ""
    relief: float = 0.0
    gloss: float = 0.0
    shine: float = 20.0
    band: float = 0.0
    fleck: float = 0.0
    mottle: float = 0.0
    contrast: float = 1.0


CLOTHS: dict[str, Cloth] = {
    "leather": Cloth("pebble", 0.022, gloss=0.34, shine=42, band=0.15),
    "patent": Cloth("", 0.0, gloss=0.9, shine=60, band=0.5, contrast=1.1),
    "suede": Cloth("felt", 0.06, mottle=0.16, contrast=0.85),
    "canvas": Cloth("basket", 0.22, contrast=0.95),
    "tweed": Cloth("boucle", 0.16, fleck=0.3),
    "cotton": Cloth("felt", 0.008, contrast=0.95),
    "silk": Cloth("", 0.0, gloss=0.25, shine=10, contrast=1.15),
    "gabardine": Cloth("twill", 0.05, gloss=0.06, shine=8),
    "denim": Cloth("twill", 0.16, mottle=0.14),
    "wool": Cloth("felt", 0.10, contrast=0.95),
    "cashmere": Cloth("felt", 0.12, contrast=0.9),
    "fine knit": Cloth("stockinette", 0.085, contrast=0.95),
    "cable knit": Cloth("cable", 1.3, contrast=1.0),
    "rib": Cloth("rib", 0.5, contrast=1.0),
    "acetate": Cloth("", 0.0, gloss=0.9, shine=40, band=0.25),
    "nylon": Cloth("twill", 0.02, gloss=0.22, shine=14, band=0.12),
    "rubber": Cloth("", 0.0, gloss=0.12, shine=12),
    "glass": Cloth("", 0.0, gloss=0.8, shine=80, band=0.5),
}


def weave_height(weave: str, u: Plane, v: Plane) -> Plane | None:
    """The height of the weave at each place, about -1 to 1; None for a smooth surface."""
    if weave in ("pebble", "felt", "boucle"):
        zoom = np.float32(1.9 if weave == "pebble" else 1.0)
        return sample_tile(weave, u * zoom, v * zoom)
    if weave in _WEAVES:
        return _WEAVES[weave](u, v)
    return None


def sheen(u: Plane, v: Plane) -> Plane:
    """The flowing light and dark of silk, -1 to 1."""
    bend = 4.5 * np.sin(v / 13.0) + 3.0 * np.sin(v / 7.3 + 1.0)
    flow: Plane = np.sin((u + 0.45 * v + bend) / 4.1) * (0.75 + 0.25 * np.sin(v / 9.0))
    return flow


def sample_tile(name: str, u: Plane, v: Plane) -> Plane:
    """A repeating texture read at each place, -1 to 1, about 0.25 units of the board per texel."""
    tile = _tile(name)
    column = (u * 4.0).astype(np.int32) & (TILE - 1)
    row = (v * 4.0).astype(np.int32) & (TILE - 1)
    texels: Plane = tile[row, column]
    return texels


def _cable(u: Plane, v: Plane) -> Plane:
    """Columns of two strands wound about each other, with a purl valley between columns."""
    width, length = 9.0, 10.0
    x = u - width * np.round(u / width)
    swing = 1.6 * np.sin(2 * np.pi * v / length)
    front = np.cos(2 * np.pi * v / length)
    first = np.clip(1 - ((x - swing) / 1.9) ** 2, 0, 1) * (1.0 + 0.25 * front)
    second = np.clip(1 - ((x + swing) / 1.9) ** 2, 0, 1) * (1.0 - 0.25 * front)
    strands: Plane = np.maximum(first, second)
    return strands


def _rib(u: Plane, v: Plane) -> Plane:
    ribs: Plane = np.abs(np.cos(np.pi / 2.7 * u)) + 0 * v
    return ribs


def _stockinette(u: Plane, v: Plane) -> Plane:
    across = u - 1.9 * np.round(u / 1.9)
    stitches: Plane = np.cos(2 * np.pi / 1.9 * (v + 0.8 * np.abs(across))) - 2.0 * across * across
    return stitches


def _basket(u: Plane, v: Plane) -> Plane:
    threads: Plane = np.sin(2 * np.pi / 1.25 * u) * np.sin(2 * np.pi / 1.25 * v)
    return threads


def _twill(u: Plane, v: Plane) -> Plane:
    diagonals: Plane = np.sin(2 * np.pi / 1.1 * (u + v))
    return diagonals


_WEAVES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "cable": _cable,
    "rib": _rib,
    "stockinette": _stockinette,
    "basket": _basket,
    "twill": _twill,
}


@lru_cache(maxsize=8)
def _tile(name: str) -> Plane:
    """A tile of noise, (256, 256), seamless, with mean 0 and values mostly within -1 to 1."""
    rng = np.random.default_rng(sum(name.encode()))
    if name == "pebble":
        noise = _smooth_noise(rng, 96) + 0.5 * _smooth_noise(rng, 48)
        return _normalised(-np.abs(noise))
    if name == "boucle":
        return _normalised(_smooth_noise(rng, 64) + 0.6 * _smooth_noise(rng, 128))
    if name == "cloud":
        return _normalised(_smooth_noise(rng, 5) + 0.5 * _smooth_noise(rng, 11))
    return _normalised(_smooth_noise(rng, 128) + 0.4 * _smooth_noise(rng, 32))


def _smooth_noise(rng: np.random.Generator, cells: int) -> Plane:
    grid = rng.normal(size=(cells, cells)).astype(np.float32)
    wrapped = np.pad(grid, 4, mode="wrap")
    edge = TILE * (cells + 8) // cells
    large = Image.fromarray(wrapped).resize((edge, edge), Image.Resampling.BICUBIC)
    start = 4 * TILE // cells
    return np.asarray(large)[start : start + TILE, start : start + TILE]


def _normalised(noise: Plane) -> Plane:
    centred = noise - noise.mean()
    scaled: Plane = np.clip(centred / (1.8 * centred.std()), -1.5, 1.5).astype(np.float32)
    return scaled
