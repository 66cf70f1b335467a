"""The scene: pose, light and studio of a picture, and the finished picture."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from loupe.sample.pictures.canvas import WORK_SCALE, Canvas, Light, Pose
from loupe.sample.pictures.pattern import Plane

BACKDROPS = (
    (240, 236, 230), (233, 236, 240), (238, 230, 224), (228, 232, 226), (242, 240, 236),
    (226, 228, 234), (240, 228, 226), (232, 228, 220),
)  # fmt: skip
"""The studio's papers."""


@dataclass(frozen=True)
class Scene:
    """How one picture is taken."""

    pose: Pose
    light: Light
    backdrop: tuple[int, int, int]
    is_standing: bool


def draw_scene(rng: np.random.Generator, *, is_standing: bool) -> Scene:
    """Choose pose, light and paper; what stands on a floor is turned less than what lies."""
    turn = 1.5 if is_standing else 5.0
    pose = Pose(
        angle_deg=float(rng.normal(0, turn / 1.5)),
        scale=float(rng.uniform(0.95, 1.04)),
        shift=(float(rng.uniform(-2.5, 2.5)), float(rng.uniform(-2.0, 2.0))),
        is_mirrored=bool(rng.random() < 0.5),
    )
    side = float(rng.uniform(0.25, 0.55)) * (-1 if rng.random() < 0.75 else 1)
    light = Light(side, float(rng.uniform(-0.7, -0.5)), float(rng.uniform(-0.025, 0.03)),
                  float(rng.uniform(0.96, 1.05)))  # fmt: skip
    backdrop = BACKDROPS[int(rng.integers(len(BACKDROPS)))]
    return Scene(pose, light, backdrop, is_standing)


def finish(canvas: Canvas, scene: Scene) -> Image.Image:
    """Set the product before its paper, with its shadow, and reduce to the picture's size."""
    n = canvas.n
    behind = (1.0 - canvas.alpha) * _ground_shadow(canvas, scene) * _backdrop_glow(n, scene)
    warmth = scene.light.warmth
    tint = (1 + warmth, 1.0, 1 - warmth)
    channels = []
    for channel, paper, gain in zip(canvas.rgb, scene.backdrop, tint, strict=True):
        plane = (channel + behind * np.float32(paper / 255)) * np.float32(
            255 * gain * scene.light.exposure
        )
        np.minimum(plane, np.float32(255), out=plane)
        channels.append(Image.fromarray(plane.astype(np.uint8)).reduce(WORK_SCALE))
    return Image.merge("RGB", channels)


def _backdrop_glow(n: int, scene: Scene) -> Plane:
    """The paper's light: brighter towards the lamp, darker in the corners, with a floor's edge."""
    m = 48
    axis = np.linspace(-1, 1, m, dtype=np.float32)
    x, y = axis[None, :], axis[:, None]
    glow = 1.02 + 0.07 * (scene.light.x * x * 1.6 + scene.light.y * y) - 0.05 * (x * x + y * y)
    if scene.is_standing:
        glow = glow - 0.055 / (1 + np.exp(-(y - 0.62) * 22)) * (1.3 - y)
    large = Image.fromarray(glow.astype(np.float32)).resize((n, n), Image.Resampling.BILINEAR)
    return np.asarray(large)


def _ground_shadow(canvas: Canvas, scene: Scene) -> Plane:
    """How much light reaches the paper, 0 to 1."""
    n, small_n = canvas.n, 112
    alpha = Image.fromarray((canvas.alpha * 255).astype(np.uint8))
    small = alpha.resize((small_n, small_n), Image.Resampling.BOX)
    per_unit = small_n / 100.0
    total = np.zeros((small_n, small_n), np.float32)
    casts = ((3.2, 2.6, 0.30), (0.8, 0.9, 0.30))
    for distance, softness, strength in casts:
        dx = round(-scene.light.x * distance * per_unit * 1.2)
        dy = round(distance * per_unit * (0.5 if scene.is_standing else 0.9))
        moved = Image.new("L", (small_n, small_n))
        moved.paste(small, (dx, dy))
        soft = moved.filter(ImageFilter.GaussianBlur(softness * per_unit))
        total += strength * np.asarray(soft, np.float32) / 255.0
    large = Image.fromarray(1.0 - np.minimum(total, 0.62)).resize((n, n), Image.Resampling.BILINEAR)
    return np.asarray(large)
