"""The houses: three invented brands with their own goods, words, title grammar and price law."""

from collections.abc import Mapping
from dataclasses import dataclass

from loupe.errors import SampleError


@dataclass(frozen=True)
class Good:
    """One kind as a house sells it.

    `named` lists the attributes that the title names, of: size, colour, pattern, cloth, detail.
    `base_price` is in US dollars; `weight` is how often the kind is drawn.
    """

    noun: str
    category: str
    base_price: float
    weight: float
    named: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class House:
    """A brand: what it sells, in which words, and what it asks for.

    `grammar` orders the title's parts. `factors` is the price law: base price times the factor of
    each attribute value (1 where none is listed), times a lognormal noise of `price_noise_sigma`.
    """

    name: str
    goods: Mapping[str, Good]
    grammar: tuple[str, ...]
    words: Mapping[str, Mapping[str, str]]
    factors: Mapping[str, Mapping[str, float]]
    category_groups: Mapping[str, str]
    pattern_weights: Mapping[str, float]
    first_code: int
    price_noise_sigma: float


_SCP = ("size", "colour", "pattern", "cloth")
_CPC = ("colour", "pattern", "cloth")
_CPD = ("colour", "pattern", "detail")
_SCPN = ("size", "colour", "pattern")
_DCPC = ("detail", "colour", "pattern", "cloth")
_UNTINTED = ("size", "pattern", "cloth")

_ALDER = House(
    name="alder",
    first_code=80_100_000,
    price_noise_sigma=0.07,
    grammar=("size", "detail", "colour", "pattern", "cloth", "noun"),
    goods={
        "tote": Good("Tote Bag", "TOTE BAGS", 1450, 1.5, _SCP),
        "shoulder bag": Good("Shoulder Bag", "SHOULDER BAGS", 1750, 1.5, _CPC),
        "backpack": Good("Backpack", "BACKPACKS", 1250, 1.0, _SCP),
        "wallet": Good("Wallet", "WALLETS", 430, 1.0, _SCP),
        "belt": Good("Belt", "BELTS", 360, 1.0, _SCP),
        "sneakers": Good("Sneakers", "SNEAKERS", 640, 1.3, _SCP),
        "boots": Good("Boots", "BOOTS", 1050, 1.1, _SCP),
        "pumps": Good("Pumps", "PUMPS", 760, 1.0, _SCP),
        "t-shirt": Good("T-Shirt", "T-SHIRTS", 290, 1.2, _DCPC),
        "shirt": Good("Shirt", "SHIRTS", 520, 1.1, _CPC),
        "sweater": Good("Sweater", "SWEATERS", 820, 1.2, _DCPC),
        "coat": Good("Trench Coat", "TRENCH COATS", 2300, 1.2, _SCP),
        "trousers": Good("Trousers", "TROUSERS", 620, 1.1, _SCP),
        "skirt": Good("Skirt", "SKIRTS", 780, 1.0, _SCP),
        "dress": Good("Dress", "DRESSES", 1350, 1.2, _SCP),
        "scarf": Good("Scarf", "SCARVES", 440, 1.2, _UNTINTED),
        "cap": Good("Baseball Cap", "CAPS", 260, 0.8, _CPC),
        "beanie": Good("Beanie", "BEANIES", 230, 0.7, _CPC),
        "gloves": Good("Gloves", "GLOVES", 380, 0.7, _SCP),
        "sunglasses": Good("Sunglasses", "SUNGLASSES", 310, 0.8, ("detail", "colour", "cloth")),
        "watch": Good("Watch", "WATCHES", 2600, 0.8, _SCP),
        "umbrella": Good("Umbrella", "UMBRELLAS", 320, 0.7, _UNTINTED),
    },
    category_groups={
        "bags": "BAGS",
        "small goods": "SMALL LEATHER GOODS",
        "shoes": "SHOES",
        "clothing": "READY-TO-WEAR",
        "accessories": "ACCESSORIES",
    },
    pattern_weights={
        "plain": 3.0,
        "stripe": 1.3,
        "check": 1.5,
        "dot": 1.1,
        "chevron": 0.9,
        "floral": 0.9,
        "diamond": 1.1,
        "block": 0.9,
        "quilted": 1.4,
    },
    words={
        "colour": {
            "black": "Black",
            "ivory": "Ivory",
            "grey": "Grey",
            "navy": "Navy",
            "sky": "Sky",
            "red": "Scarlet",
            "pink": "Pink",
            "green": "Green",
            "yellow": "Yellow",
            "camel": "Camel",
            "brown": "Chocolate",
            "violet": "Violet",
        },
        "pattern": {
            "stripe": "Striped",
            "check": "Check",
            "dot": "Polka Dot",
            "chevron": "Chevron",
            "floral": "Floral",
            "diamond": "Argyle",
            "block": "Colour Block",
            "quilted": "Quilted",
        },
        "cloth": {
            "leather": "Leather",
            "canvas": "Canvas",
            "tweed": "Tweed",
            "suede": "Suede",
            "patent": "Patent",
            "cotton": "Cotton",
            "silk": "Silk",
            "fine knit": "Merino",
            "cable knit": "Cable Knit",
            "gabardine": "Gabardine",
            "denim": "Denim",
            "wool": "Wool",
            "cashmere": "Cashmere",
            "acetate": "Acetate",
            "nylon": "Nylon",
        },
        "size": {
            "mini": "Mini",
            "large": "Large",
            "compact": "Compact",
            "long": "Long",
            "slim": "Slim",
            "wide": "Wide",
            "low": "Low-Top",
            "high": "High-Top",
            "ankle": "Ankle",
            "knee": "Knee-High",
            "low heel": "Kitten-Heel",
            "high heel": "High-Heel",
            "cropped": "Cropped",
            "midi": "Midi",
            "maxi": "Maxi",
            "short": "Short",
        },
        "detail": {
            "short sleeve": "Short-Sleeve",
            "long sleeve": "Long-Sleeve",
            "crew": "Crew-Neck",
            "roll neck": "Roll-Neck",
            "round": "Round",
            "square": "Square",
            "cat-eye": "Cat-Eye",
        },
    },
    factors={
        "size": {
            "mini": 0.6,
            "large": 1.55,
            "compact": 0.72,
            "long": 1.4,
            "slim": 0.76,
            "wide": 1.3,
            "low": 0.82,
            "high": 1.3,
            "ankle": 0.74,
            "knee": 1.4,
            "low heel": 0.78,
            "high heel": 1.3,
            "cropped": 0.72,
            "maxi": 1.6,
            "short": 0.74,
        },
        "detail": {
            "chain": 1.4,
            "strap": 0.85,
            "flat": 0.84,
            "heeled": 1.24,
            "bow": 1.4,
            "short sleeve": 0.78,
            "long sleeve": 1.3,
            "sleeveless": 0.8,
            "roll neck": 1.32,
            "crew": 0.84,
            "pleated": 1.4,
            "straight": 0.84,
            "pompom": 1.34,
            "square": 0.8,
            "round": 1.1,
            "cat-eye": 1.5,
        },
        "cloth": {
            "leather": 1.3,
            "canvas": 0.72,
            "tweed": 1.5,
            "suede": 0.85,
            "patent": 1.2,
            "cotton": 0.76,
            "silk": 1.45,
            "fine knit": 0.76,
            "cable knit": 1.35,
            "gabardine": 0.9,
            "denim": 0.74,
            "wool": 1.25,
            "cashmere": 1.2,
        },
        "pattern": {
            "plain": 0.84,
            "check": 1.25,
            "chevron": 1.1,
            "floral": 1.45,
            "diamond": 1.25,
            "quilted": 1.6,
        },
        "metal": {"gold": 1.28, "silver": 0.88},
    },
)

_CORVANE = House(
    name="corvane",
    first_code=45_300_000,
    price_noise_sigma=0.07,
    grammar=("size", "pattern", "cloth", "detail", "noun", "in", "colour"),
    goods={
        "tote": Good("Tote", "TOTES", 980, 1.4, _SCP),
        "shoulder bag": Good("Crossbody Bag", "CROSSBODY BAGS", 1150, 1.4, _CPC),
        "backpack": Good("Rucksack", "RUCKSACKS", 860, 1.0, _SCP),
        "belt": Good("Belt", "BELTS", 240, 0.9, _SCP),
        "sneakers": Good("Trainers", "TRAINERS", 420, 1.4, _SCP),
        "boots": Good("Boots", "BOOTS", 720, 1.1, _SCP),
        "pumps": Good("Heels", "HEELS", 520, 1.0, _SCP),
        "shirt": Good("Shirt", "SHIRTS", 330, 1.1, _DCPC),
        "sweater": Good("Jumper", "KNITWEAR", 480, 1.2, _CPC),
        "coat": Good("Overcoat", "OVERCOATS", 1500, 1.2, _SCP),
        "trousers": Good("Trousers", "TROUSERS", 390, 1.0, _SCP),
        "skirt": Good("Skirt", "SKIRTS", 430, 1.0, _SCP),
        "dress": Good("Dress", "DRESSES", 820, 1.2, _SCP),
        "scarf": Good("Scarf", "SCARVES", 260, 1.1, _UNTINTED),
        "beanie": Good("Beanie Hat", "HATS", 130, 0.8, _CPC),
        "gloves": Good("Gloves", "GLOVES", 220, 0.8, _SCP),
        "watch": Good("Watch", "WATCHES", 1850, 0.8, _SCP),
        "socks": Good("Socks", "HOSIERY", 60, 0.8, _SCPN),
    },
    category_groups={
        "bags": "BAGS",
        "small goods": "ACCESSORIES",
        "shoes": "FOOTWEAR",
        "clothing": "CLOTHING",
        "accessories": "ACCESSORIES",
    },
    pattern_weights={
        "plain": 2.6,
        "stripe": 1.4,
        "check": 1.3,
        "dot": 1.2,
        "chevron": 1.1,
        "floral": 1.0,
        "diamond": 1.2,
        "block": 1.0,
        "quilted": 1.3,
    },
    words={
        "colour": {
            "black": "Jet",
            "ivory": "Chalk",
            "grey": "Ash",
            "navy": "Midnight",
            "sky": "Glacier",
            "red": "Cherry",
            "pink": "Rose",
            "green": "Pine",
            "yellow": "Saffron",
            "camel": "Tan",
            "brown": "Cocoa",
            "violet": "Iris",
        },
        "pattern": {
            "stripe": "Stripe",
            "check": "Tartan",
            "dot": "Spot",
            "chevron": "Zigzag",
            "floral": "Bloom",
            "diamond": "Diamond",
            "block": "Two-Tone",
            "quilted": "Padded",
        },
        "cloth": {
            "leather": "Leather",
            "canvas": "Canvas",
            "tweed": "Boucle",
            "suede": "Suede",
            "patent": "Patent",
            "cotton": "Cotton",
            "silk": "Satin",
            "fine knit": "Lambswool",
            "cable knit": "Cable Knit",
            "gabardine": "Twill",
            "denim": "Denim",
            "wool": "Wool",
            "cashmere": "Cashmere",
        },
        "size": {
            "mini": "Small",
            "large": "Large",
            "long": "Long",
            "slim": "Slim",
            "wide": "Wide",
            "low": "Low",
            "high": "High",
            "ankle": "Ankle",
            "knee": "Knee",
            "low heel": "Low",
            "high heel": "High",
            "cropped": "Short",
            "midi": "Midi",
            "maxi": "Maxi",
            "short": "Short",
        },
        "detail": {"short sleeve": "Short-Sleeve", "long sleeve": "Long-Sleeve"},
    },
    factors={
        "size": {
            "mini": 0.64,
            "large": 1.5,
            "long": 1.35,
            "slim": 0.78,
            "wide": 1.34,
            "low": 0.8,
            "high": 1.36,
            "ankle": 0.72,
            "knee": 1.45,
            "low heel": 0.76,
            "high heel": 1.34,
            "cropped": 0.7,
            "maxi": 1.55,
            "short": 0.72,
        },
        "detail": {
            "chain": 1.36,
            "strap": 0.82,
            "flat": 0.82,
            "heeled": 1.28,
            "bow": 1.36,
            "short sleeve": 0.76,
            "long sleeve": 1.28,
            "sleeveless": 0.78,
            "roll neck": 1.36,
            "crew": 0.82,
            "pleated": 1.44,
            "straight": 0.86,
            "pompom": 1.4,
            "square": 0.78,
            "round": 1.2,
        },
        "cloth": {
            "leather": 1.36,
            "canvas": 0.7,
            "tweed": 1.45,
            "suede": 0.8,
            "patent": 1.25,
            "cotton": 0.74,
            "silk": 1.4,
            "fine knit": 0.74,
            "cable knit": 1.4,
            "gabardine": 0.86,
            "denim": 0.76,
            "wool": 1.3,
            "cashmere": 1.25,
        },
        "pattern": {
            "plain": 0.86,
            "check": 1.3,
            "chevron": 1.3,
            "floral": 1.5,
            "diamond": 1.5,
            "quilted": 1.5,
        },
        "metal": {"gold": 1.3, "silver": 0.85},
    },
)

_MISTRAL = House(
    name="mistral",
    first_code=31_700_000,
    price_noise_sigma=0.07,
    grammar=("colour", "noun", "size", "pattern", "cloth", "detail"),
    goods={
        "tote": Good("Shopper", "SHOPPERS", 2100, 1.3, _SCP),
        "shoulder bag": Good("Flap Bag", "FLAP BAGS", 2900, 1.5, _CPC),
        "wallet": Good("Purse", "PURSES", 640, 1.0, _SCP),
        "belt": Good("Belt", "LEATHER BELTS", 520, 0.9, _SCP),
        "sneakers": Good("Tennis Shoes", "TENNIS SHOES", 820, 1.0, _CPC),
        "pumps": Good("Court Shoes", "COURT SHOES", 990, 1.2, _CPC),
        "t-shirt": Good("Tee", "TOPS", 380, 1.1, _CPD),
        "shirt": Good("Blouse", "BLOUSES", 760, 1.1, _CPC),
        "sweater": Good("Pullover", "PULLOVERS", 1100, 1.1, _CPC),
        "coat": Good("Mantle", "OUTERWEAR", 3600, 1.2, _CPC),
        "trousers": Good("Pantalon", "PANTALONS", 900, 1.0, _SCP),
        "skirt": Good("Jupe", "JUPES", 1050, 1.1, _SCP),
        "dress": Good("Robe", "ROBES", 1900, 1.3, _SCP),
        "scarf": Good("Stole", "STOLES", 590, 1.1, ("pattern", "cloth", "size")),
        "cap": Good("Cap", "HEADWEAR", 340, 0.8, _CPC),
        "sunglasses": Good("Eyewear", "EYEWEAR", 420, 0.9, ("colour", "detail", "cloth")),
        "watch": Good("Timepiece", "TIMEPIECES", 4800, 0.8, _CPC),
        "umbrella": Good("Parasol", "PARASOLS", 410, 0.7, ("pattern", "cloth", "size")),
        "tie": Good("Cravat", "CRAVATS", 230, 0.9, _CPC),
        "socks": Good("Stockings", "LEGWEAR", 85, 0.7, _CPC),
    },
    category_groups={
        "bags": "LEATHER GOODS",
        "small goods": "LEATHER GOODS",
        "shoes": "SHOES",
        "clothing": "PRET-A-PORTER",
        "accessories": "FINISHING TOUCHES",
    },
    pattern_weights={
        "plain": 2.6,
        "stripe": 1.3,
        "check": 1.0,
        "dot": 1.3,
        "chevron": 1.0,
        "floral": 1.4,
        "diamond": 1.1,
        "block": 1.1,
        "quilted": 1.5,
    },
    words={
        "colour": {
            "black": "Noir",
            "ivory": "Ecru",
            "grey": "Slate",
            "navy": "Marine",
            "sky": "Azure",
            "red": "Rouge",
            "pink": "Blush",
            "green": "Forest",
            "yellow": "Sun",
            "camel": "Sand",
            "brown": "Espresso",
            "violet": "Plum",
        },
        "pattern": {
            "stripe": "Breton",
            "check": "Plaid",
            "dot": "Dotted",
            "chevron": "Herringbone",
            "floral": "Flower",
            "diamond": "Harlequin",
            "block": "Bicolour",
            "quilted": "Matelasse",
        },
        "cloth": {
            "leather": "Calf",
            "canvas": "Linen",
            "tweed": "Tweed",
            "suede": "Nubuck",
            "patent": "Lacquer",
            "cotton": "Poplin",
            "silk": "Silk",
            "fine knit": "Jersey",
            "cable knit": "Aran",
            "gabardine": "Gabardine",
            "denim": "Denim",
            "wool": "Flannel",
            "cashmere": "Cashmere",
            "acetate": "Acetate",
            "nylon": "Nylon",
        },
        "size": {
            "mini": "Petite",
            "large": "Grand",
            "compact": "Compact",
            "long": "Long",
            "slim": "Narrow",
            "wide": "Wide",
            "midi": "Midi",
            "maxi": "Maxi",
            "short": "Short",
        },
        "detail": {
            "round": "Round",
            "square": "Square",
            "cat-eye": "Butterfly",
            "short sleeve": "Short Sleeve",
            "long sleeve": "Long Sleeve",
        },
    },
    factors={
        "size": {
            "mini": 0.66,
            "large": 1.45,
            "compact": 0.7,
            "long": 1.45,
            "slim": 0.8,
            "wide": 1.25,
            "low": 0.84,
            "high": 1.26,
            "low heel": 0.8,
            "high heel": 1.3,
            "cropped": 0.74,
            "maxi": 1.5,
            "short": 0.7,
            "ankle": 0.75,
            "knee": 1.35,
        },
        "detail": {
            "chain": 1.5,
            "strap": 0.8,
            "bow": 1.5,
            "short sleeve": 0.8,
            "long sleeve": 1.25,
            "sleeveless": 0.82,
            "roll neck": 1.28,
            "crew": 0.86,
            "pleated": 1.34,
            "straight": 0.82,
            "square": 0.76,
            "round": 1.15,
            "cat-eye": 1.6,
        },
        "cloth": {
            "leather": 1.25,
            "canvas": 0.68,
            "tweed": 1.7,
            "suede": 0.82,
            "patent": 1.3,
            "cotton": 0.78,
            "silk": 1.5,
            "fine knit": 0.8,
            "cable knit": 1.3,
            "gabardine": 0.84,
            "denim": 0.7,
            "wool": 1.2,
            "cashmere": 1.3,
        },
        "pattern": {
            "plain": 0.82,
            "dot": 1.15,
            "check": 1.15,
            "chevron": 1.35,
            "floral": 1.6,
            "diamond": 1.35,
            "quilted": 1.7,
        },
        "metal": {"gold": 1.35, "silver": 0.85},
    },
)

HOUSES: dict[str, House] = {house.name: house for house in (_ALDER, _CORVANE, _MISTRAL)}


def find_house(name: str) -> House:
    """The house of that name.

    Raises:
        SampleError: there is no such house.
    """
    if name not in HOUSES:
        raise SampleError(
            f"There is no house named {name!r}; the houses are {', '.join(HOUSES)}. "
            "Set sample.house to one of them."
        )
    return HOUSES[name]
