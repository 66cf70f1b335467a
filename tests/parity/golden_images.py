"""Deterministic synthetic images and tensors used by the goldens.

Everything is drawn with integer arithmetic only (splitmix64 hash and numpy integer operations), so
that the same bytes come out on every platform. `draw(spec)` returns a Pillow image;
`raw_sha256(image)` identifies it.
"""

import hashlib

import numpy as np
from PIL import Image

_M64 = (1 << 64) - 1


def hash_u32(n, seed, start=0):
    """n pseudo-random uint32 (splitmix64 finalizer over a counter)."""
    x = np.arange(start, start + n, dtype=np.uint64)
    x = x + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x1234567) & _M64)
    with np.errstate(over="ignore"):
        x = x * np.uint64(0x9E3779B97F4A7C15)
        x ^= x >> np.uint64(30)
        x = x * np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x = x * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(32)).astype(np.uint32)


def _blocks(h, w, c, cell, seed):
    """Blocky noise: a hash grid of `cell`-pixel cells, nearest-neighbour enlarged."""
    gh, gw = -(-h // cell), -(-w // cell)
    g = (hash_u32(gh * gw * c, seed) >> np.uint32(24)).astype(np.int64).reshape(gh, gw, c)
    return np.repeat(np.repeat(g, cell, 0), cell, 1)[:h, :w]


def array(kind, h, w, c, seed):
    """uint8 array [h, w, c]."""
    y = np.arange(h, dtype=np.int64)[:, None, None]
    x = np.arange(w, dtype=np.int64)[None, :, None]
    k = np.arange(c, dtype=np.int64)[None, None, :]
    base = hash_u32(64, seed ^ 0xA5A5).astype(np.int64)
    if kind == "solid":
        a = np.broadcast_to(base[:c] % 256, (h, w, c))
    elif kind == "gradient":
        fx, fy = 1 + base[:c] % 3, 1 + base[8 : 8 + c] % 3
        a = (
            x * 255 * fx[None, None, :] // max(w - 1, 1)
            + y * 255 * fy[None, None, :] // max(h - 1, 1)
            + 40 * k
        ) % 511
        a = np.where(a > 255, 510 - a, a)
    elif kind == "noise":
        a = (hash_u32(h * w * c, seed) >> np.uint32(24)).astype(np.int64).reshape(h, w, c)
    elif kind == "checker":
        cell = int(5 + base[0] % 23)
        on = (x // cell + y // cell) % 2
        a = on * (base[:c] % 256) + (1 - on) * (base[16 : 16 + c] % 256)
    elif kind == "mix":  # gradient + hard-edged rectangles + a little noise
        a = array("gradient", h, w, c, seed).astype(np.int64)
        a = a.copy()
        for i in range(6):
            b = hash_u32(8, seed * 131 + i).astype(np.int64)
            x0, y0 = int(b[0] % w), int(b[1] % h)
            x1, y1 = x0 + 1 + int(b[2] % max(w // 2, 1)), y0 + 1 + int(b[3] % max(h // 2, 1))
            a[y0:y1, x0:x1] = (b[4 : 4 + 4] % 256)[np.arange(c) % 4]
        n = (hash_u32(h * w * c, seed + 7) >> np.uint32(27)).astype(np.int64).reshape(h, w, c)
        a = a + n - 16
    elif kind == "photo":  # several octaves of block noise, a rough stand-in for natural statistics
        a = (
            8 * _blocks(h, w, c, 64, seed)
            + 4 * _blocks(h, w, c, 17, seed + 1)
            + 2 * _blocks(h, w, c, 5, seed + 2)
            + 1 * _blocks(h, w, c, 1, seed + 3)
        ) // 15
    else:
        raise ValueError(kind)
    return np.clip(a, 0, 255).astype(np.uint8)


def draw(spec):  # noqa: PLR0911  # one return per mode
    w, h, mode, kind, seed = spec["width"], spec["height"], spec["mode"], spec["kind"], spec["seed"]
    if mode == "RGB":
        return Image.fromarray(array(kind, h, w, 3, seed))
    if mode in ("RGBA", "CMYK"):
        return Image.frombytes(mode, (w, h), array(kind, h, w, 4, seed).tobytes())
    if mode == "L":
        return Image.frombytes("L", (w, h), array(kind, h, w, 1, seed).tobytes())
    if mode == "LA":
        return Image.frombytes("LA", (w, h), array(kind, h, w, 2, seed).tobytes())
    if mode == "1":
        a = array(kind, h, w, 1, seed)[..., 0] > 127
        return Image.frombytes("1", (w, h), np.packbits(a, axis=1).tobytes())
    if mode == "P":
        im = Image.frombytes("P", (w, h), array(kind, h, w, 1, seed).tobytes())
        im.putpalette((hash_u32(768, seed + 99) >> np.uint32(24)).astype(np.uint8).tobytes())
        return im
    if mode == "I;16":  # 16-bit greyscale, values over the whole 0..65535 range
        a = array(kind, h, w, 1, seed)[..., 0].astype(np.uint32) * 257
        return Image.frombytes("I;16", (w, h), a.astype("<u2").tobytes())
    raise ValueError(mode)


def raw_sha256(img):
    return hashlib.sha256(img.tobytes()).hexdigest()


def synthetic_pixel_values(seed, shape):
    """Crops (n, crops, 3, 336, 336) as if normalised; dyadic rationals: the same bits everywhere.

    Coarse 28-pixel blocks (amplitude about +-1.5) plus fine noise (+-0.25).
    """
    import torch

    n, crops, c, h, w = shape
    out = np.empty(shape, dtype=np.float32)
    for i in range(n):
        for j in range(crops):
            s = seed * 1009 + i * 97 + j
            coarse = _blocks(h, w, c, 28, s).astype(np.int64) - 128  # -128..127
            fine = (hash_u32(h * w * c, s + 500009) >> np.uint32(24)).astype(np.int64).reshape(
                h, w, c
            ) - 128
            v = (coarse * 12 + fine * 2).astype(np.float32) / np.float32(1024.0)
            out[i, j] = v.transpose(2, 0, 1)
    return torch.from_numpy(out)


def tensor_sha256(t):
    return hashlib.sha256(np.ascontiguousarray(t.detach().cpu().numpy()).tobytes()).hexdigest()
