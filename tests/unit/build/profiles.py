"""Colour profiles of other spaces than sRGB, made of their few numbers (ICC.1:2001-04)."""

import struct

SRGB_TO_XYZ = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139))
WIDE_TO_XYZ = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
"""Red, green and blue of sRGB and of Display P3 as XYZ under D50."""


def fixed(*numbers):
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def build_profile(space, tags, kind=b"mntr", connection=b"XYZ "):
    """A profile of version 2.1 with these tags, by name."""
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s4sIIIQI12s48x", start + len(body), b"", 0x02100000, kind, space,
        connection, bytes(12), b"acsp", b"", 0, 0, 0, 0, 0, fixed(0.9642, 1.0, 0.8249),
    )[:128]  # fmt: skip
    return header + struct.pack(">I", len(tags)) + table + body


def matrix_profile(primaries, gamma=2.2):
    curve = b"curv" + struct.pack(">IIHxx", 0, 1, round(gamma * 256))
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249)}
    for letter, primary in zip("rgb", primaries, strict=True):
        tags[f"{letter}XYZ".encode()] = b"XYZ " + bytes(4) + fixed(*primary)
        tags[f"{letter}TRC".encode()] = curve
    return build_profile(b"RGB ", tags)


def grey_profile(gamma):
    curve = b"curv" + struct.pack(">IIHxx", 0, 1, round(gamma * 256))
    white = b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249)
    return build_profile(b"GRAY", {b"wtpt": white, b"kTRC": curve})


def ink_profile():
    """CMYK in which cyan alone is a dark blue-green, quite unlike the naive conversion."""
    ramp = bytes(range(256))
    corners = b""
    for corner in range(16):
        cyan, magenta, yellow, black = (corner >> shift & 1 for shift in (3, 2, 1, 0))
        light = max(255 - 120 * cyan - 110 * magenta - 20 * yellow - 230 * black, 0)
        corners += bytes([light, 128 + 60 * magenta - 30 * cyan, 128 + 80 * yellow - 40 * cyan])
    lut = b"mft1" + struct.pack(">I4B", 0, 4, 3, 2, 0) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    white = b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249)
    tags = {b"wtpt": white, b"A2B0": lut + ramp * 4 + corners + ramp * 3}
    return build_profile(b"CMYK", tags, b"prtr", b"Lab ")


PROFILE = matrix_profile(WIDE_TO_XYZ)
