"""A picture and a text through processor and model to new text, against Microsoft's."""

import json

import golden_images
import torch
from goldens import Case, write_processor_folder
from transformers import AutoProcessor


def test_picture_and_text_become_the_recorded_answer(tmp_path):
    case = Case("e_end_to_end")
    config = json.loads((case.folder / "config.json").read_text())
    write_processor_folder(tmp_path, case.about["num_crops"], config=config)
    model = case.load_model(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    pictures = [golden_images.draw(spec) for spec in case.about["images"]]
    inputs = processor(case.about["text"], pictures, return_tensors="pt")
    recorded = case.tensors["prompt_input_ids"]
    assert torch.equal(
        inputs["input_ids"], recorded.masked_fill(recorded < 0, processor.image_token_id)
    )
    found = model.generate(
        **inputs,
        max_new_tokens=case.tensors["gen_ids"].shape[1],
        do_sample=False,
        eos_token_id=None,
        output_logits=True,
        return_dict_in_generate=True,
    )
    new = found.sequences[:, inputs["input_ids"].shape[1] :]
    assert torch.equal(new, case.tensors["gen_ids"])
    logits = torch.stack(found.logits, dim=1)[..., :: case.about["logits_stride"][1]]
    torch.testing.assert_close(logits, case.tensors["gen_logits"], rtol=1e-5, atol=1e-4)
    assert processor.tokenizer.decode(new[0]) == case.about["gen_text"]
