"""What can be sold: the kinds of goods, and what each kind can look like.

Everything here is visible in a picture 112 pixels wide. Houses choose among these goods, give them
names and prices, and never add a look of their own.
"""

from dataclasses import dataclass

ALL_PATTERNS = ("plain", "stripe", "check", "dot", "chevron", "floral", "diamond", "block")
WOVEN = (*ALL_PATTERNS[:6], "block")
KNITTED = ("plain", "stripe", "dot", "chevron", "diamond", "block")
NARROW = ("plain", "stripe", "check", "dot")


@dataclass(frozen=True)
class Kind:
    """One kind of goods, and the values that each visible attribute can take.

    An attribute with the single value `""` does not vary: it is not shown, named or priced.
    """

    name: str
    group: str
    patterns: tuple[str, ...]
    cloths: tuple[str, ...]
    sizes: tuple[str, ...] = ("",)
    details: tuple[str, ...] = ("",)
    metals: tuple[str, ...] = ("",)


METALS = ("gold", "silver")
BAG_PATTERNS = ("plain", "stripe", "check", "dot", "chevron", "floral", "block", "quilted")

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "tote",
            "bags",
            BAG_PATTERNS,
            ("leather", "canvas"),
            ("mini", "medium", "large"),
            metals=METALS,
        ),
        Kind(
            "shoulder bag",
            "bags",
            BAG_PATTERNS,
            ("leather", "tweed"),
            ("mini", "medium"),
            ("strap", "chain"),
            METALS,
        ),
        Kind(
            "backpack",
            "bags",
            BAG_PATTERNS,
            ("leather", "canvas"),
            ("mini", "large"),
            metals=METALS,
        ),
        Kind(
            "wallet",
            "small goods",
            ("plain", "stripe", "check", "dot", "quilted", "block"),
            ("leather",),
            ("compact", "long"),
            metals=METALS,
        ),
        Kind(
            "belt",
            "small goods",
            NARROW,
            ("leather",),
            ("slim", "wide"),
            ("round", "square"),
            METALS,
        ),
        Kind(
            "sneakers",
            "shoes",
            ("plain", "stripe", "check", "dot", "floral", "block"),
            ("leather", "canvas"),
            ("low", "high"),
        ),
        Kind(
            "boots",
            "shoes",
            ("plain", "check", "dot", "floral", "block", "quilted"),
            ("leather", "suede"),
            ("ankle", "knee"),
            ("flat", "heeled"),
        ),
        Kind(
            "pumps",
            "shoes",
            ("plain", "stripe", "check", "dot", "floral", "block"),
            ("patent", "suede"),
            ("low heel", "high heel"),
            ("", "bow"),
        ),
        Kind(
            "t-shirt",
            "clothing",
            ALL_PATTERNS,
            ("cotton",),
            ("cropped", "regular"),
            ("short sleeve", "long sleeve"),
        ),
        Kind(
            "shirt", "clothing", WOVEN, ("cotton", "silk"), details=("short sleeve", "long sleeve")
        ),
        Kind(
            "sweater",
            "clothing",
            KNITTED,
            ("fine knit", "cable knit"),
            details=("crew", "roll neck"),
        ),
        Kind(
            "coat",
            "clothing",
            ("plain", "stripe", "check", "chevron", "floral", "quilted"),
            ("gabardine", "tweed"),
            ("cropped", "long"),
            metals=METALS,
        ),
        Kind("trousers", "clothing", WOVEN, ("denim", "wool"), ("slim", "wide")),
        Kind(
            "skirt",
            "clothing",
            WOVEN,
            ("cotton", "silk"),
            ("mini", "midi", "maxi"),
            ("straight", "pleated"),
        ),
        Kind(
            "dress",
            "clothing",
            WOVEN,
            ("cotton", "silk"),
            ("mini", "midi", "maxi"),
            ("sleeveless", "long sleeve"),
        ),
        Kind("scarf", "accessories", ALL_PATTERNS, ("cashmere", "silk"), ("short", "long")),
        Kind("cap", "accessories", WOVEN, ("cotton", "leather")),
        Kind("beanie", "accessories", KNITTED, ("fine knit", "cable knit"), details=("", "pompom")),
        Kind(
            "gloves",
            "accessories",
            ("plain", "stripe", "check", "dot", "quilted", "block"),
            ("leather", "fine knit"),
            ("short", "long"),
        ),
        Kind(
            "sunglasses",
            "accessories",
            ("plain",),
            ("acetate",),
            ("slim", "wide"),
            ("round", "square", "cat-eye"),
            METALS,
        ),
        Kind(
            "watch",
            "accessories",
            NARROW,
            ("leather",),
            ("mini", "large"),
            ("round", "square"),
            METALS,
        ),
        Kind("umbrella", "accessories", ALL_PATTERNS, ("nylon",), ("short", "long")),
        Kind("socks", "accessories", KNITTED, ("cotton",), ("ankle", "knee")),
        Kind("tie", "accessories", ALL_PATTERNS[:7], ("silk", "fine knit"), ("slim", "wide")),
    )
}

COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (33, 32, 37),
    "ivory": (241, 233, 215),
    "grey": (132, 135, 142),
    "navy": (28, 44, 104),
    "sky": (126, 180, 224),
    "red": (202, 28, 42),
    "pink": (239, 160, 180),
    "green": (24, 102, 62),
    "yellow": (243, 188, 38),
    "camel": (196, 146, 92),
    "brown": (94, 54, 33),
    "violet": (114, 60, 146),
}
"""The main colours: far enough apart to be told apart under any of our lights."""

ACCENT_RGB: dict[str, tuple[int, int, int]] = {
    "cream": (246, 239, 222),
    "peach": (247, 205, 172),
    "ink": (34, 30, 46),
    "teal": (8, 92, 98),
    "oxblood": (112, 22, 38),
}
"""Second colours of patterns: none can be mistaken for a main colour on its grounds."""

ACCENTS: dict[str, tuple[str, ...]] = {
    "black": ("cream", "peach"),
    "ivory": ("teal", "oxblood"),
    "grey": ("cream", "ink"),
    "navy": ("cream", "peach"),
    "sky": ("ink", "oxblood"),
    "red": ("cream", "ink"),
    "pink": ("oxblood", "ink"),
    "green": ("cream", "peach"),
    "yellow": ("ink", "teal"),
    "camel": ("ink", "oxblood"),
    "brown": ("cream", "peach"),
    "violet": ("cream", "peach"),
}
"""Which second colours stand out on which main colour."""
