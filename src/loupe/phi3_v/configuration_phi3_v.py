"""Configuration of Phi-3-Vision: the published `config.json` in, the same layout out.

The published files (https://huggingface.co/microsoft/Phi-3-vision-128k-instruct) spell some things
in ways of their own: `rope_scaling` of type "su", a tower named but not described, `torch_dtype`.
They are translated here, in both directions, and nowhere else.
"""

import math
from typing import Any

from transformers import CLIPVisionConfig, Phi3Config

STANDARD_TOWER_NAME = "openai/clip-vit-large-patch14-336"
STANDARD_TOWER: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_channels": 3,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "initializer_factor": 1.0,
}
"""What `STANDARD_TOWER_NAME` stands for; the published config gives the name alone."""

EMBEDDING_LAYOUT: dict[str, Any] = {
    "embedding_cls": "image",
    "hd_transform_order": "sub_glb",
    "projection_cls": "mlp",
    "use_hd_transform": True,
    "with_learnable_separator": True,
}
"""The only value of `embd_layer` that was ever published with weights."""

IMAGE_TOKEN_ID = 32044  # "<|image|>" in the published vocabulary
PATCHES_PER_TOKEN_SIDE = 2  # a token sees 2 x 2 patches


class Phi3VConfig(Phi3Config):  # type: ignore[misc]  # untyped in transformers
    """Configuration of a Phi-3-Vision model: a Phi-3 decoder, a CLIP tower and what joins them.

    Fields beyond those of `Phi3Config`:

    - `embd_layer`: how picture tokens are laid out; one layout exists, `None` means that one.
    - `img_processor`: the published description of the tower; `None` derives it from the next.
    - `vision_config`: the tower; `None` means the standard ViT-L/14-336.
    - `image_token_id`: the id that marks a place for a picture feature.

    Raises:
        ValueError: another picture layout is asked for; the tower's picture does not divide into
            tokens; `img_processor` contradicts `vision_config`.
    """

    model_type = "phi3_v"
    sub_configs = {"vision_config": CLIPVisionConfig}  # noqa: RUF012  # transformers' declaration

    embd_layer: dict[str, Any] | None = None
    img_processor: dict[str, Any] | None = None
    vision_config: dict[str, Any] | CLIPVisionConfig | None = None
    image_token_id: int = IMAGE_TOKEN_ID

    def __post_init__(self, **kwargs: Any) -> None:
        # The published files ask for flash attention by this key. Whether it is installed is the
        # reader's business, so the wish is written back but not obeyed.
        wish = kwargs.pop("_attn_implementation", None) or kwargs.pop("published_attention", None)
        if not isinstance(self.vision_config, CLIPVisionConfig):
            self.vision_config = CLIPVisionConfig(**(self.vision_config or STANDARD_TOWER))
        self.embd_layer = dict(EMBEDDING_LAYOUT if self.embd_layer is None else self.embd_layer)
        if self.img_processor is None:
            self.img_processor = describe_tower(self.vision_config)
        super().__post_init__(**kwargs)
        self.published_attention = wish
        _check_layout(self.embd_layer)
        _check_tower(self.img_processor, self.vision_config)

    @property
    def crop_size(self) -> int:
        """Side of one crop, in pixels."""
        return int(self.vision_config.image_size)  # type: ignore[union-attr]

    @property
    def tokens_per_side(self) -> int:
        """Tokens along one side of a crop, its row separator not counted."""
        return self.crop_size // (PATCHES_PER_TOKEN_SIDE * int(self.vision_config.patch_size))  # type: ignore[union-attr]

    def convert_rope_params_to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Read the published `rope_scaling`, or `rope_parameters`, into a dict of our own."""
        published = kwargs.pop("rope_scaling", None) or self.rope_parameters
        ratio = self.max_position_embeddings / self.original_max_position_embeddings
        self.rope_parameters: dict[str, Any] = rope_from_published(published, ratio)
        return super().convert_rope_params_to_dict(**kwargs)  # type: ignore[no-any-return]

    def to_diff_dict(self) -> dict[str, Any]:
        """What is written to `config.json`: the published layout."""
        written: dict[str, Any] = super().to_diff_dict()
        rope = written.pop("rope_parameters")
        written["rope_theta"] = rope["rope_theta"]
        written["rope_scaling"] = rope_to_published(rope)
        if "dtype" in written:
            written["torch_dtype"] = written.pop("dtype")
        if (attention := written.pop("published_attention", None)) is not None:
            written["_attn_implementation"] = attention
        described = written.pop("vision_config")
        tower = {key: described[key] for key in STANDARD_TOWER}
        if tower != STANDARD_TOWER:
            written["vision_config"] = {"model_type": CLIPVisionConfig.model_type, **tower}
        if written["image_token_id"] == IMAGE_TOKEN_ID:
            written.pop("image_token_id")
        return written


def rope_from_published(published: dict[str, Any] | None, length_ratio: float) -> dict[str, Any]:
    """Translate the published `rope_scaling` to transformers' `rope_parameters`, in a new dict.

    "su" and "yarn" are transformers' "longrope"; "yarn" differs by how much it scales cos and sin.
    `length_ratio` is maximum length / length that the short factors were trained for.
    """
    rope = dict(published or {})
    kind = rope.pop("type", None) or rope.get("rope_type")
    if kind in ("su", "yarn", "longrope"):
        rope["rope_type"] = "longrope"
        rope.setdefault("factor", max(1.0, length_ratio))
    if kind == "yarn":
        rope["attention_factor"] = 0.1 * math.log(max(1.0, length_ratio)) + 1.0
    return rope


def rope_to_published(rope: dict[str, Any]) -> dict[str, Any] | None:
    """The published `rope_scaling`, which has exactly three keys; `None` for plain rope."""
    if rope["rope_type"] == "default":
        return None
    return {
        "type": "yarn" if "attention_factor" in rope else "su",
        "short_factor": rope["short_factor"],
        "long_factor": rope["long_factor"],
    }


def describe_tower(tower: CLIPVisionConfig) -> dict[str, Any]:
    """The published description (`img_processor`) of a tower."""
    described = {
        "image_dim_out": tower.hidden_size,
        "name": "clip_vision_model",
        "num_img_tokens": (tower.image_size // (PATCHES_PER_TOKEN_SIDE * tower.patch_size)) ** 2,
    }
    if all(getattr(tower, key) == value for key, value in STANDARD_TOWER.items()):
        described["model_name"] = STANDARD_TOWER_NAME
    return described


def _check_layout(embd_layer: dict[str, Any]) -> None:
    other = {k: v for k, v in embd_layer.items() if k in EMBEDDING_LAYOUT}
    if other != {key: EMBEDDING_LAYOUT[key] for key in other}:
        raise ValueError(
            f"embd_layer asks for {embd_layer}; the only layout of picture tokens known here is "
            f"{EMBEDDING_LAYOUT}. Leave embd_layer out, or give that one."
        )


def _check_tower(described: dict[str, Any], tower: CLIPVisionConfig) -> None:
    step = PATCHES_PER_TOKEN_SIDE * tower.patch_size
    if tower.image_size % step:
        raise ValueError(
            f"vision_config.image_size is {tower.image_size} px; it must be a multiple of "
            f"{step} px, {PATCHES_PER_TOKEN_SIDE} patches of {tower.patch_size} px."
        )
    for key, value in describe_tower(tower).items():
        if key != "model_name" and described.get(key, value) != value:
            raise ValueError(
                f"img_processor.{key} is {described[key]}, but vision_config makes it {value}. "
                "Change one of them, or leave img_processor out."
            )
