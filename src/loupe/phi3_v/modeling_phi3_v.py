"""Phi-3-Vision: a Phi-3 decoder with the features of pictures among its tokens.

The parts are transformers' own `CLIPVisionModel` and `Phi3Model`; the parameter names are those of
the published checkpoints (https://huggingface.co/microsoft/Phi-3-vision-128k-instruct).
`docs/model.md` follows a picture through every shape.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import GenerationMixin, Phi3Model
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.phi3.modeling_phi3 import Phi3PreTrainedModel, Phi3RotaryEmbedding
from transformers.utils import can_return_tuple

from loupe.phi3_v.configuration_phi3_v import Phi3VConfig
from loupe.phi3_v.loss_phi3_v import score_labels, share_labels
from loupe.phi3_v.placement_phi3_v import (
    find_image_places,
    published_picture_order,
    repeat_by_row,
)
from loupe.phi3_v.vision_phi3_v import Phi3VImageEmbedding

LOGITS_PER_CHUNK = 2**25  # 128 MiB in float32


class Phi3VRotaryEmbedding(Phi3RotaryEmbedding):  # type: ignore[misc]  # untyped in transformers
    """Rotary angles; long rope picks its short or long factors for each row by the row's length.

    transformers picks once for the whole batch, so that a long neighbour would change the answer to
    a short text.
    """

    @torch.no_grad()
    def forward(
        self, x: torch.Tensor, position_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cos and sin, each (rows, tokens, head size), for positions (rows, tokens)."""
        inv_freq = self.inv_freq.to(device=x.device, dtype=torch.float)
        if self.rope_type == "longrope":
            inv_freq = self._choose_factors(inv_freq, position_ids)
        angles = position_ids[..., None].float() * inv_freq  # (rows, tokens, head size / 2)
        angles = torch.cat((angles, angles), dim=-1)
        cos = angles.cos() * self.attention_scaling
        sin = angles.sin() * self.attention_scaling
        return cos.to(x.dtype), sin.to(x.dtype)

    def _choose_factors(self, short: torch.Tensor, position_ids: torch.Tensor) -> torch.Tensor:
        limit = self.config.original_max_position_embeddings
        long, _ = ROPE_INIT_FUNCTIONS["longrope"](self.config, short.device, seq_len=limit + 1)
        lengths = position_ids.amax(dim=-1) + 1  # (rows,)
        is_long = (lengths > limit)[:, None, None]
        return torch.where(is_long, long, short)  # (rows, 1, head size / 2)


class Phi3VPreTrainedModel(Phi3PreTrainedModel):  # type: ignore[misc]  # untyped in transformers
    """What every Phi-3-Vision model shares: configuration and initial weights."""

    config: Phi3VConfig
    input_modalities = ("image", "text")
    _no_split_modules = ["Phi3DecoderLayer", "Phi3VImageEmbedding"]  # noqa: RUF012
    # Aliases and buffers that some published or re-saved checkpoints carry.
    _keys_to_ignore_on_load_unexpected = [  # noqa: RUF012
        r"vision_embed_tokens\.wte\.weight",
        r"vision_model\.embeddings\.position_ids",
    ]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Phi3VImageEmbedding):
            # Microsoft starts the separators at zero, where they are all alike; like the class
            # token of the tower they start as small noise here.
            init.normal_(module.glb_GN, std=self.config.initializer_range)
            init.normal_(module.sub_GN, std=self.config.initializer_range)


class Phi3VModel(Phi3VPreTrainedModel, Phi3Model):  # type: ignore[misc]  # untyped
    """The decoder with pictures among its tokens, without a language-model head."""

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__(config)
        self.vision_embed_tokens = Phi3VImageEmbedding(config)
        self.rotary_emb = Phi3VRotaryEmbedding(config=config)
        self.embed_dropout = nn.Dropout(config.embd_pdrop)
        self.post_init()

    def get_tower_features(
        self, pixel_values: torch.Tensor, image_sizes: torch.Tensor
    ) -> torch.Tensor:
        """Encode pictures by the tower alone: (real crops of all, patches, channels).

        With a frozen tower the result can be kept and given to `forward` as `tower_features`,
        whatever of the projection is trained. For arguments and errors see `get_image_features`.
        """
        return self.vision_embed_tokens.encode_crops(pixel_values, image_sizes)

    def get_image_features(
        self,
        pixel_values: torch.Tensor | None,
        image_sizes: torch.Tensor | None,
        tower_features: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Encode pictures to the features that stand in their places.

        Only real crops are encoded. With a frozen tower and projection the result can be kept and
        given to `forward` as `image_features`.

        Args:
            pixel_values: (images, 1 + crops, 3, side, side), zeros after each picture's own crops.
            image_sizes: (images, 2), height and width in pixels of each picture's grid of crops.
            tower_features: what `get_tower_features` returned, in place of `pixel_values`.

        Returns:
            One (tokens, hidden) per picture.

        Raises:
            ValueError: `image_sizes` is missing; a size is no multiple of the crop's, or asks for
                other crops than there are.
        """
        if image_sizes is None:
            given = "pixel_values" if tower_features is None else "tower_features"
            raise ValueError(
                f"{given} came without image_sizes, which say how many of the crops are real. "
                "Pass on both, as the processor returns them."
            )
        features: tuple[torch.Tensor, ...] = self.vision_embed_tokens(
            pixel_values, image_sizes, tower_features
        )
        return features

    def forward(  # noqa: PLR0913, PLR0917  # transformers sets it
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_sizes: torch.Tensor | None = None,
        image_features: Sequence[torch.Tensor] | None = None,
        tower_features: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Run the decoder. See `Phi3VForCausalLM.forward`."""
        past_length = 0 if past_key_values is None else past_key_values.get_seq_length()
        if inputs_embeds is None and input_ids is not None:
            # A single cached token is one that was generated, whatever its id.
            if input_ids.shape[1] > 1 or past_length == 0:
                seen = pixel_values if tower_features is None else tower_features
                if image_features is None and seen is not None:
                    image_features = self.get_image_features(
                        pixel_values, image_sizes, tower_features
                    )
                inputs_embeds = self._embed(input_ids, image_features or ())
            else:
                inputs_embeds = self.embed_tokens(input_ids)
            inputs_embeds = self.embed_dropout(inputs_embeds)
        if position_ids is None and attention_mask is not None and attention_mask.ndim == 2:
            position_ids = positions_from_mask(attention_mask, past_length)
        return super().forward(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )

    def _embed(
        self, input_ids: torch.Tensor, image_features: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Embed ids (rows, tokens) with features in the places of pictures, in reading order."""
        places = find_image_places(input_ids, self.config.image_token_id)
        wanted, given = int(places.sum()), sum(len(feature) for feature in image_features)
        if wanted != given:
            raise ValueError(
                f"The text has {wanted} places for picture features, but {len(image_features)} "
                f"pictures give {given} features. Pass pixel_values and image_sizes of exactly the "
                "pictures in the text, as the processor returns them."
            )
        embeds = self.embed_tokens(input_ids.masked_fill(places, 0))  # (rows, tokens, hidden)
        if not wanted:
            return embeds  # type: ignore[no-any-return]
        order = published_picture_order(input_ids, len(image_features))
        features = torch.cat([image_features[i] for i in order]).to(embeds)
        return embeds.masked_scatter(places[..., None], features)  # type: ignore[no-any-return]


class Phi3VForCausalLM(Phi3VPreTrainedModel, GenerationMixin):  # type: ignore[misc]  # untyped
    """Phi-3-Vision with its language-model head."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__(config)
        self.model = Phi3VModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_tower_features(
        self, pixel_values: torch.Tensor, image_sizes: torch.Tensor
    ) -> torch.Tensor:
        """Encode pictures by the tower alone. See `Phi3VModel.get_tower_features`."""
        return self.model.get_tower_features(pixel_values, image_sizes)

    def get_image_features(
        self,
        pixel_values: torch.Tensor | None,
        image_sizes: torch.Tensor | None,
        tower_features: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Encode pictures. See `Phi3VModel.get_image_features`."""
        return self.model.get_image_features(pixel_values, image_sizes, tower_features)

    @can_return_tuple  # type: ignore[untyped-decorator]  # untyped in transformers
    def forward(  # noqa: PLR0913, PLR0917  # transformers sets it
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_sizes: torch.Tensor | None = None,
        image_features: Sequence[torch.Tensor] | None = None,
        tower_features: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        label_choices: torch.Tensor | None = None,
        label_weights: torch.Tensor | None = None,
        label_smoothing: float = 0.0,
        logits_to_keep: int | torch.Tensor = 0,
        return_logits: bool | None = None,
        num_items_in_batch: int | torch.Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Run the model.

        Args:
            input_ids: (rows, tokens); `config.image_token_id` marks the places of picture features.
                The negative ids of Microsoft's processor mark them as well: -k is picture k of
                its row.
            attention_mask: (rows, tokens so far), 1 for tokens and 0 for padding.
            position_ids: (rows, tokens); `None` counts the attention mask.
            past_key_values: cache of earlier tokens.
            inputs_embeds: (rows, tokens, hidden), in place of ids and pictures.
            pixel_values: (images, 1 + crops, 3, side, side), the pictures of all rows in reading
                order.
            image_sizes: (images, 2), height and width in pixels of each grid of crops.
            image_features: what `get_image_features` returned, in place of the two before.
            tower_features: what `get_tower_features` returned, in place of `pixel_values` alone.
            labels: (rows, tokens), ids to predict; -100 is not scored.
            label_choices: (rows, tokens, choices), ids that are right in part where a label is
                scored; `None` is the label alone.
            label_weights: (rows, tokens, choices), by how much each choice counts; needs
                `label_choices`.
            label_smoothing: share of each label that all tokens of the vocabulary divide, 0 to 1.
            logits_to_keep: only the last so many positions get logits, or those at the given
                indices; 0 means all.
            return_logits: `None` leaves them out in training with labels, where they are the
                largest tensor of all and nobody reads them.
            num_items_in_batch: what the sum of losses is divided by; `None` divides by the number
                of scored positions, weighted or not.
            **kwargs: for the decoder, such as `use_cache` and `output_hidden_states`.

        Returns:
            `loss`, a float32 scalar where labels are given (0 where none is scored); `logits`,
            (rows, positions kept, vocabulary) in float32, or `None`; cache, hidden states and
            attentions as in transformers.

        Raises:
            ValueError: places and features differ in number; sizes and crops do not fit; one of
                `label_choices` and `label_weights` is given without the other.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            pixel_values=pixel_values,
            image_sizes=image_sizes,
            image_features=image_features,
            tower_features=tower_features,
            **kwargs,
        )
        hidden = outputs.last_hidden_state
        logits = loss = None
        if return_logits is None:
            return_logits = labels is None or not self.training
        if return_logits:
            is_count = isinstance(logits_to_keep, int)
            kept = slice(-logits_to_keep, None) if is_count else logits_to_keep
            logits = self.lm_head(hidden[:, kept]).float()
        if labels is not None:
            chunk = max(1, LOGITS_PER_CHUNK // self.config.vocab_size)
            loss = score_labels(
                self.lm_head,
                hidden,
                labels,
                chunk,
                num_items_in_batch,
                share_labels(labels, label_choices, label_weights, label_smoothing),
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        past_key_values: Cache | None = None,
        attention_mask: torch.Tensor | None = None,
        image_features: Sequence[torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Prepare one step; drop the cache at the step at which a row's rope factors change."""
        past_length = 0 if past_key_values is None else past_key_values.get_seq_length()
        if past_length and self._rope_switches(input_ids, attention_mask, past_length):
            past_key_values, past_length = None, 0
            kwargs["next_sequence_length"] = None
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(
            input_ids, past_key_values=past_key_values, attention_mask=attention_mask, **kwargs
        )
        # Pictures are in the cache after the first step; they are needed again when it is dropped.
        if inputs["input_ids"] is None or inputs["input_ids"].shape[1] > 1 or not past_length:
            inputs["image_features"] = image_features
        return inputs

    def _rope_switches(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, past_length: int
    ) -> bool:
        limit = self.config.original_max_position_embeddings
        rope_type = self.config.rope_parameters["rope_type"]
        if rope_type != "longrope" or input_ids.shape[1] <= limit:
            return False
        if attention_mask is None or attention_mask.ndim != 2:
            return bool(past_length <= limit)
        before = attention_mask[:, :past_length].sum(dim=-1)
        after = attention_mask.sum(dim=-1)
        return bool(((before <= limit) & (after > limit)).any())

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: torch.Tensor | None = None,
        **model_kwargs: Any,
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Encode the pictures once, before rows are repeated for beams or samples."""
        pixel_values = model_kwargs.pop("pixel_values", None)
        image_sizes = model_kwargs.pop("image_sizes", None)
        tower_features = model_kwargs.pop("tower_features", None)
        features = model_kwargs.pop("image_features", None)
        if features is None and (pixel_values is not None or tower_features is not None):
            features = self.get_image_features(pixel_values, image_sizes, tower_features)
        if features is not None and input_ids is not None:
            places = find_image_places(input_ids, self.config.image_token_id)
            features = repeat_by_row(features, places.sum(dim=-1).tolist(), expand_size)
        input_ids, model_kwargs = super()._expand_inputs_for_generation(
            expand_size=expand_size,
            is_encoder_decoder=is_encoder_decoder,
            input_ids=input_ids,
            **model_kwargs,
        )
        if features is not None:
            model_kwargs["image_features"] = features
        return input_ids, model_kwargs


def positions_from_mask(attention_mask: torch.Tensor, past_length: int) -> torch.Tensor:
    """Positions (rows, new tokens) that count real tokens alone, as `generate` counts them."""
    positions = attention_mask.long().cumsum(dim=-1) - 1
    return positions.clamp(min=0)[:, past_length:]
