"""Answer pictures by vLLM, from a merged checkpoint in the published format.

Its API: https://docs.vllm.ai/en/latest/api/vllm/entrypoints/llm.html, of 0.12 and later. Each
process of vLLM learns of the family by this package's entry point `vllm.general_plugins`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loupe.errors import MissingExtraError, PredictError
from loupe.options import Decoding, PredictOptions, PriceReading
from loupe.pixels import to_srgb
from loupe.predict.predictor import task_beside
from loupe.predict.tasks import choose_task
from loupe.task import Answer
from loupe.vlm import (
    Phi3VConfig,
    Phi3VProcessor,
    list_pictures,
    load_config,
    load_processor,
    make_dialogue,
)

if TYPE_CHECKING:
    from loupe.vlm import Pictures

__all__ = ["VllmReader"]

_SPARE_TOKENS = 16  # vLLM cuts a prompt's text at other places than the processor


class VllmReader:
    """A model that vLLM holds; answers like a `Predictor`, and keeps its own batches.

    Raises:
        MissingExtraError: vLLM is not installed.
        PredictError: the model is an adapter, or of a family or size that is not read this way.
        CheckpointError: there is no processor.
    """

    def __init__(self, options: PredictOptions) -> None:
        _refuse_adapter(Path(options.model))
        try:
            from vllm import LLM, SamplingParams
            from vllm.sampling_params import StructuredOutputsParams
        except ImportError as error:
            raise MissingExtraError("Answering by vLLM (--engine vllm)", "vllm", "vllm") from error
        self.processor = load_processor(options.model)
        if not isinstance(self.processor, Phi3VProcessor):
            raise PredictError(
                f"Engine vllm reads Phi-3-Vision; the processor of {options.model!r} is a "
                f"{type(self.processor).__name__}. Choose --engine local or ray."
            )
        _refuse_other_sizes(options.model)
        self.task = choose_task(options.model, options.task) or task_beside(options.model)
        self._dialogue = make_dialogue(self.processor, self.task.question)
        self._sampling, self._guiding = SamplingParams, StructuredOutputsParams
        self._llm = LLM(
            model=options.model,
            limit_mm_per_prompt={"image": 1},
            max_model_len=self._count_prompt() + options.max_new_tokens,
            # The task's grammar is llguidance's, which vLLM calls guidance.
            structured_outputs_config={"backend": "guidance"},
        )

    def predict(
        self,
        pictures: Sequence[Pictures],
        *,
        batch_size: int,
        max_new_tokens: int,
        decoding: Decoding,
        price: PriceReading,
    ) -> list[Answer]:
        """Answer the task's question about each picture, greedily.

        A guided answer that is longer than `max_new_tokens` breaks off and does not parse: vLLM
        has no way to cut its texts.
        """
        guided = self._guiding(grammar=self.task.grammar()) if decoding == "guided" else None
        settings = self._sampling(
            temperature=0.0,
            max_tokens=max_new_tokens,
            stop_token_ids=[self._dialogue.end_id],
            skip_special_tokens=False,
            structured_outputs=guided,
        )
        prompts: list[dict[str, Any]] = [
            {"prompt": self._dialogue.prompt, "multi_modal_data": {"image": to_srgb(picture)}}
            for product in pictures
            for picture in list_pictures(product)  # one, see check_pictures
        ]
        outputs = self._llm.generate(prompts, settings, use_tqdm=False)
        texts = [output.outputs[0].text for output in outputs]
        end = self._dialogue.end
        return [self.task.parse(text.strip().removesuffix(end).strip()) for text in texts]

    def check_pictures(self, most: int) -> None:
        """Refuse products of several pictures.

        Raises:
            PredictError: there are any.
        """
        if most > 1:
            raise PredictError(
                f"Engine vllm reads one picture of a product, and one here has {most}. Add "
                "--max-pictures 1, or choose --engine local or ray."
            )

    def _count_prompt(self) -> int:
        """Count the tokens of the longest prompt: one column of crops has the most line ends."""
        crops = self.processor.image_processor
        picture = crops.count_image_tokens(crops.num_crops * crops.crop_size, crops.crop_size)
        text = len(self.processor.tokenizer(self._dialogue.prompt)["input_ids"])
        return int(picture) + text + _SPARE_TOKENS


def _refuse_other_sizes(model: str) -> None:
    """Refuse what vLLM does not have built in: another tower, or another token for pictures."""
    published, config = Phi3VConfig(), load_config(model)
    towers = [(each.img_processor or {}).get("model_name") for each in (published, config)]
    tokens = [each.image_token_id for each in (published, config)]
    if towers[0] != towers[1] or tokens[0] != tokens[1]:
        raise PredictError(
            f"vLLM reads Phi-3-Vision with the published tower, {towers[0]} with crops of "
            f"{published.crop_size} px, and pictures at token {tokens[0]}; {model!r} has "
            f"{config.vision_config.hidden_size} wide, {config.crop_size} px and {tokens[1]}. "
            "Choose --engine local or ray."
        )


def _refuse_adapter(folder: Path) -> None:
    if (folder / "adapter_config.json").is_file():
        raise PredictError(
            f"{str(folder)!r} is an adapter, and engine vllm reads merged checkpoints. Merge it "
            "into its base, as docs/predict.md shows, and give the merged folder."
        )
