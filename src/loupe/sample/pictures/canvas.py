"""The canvas: parts of a product are laid on it one over the other, each lit by its own relief.

A part is an outline filled with a surface. Its mask, blurred,
gives a height; the height's slopes meet
the light. Work happens at twice the picture's size, masks at four times, and is reduced at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from loupe.sample.pictures.cloth import CLOTHS, Cloth, sample_tile, sheen, weave_height
from loupe.sample.pictures.pattern import Plane, quilt_height, second_colour_share
from loupe.sample.pictures.shapes import BOARD, Outline, evenly, rotated, stroke
from loupe.sample.pictures.surface import Surface, albedo, channels_of, metal_ramp

WORK_SCALE = 2  # working pixels per picture pixel
MASK_SCALE = 2  # mask pixels per working pixel
Fold = tuple[Outline, float]
"""An open path and how far the cloth rises along it (negative: a crease)."""


@dataclass(frozen=True)
class Pose:
    """How the product lies in the frame: turned clockwise, scaled about the middle, shifted."""

    angle_deg: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    is_mirrored: bool = False

    def matrix(self) -> NDArray[np.float64]:
        """(2, 2): board directions to frame directions."""
        a = np.deg2rad(self.angle_deg)
        flip = -1.0 if self.is_mirrored else 1.0
        turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        return self.scale * turn @ np.diag([flip, 1.0])


@dataclass(frozen=True)
class Light:
    """Where the light comes from (in the frame, y downwards) and how it is tinted."""

    x: float = -0.45
    y: float = -0.62
    warmth: float = 0.0
    exposure: float = 1.0

    @property
    def z(self) -> float:
        """The part of the direction that faces the viewer."""
        return float(np.sqrt(max(0.05, 1.0 - self.x**2 - self.y**2)))


@dataclass
class _Patch:
    """The part of the canvas that one shape covers, in working pixels."""

    rows: slice
    columns: slice
    mask: Image.Image
    alpha: Plane


class Canvas:
    """The product so far: colour multiplied by coverage, and coverage."""

    def __init__(self, size_px: int, pose: Pose, light: Light) -> None:
        self.n = size_px * WORK_SCALE
        self.unit = self.n / BOARD
        self.light = light
        self.rgb: Plane = np.zeros((3, self.n, self.n), np.float32)  # (channels, rows, columns)
        self.alpha: Plane = np.zeros((self.n, self.n), np.float32)
        self._matrix = pose.matrix()
        self._inverse = np.linalg.inv(self._matrix)
        self._centre = np.array([BOARD / 2 + pose.shift[0], BOARD / 2 + pose.shift[1]])

    def centre(self, top: float, bottom: float, zoom: float = 1.0) -> None:
        """Bring the board between two heights to the middle of the frame, enlarged."""
        turned = self._matrix @ np.array([0.0, BOARD / 2 - (top + bottom) / 2])
        self._centre = self._centre + turned * zoom
        self._matrix = self._matrix * zoom
        self._inverse = np.linalg.inv(self._matrix)

    def paint(  # noqa: PLR0913 (keyword-only, and most parts need one or two)
        self,
        shape: Outline | Sequence[Outline],
        surface: Surface,
        *,
        puff: float = 2.0,
        roundness: float = 8.0,
        angle_deg: float = 0.0,
        folds: Sequence[Fold] = (),
        shadow: float = 1.0,
        holes: Sequence[Outline] = (),
    ) -> None:
        """Lay a part of cloth on the canvas.

        `puff` is how far its middle rises above its rim and `roundness` how wide the rim is,
        both in
        units of the board; `angle_deg` turns the cloth's grain; `shadow` is the depth of the shadow
        that it throws on what lies below.
        """
        patch = self._patch(shape, holes)
        if patch is None:
            return
        cloth = CLOTHS[surface.cloth]
        u, v, board_v = self._cloth_grid(patch, angle_deg, 1.0 / surface.scale)
        height = self._relief(patch, puff, roundness, folds)
        weave = weave_height(cloth.weave, u * surface.scale, v * surface.scale)
        if weave is not None:
            height += cloth.relief * weave
        shade_extra = None
        if surface.pattern == "quilted":
            quilt = quilt_height(u, v)
            height += 1.5 * surface.scale * quilt
            shade_extra = 0.62 + 0.38 * np.minimum(quilt * 2.2, 1.0)
        slope_x, slope_y = self._slopes(height)
        share = second_colour_share(
            surface.pattern, u + 0.35 * slope_x, v + 0.35 * slope_y, board_v, surface.block_at
        )
        colour = albedo(surface, share)
        fleck = cloth.fleck * (1.0 if surface.pattern == "plain" else 0.6)
        shade, glint = self._lit(cloth, slope_x, slope_y, u, v, fleck)
        if shade_extra is not None:
            shade = shade * shade_extra
        self._compose(patch, colour * shade + glint, shadow)

    def paint_metal(
        self,
        shape: Outline | Sequence[Outline],
        metal: str,
        *,
        puff: float = 1.6,
        roundness: float = 1.6,
        shadow: float = 0.8,
        holes: Sequence[Outline] = (),
    ) -> None:
        """Lay a part of polished metal on the canvas: it mirrors lamps and dark walls."""
        patch = self._patch(shape, holes)
        if patch is None:
            return
        slope_x, slope_y = self._slopes(self._relief(patch, puff, roundness, ()))
        length = np.sqrt(slope_x**2 + slope_y**2 + 1.0)
        _, _, board_v = self._cloth_grid(patch, 0.0, 1.0)
        facing = (self.light.x * slope_x + self.light.y * slope_y) / length
        place = np.clip(0.44 - 0.5 * facing + 0.0012 * (board_v - 50), 0.0, 1.0)
        ramp = metal_ramp(metal)
        index = (place * 255).astype(np.uint8)
        self._compose(patch, ramp[:, index], shadow)

    def draw_line(self, path: Outline, width: float, rgb: tuple[int, int, int], opacity: float = 1.0
                  ) -> None:  # fmt: skip
        """Draw a flat line over what is there: a seam, a crease, a printed mark."""
        self.draw_flat([stroke(path, width)], rgb, opacity)

    def draw_flat(
        self, shapes: Sequence[Outline], rgb: tuple[int, int, int], opacity: float = 1.0
    ) -> None:
        """Fill shapes with a flat colour, only where the product already is."""
        patch = self._patch(shapes, ())
        if patch is None:
            return
        alpha = patch.alpha * opacity * self.alpha[patch.rows, patch.columns]
        target = self.rgb[:, patch.rows, patch.columns]
        target *= 1.0 - alpha
        target += alpha * channels_of(rgb)

    def stitch(self, path: Outline, rgb: tuple[int, int, int], *, dash: float = 1.7,
               width: float = 0.5) -> None:  # fmt: skip
        """A row of stitches along a path, in a shallow groove."""
        self.draw_line(path, width * 2.4, (0, 0, 0), 0.22)
        points, angles = evenly(path, dash)
        bar = np.array([(-0.34 * dash, -width / 2), (0.34 * dash, -width / 2),
                        (0.34 * dash, width / 2), (-0.34 * dash, width / 2)])  # fmt: skip
        self.draw_flat(
            [rotated(bar, angle) + point for point, angle in zip(points, angles, strict=True)],
            rgb,
            0.9,
        )

    def shade_below(self, shape: Outline, strength: float, softness: float = 2.0) -> None:
        """Darken the product softly inside a shape: a hollow, a tint, a cast shadow."""
        patch = self._patch(shape, (), margin=softness * 2)
        if patch is None:
            return
        soft = _blur(patch.mask, softness * self.unit)
        self.rgb[:, patch.rows, patch.columns] *= 1.0 - strength * soft

    def _patch(
        self, shape: Outline | Sequence[Outline], holes: Sequence[Outline], margin: float = 1.0
    ) -> _Patch | None:
        outlines = [shape] if isinstance(shape, np.ndarray) else list(shape)
        placed = [self._place(outline) for outline in outlines]
        low = np.floor(np.min([p.min(axis=0) for p in placed], axis=0) - margin * self.unit)
        high = np.ceil(np.max([p.max(axis=0) for p in placed], axis=0) + margin * self.unit)
        x0, y0 = np.clip(low, 0, self.n).astype(int)
        x1, y1 = np.clip(high, 0, self.n).astype(int)
        if x1 - x0 < 2 or y1 - y0 < 2:
            return None
        image = Image.new("L", ((x1 - x0) * MASK_SCALE, (y1 - y0) * MASK_SCALE))
        draw = ImageDraw.Draw(image)
        for outlines_placed, fill in ((placed, 255), ([self._place(h) for h in holes], 0)):
            for points in outlines_placed:
                draw.polygon(((points - (x0, y0)) * MASK_SCALE).ravel().tolist(), fill=fill)
        mask = image.reduce(MASK_SCALE)
        alpha = np.asarray(mask, dtype=np.float32) * np.float32(1 / 255)
        return _Patch(slice(y0, y1), slice(x0, x1), mask, alpha)

    def _place(self, outline: Outline) -> Outline:
        """Board units to working pixels."""
        placed: Outline = ((outline - BOARD / 2) @ self._matrix.T + self._centre) * self.unit
        return placed

    def _cloth_grid(
        self, patch: _Patch, angle_deg: float, zoom: float
    ) -> tuple[Plane, Plane, Plane]:
        """Where each pixel lies on the cloth (along, down) and down the product's board."""
        x = np.arange(patch.columns.start, patch.columns.stop, dtype=np.float32) / self.unit
        y = np.arange(patch.rows.start, patch.rows.stop, dtype=np.float32) / self.unit
        x, y = x[None, :] - self._centre[0], y[:, None] - self._centre[1]
        a = np.deg2rad(angle_deg)
        turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) * zoom
        m = turn @ self._inverse
        u = (np.float32(m[0, 0]) * x + np.float32(m[0, 1]) * y).astype(np.float32)
        v = (np.float32(m[1, 0]) * x + np.float32(m[1, 1]) * y).astype(np.float32)
        i = self._inverse.astype(np.float32)
        board_v = (i[1, 0] * x + i[1, 1] * y).astype(np.float32) + np.float32(BOARD / 2)
        return u, v, board_v

    def _relief(self, patch: _Patch, puff: float, roundness: float, folds: Sequence[Fold]) -> Plane:
        """The height of a part above its rim, in units of the board."""
        bevel = _blur(patch.mask, 0.7 * self.unit)
        height: Plane = 0.55 * np.minimum(bevel, 0.9)
        if puff:
            dome = np.maximum(_blur(patch.mask, roundness * self.unit * 0.5) - 0.35, 0.0)
            height += (puff * 1.9) * dome
        if folds:
            height += self._folded(patch, folds)
        return height

    def _folded(self, patch: _Patch, folds: Sequence[Fold]) -> Plane:
        """Ridges and creases as a height in units of the board."""
        shrink = 4
        width, height = patch.mask.size
        small = Image.new("L", (-(-width // shrink), -(-height // shrink)), 128)
        draw = ImageDraw.Draw(small)
        for path, rise in folds:
            placed = (self._place(path) - (patch.columns.start, patch.rows.start)) / shrink
            stroke_px = max(1, round(1.8 * self.unit / shrink))
            draw.line([tuple(p) for p in placed], fill=int(128 + 60 * np.clip(rise, -2, 2)),
                      width=stroke_px, joint="curve")  # fmt: skip
        soft = small.filter(ImageFilter.GaussianBlur(1.3 * self.unit / shrink))
        large = soft.convert("F").resize((width, height), Image.Resampling.BICUBIC,
                                         box=(0, 0, width / shrink, height / shrink))  # fmt: skip
        return (np.asarray(large) - 128.0) * np.float32(1 / 60)

    def _slopes(self, height: Plane) -> tuple[Plane, Plane]:
        """How steeply the height rises along x and along y (units per unit)."""
        slope_x, slope_y = np.zeros_like(height), np.zeros_like(height)
        half = np.float32(self.unit / 2)
        np.subtract(height[:, 2:], height[:, :-2], out=slope_x[:, 1:-1])
        np.subtract(height[2:], height[:-2], out=slope_y[1:-1])
        slope_x *= half
        slope_y *= half
        return slope_x, slope_y

    def _lit(
        self, cloth: Cloth, slope_x: Plane, slope_y: Plane, u: Plane, v: Plane, fleck: float
    ) -> tuple[Plane, Plane]:
        """What the light multiplies the colour by, and the white that it adds."""
        light = self.light
        inverse_length = 1.0 / np.sqrt(slope_x * slope_x + slope_y * slope_y + 1.0)
        facing = (light.z - light.x * slope_x - light.y * slope_y) * inverse_length
        shade = 1.0 + (0.62 * cloth.contrast) * (facing / np.float32(light.z) - 1.0)
        np.clip(shade, 0.3, 1.22, out=shade)
        if fleck:
            shade *= 1.0 + fleck * sample_tile("boucle", u * 0.62, v * 0.62)
        if cloth.mottle:
            shade *= 1.0 + cloth.mottle * sample_tile("cloud", u, v)
        glint = np.zeros_like(shade)
        if cloth is CLOTHS["silk"]:
            flow = sheen(u, v)
            shade *= 1.0 + 0.26 * flow
            glint += 0.13 * np.maximum(flow, 0.0) ** 2
        if cloth.gloss:
            half_z = np.float32(np.sqrt((1 + light.z) / 2))
            hx, hy = light.x / (2 * half_z), light.y / (2 * half_z)
            towards = (half_z - hx * slope_x - hy * slope_y) * inverse_length
            glint += cloth.gloss * np.maximum(towards, 0.0) ** cloth.shine
        if cloth.band:
            place = u + 0.5 * v + 5.0 * slope_x + 2.0 * slope_y
            glint += cloth.band * np.exp(-(((place + 9.0) / 4.5) ** 2))
        return shade, glint

    def _compose(self, patch: _Patch, colour: Plane, shadow: float) -> None:
        """Lay lit colour over the canvas, after its shadow on what is below."""
        if shadow:
            self._cast_shadow(patch, shadow)
        target = self.rgb[:, patch.rows, patch.columns]
        target *= 1.0 - patch.alpha
        target += np.minimum(colour, np.float32(1.0)) * patch.alpha
        below = self.alpha[patch.rows, patch.columns]
        below += (1.0 - below) * patch.alpha

    def _cast_shadow(self, patch: _Patch, depth: float) -> None:
        """Darken what lies below a part, away from the light and around its rim."""
        if not self.alpha[patch.rows, patch.columns].any():
            return
        pad = round(2.2 * depth * self.unit)
        dx = round(-self.light.x * 1.6 * depth * self.unit)
        dy = round(-self.light.y * 1.6 * depth * self.unit)
        width, height = patch.mask.size
        wide = Image.new("L", (width + 2 * pad, height + 2 * pad))
        wide.paste(patch.mask, (pad, pad))
        soft = _blur(wide, 0.9 * depth * self.unit)
        top, left = patch.rows.start - pad + dy, patch.columns.start - pad + dx
        y0, x0 = max(0, top), max(0, left)
        y1, x1 = min(self.n, top + soft.shape[0]), min(self.n, left + soft.shape[1])
        if y1 <= y0 or x1 <= x0:
            return
        cut = soft[y0 - top : y1 - top, x0 - left : x1 - left]
        self.rgb[:, y0:y1, x0:x1] *= 1.0 - 0.42 * cut


def _blur(mask: Image.Image, radius_px: float) -> Plane:
    """The mask softened by a Gaussian, 0 to 1, computed small and enlarged smoothly."""
    shrink = max(1, int(radius_px / 2.2))
    width, height = mask.size
    small = mask
    if shrink > 1:
        small = mask.reduce(shrink)
    soft = small.filter(ImageFilter.GaussianBlur(radius_px / shrink)).convert("F")
    if shrink > 1:
        soft = soft.resize((width, height), Image.Resampling.BICUBIC,
                           box=(0, 0, width / shrink, height / shrink))  # fmt: skip
    return np.asarray(soft) * np.float32(1 / 255)
