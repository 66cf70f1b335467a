import json
import shutil

import pytest
import torch

from loupe import cli, vlm
from loupe.doctor import examine_checkpoint
from loupe.errors import CheckpointError
from loupe.options import DoctorOptions


@pytest.fixture
def adapter(patient, tmp_path):
    """Folder of an adapter that moved, on a copy of the shipped base, with the processor."""
    from peft import LoraConfig, get_peft_model

    base, processor = vlm.load_model_and_processor(str(patient.folder), dtype="float32")
    settings = LoraConfig(r=2, target_modules=["qkv_proj"], modules_to_save=["lm_head"])
    with vlm.without_peft_warning():
        model = get_peft_model(base, settings)
    for name, value in model.named_parameters():
        if ".lora_B" in name:
            torch.nn.init.normal_(value, std=0.01)
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    processor.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def examine(folder, *, sight=False):
    return examine_checkpoint(DoctorOptions(checkpoint=str(folder), sight=sight))


def change(folder, edit):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "adapter_model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def wrong(result):
    return [f"{each.part}: {each.what}" for each in result.findings if each.verdict == "wrong"]


def test_a_whole_adapter_and_its_base_are_well(adapter, patient):
    result = examine(adapter, sight=True)
    assert wrong(result) == []
    assert result.base == str(patient.folder)
    assert [f.part for f in result.findings if f.verdict == "well"] == [
        *("weights", "base", "processor", "sight")
    ]


def test_an_adapter_that_never_moved_is_told(adapter):
    def clear(tensors):
        for name, value in tensors.items():
            if ".lora_B" in name:
                value.zero_()

    change(adapter, clear)
    assert wrong(examine(adapter)) == [
        "weights: The adapter was never trained: its second matrices are all zero."
    ]


def test_an_adapter_that_lacks_a_matrix_is_told(adapter):
    change(adapter, lambda tensors: tensors.pop(next(n for n in tensors if "lora_A" in n)))
    (told,) = wrong(examine(adapter))
    assert "weights: 1 of 7 tensors are missing: base_model.model.model.layers.0.self_attn" in told


def test_a_fault_of_the_base_is_told_of_the_base(adapter, patient):
    patient.change_weights(lambda tensors: tensors.pop("lm_head.weight"))
    assert wrong(examine(adapter))[0].startswith("base: 1 of 114 tensors are missing")


def test_an_adapter_whose_base_is_not_here_is_told(adapter, patient):
    shutil.rmtree(patient.folder)
    assert "base: The base that adapter_config.json names is not here" in wrong(examine(adapter))[0]


def test_a_folder_that_is_not_there_is_refused():
    with pytest.raises(CheckpointError, match=r"There is no folder 'nowhere'\. Name the folder of"):
        examine("nowhere")


def test_the_table_tells_verdicts_and_cures(patient, capsys):
    patient.change_weights(lambda tensors: tensors.pop("lm_head.weight"))
    assert cli.main(["doctor", str(patient.folder), "--sight", "false"]) == 1
    out = capsys.readouterr().out
    assert "weights    WRONG  1 of 114 tensors are missing: lm_head.weight." in out
    assert "→ Copy or download the checkpoint again" in out
    assert out.rstrip().endswith("1 thing is wrong.")


def test_the_command_ends_well_and_writes_json(capsys):
    assert cli.main(["doctor", "tiny", "--sight", "false", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["is_well"]
    assert told["sight"] is None


def test_of_another_family_it_is_told_how_it_is_asked_and_whether_it_looks(gemma3_checkpoint):
    result = examine(gemma3_checkpoint, sight=True)
    weights, processor, sight = result.findings
    assert weights.what.startswith("This is a gemma3. Names, shapes and values are judged")
    assert "<start_of_turn>user" in processor.what
    assert processor.what.endswith("ends its answers with <end_of_turn>.")
    assert sight.part == "sight"
    assert result.sight.logits_to_grey > 0
    assert result.exit_code == 0


def test_another_familys_checkpoint_that_cannot_be_loaded_is_refused_in_one_line(
    gemma3_checkpoint, tmp_path, capsys
):
    folder = tmp_path / "cut"
    shutil.copytree(gemma3_checkpoint, folder)
    (folder / "model.safetensors").unlink()
    assert cli.main(["doctor", str(folder)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "has a config.json but no weights" in line
