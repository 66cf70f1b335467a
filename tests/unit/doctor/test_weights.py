import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from loupe import vlm
from loupe.doctor import tensors
from loupe.doctor.weights import examine_weights, read_config
from loupe.phi3_v import Phi3VForCausalLM

QKV = "model.layers.0.self_attn.qkv_proj.weight"
PROJECTION = "model.vision_embed_tokens.img_projection"


def only(lines, pattern):
    assert len(lines) == 1, lines
    assert re.search(pattern, lines[0]), lines[0]


def fill(name, value):
    def change(all_tensors):
        all_tensors[name] = torch.full_like(all_tensors[name], value)

    return change


def spoil(all_tensors):
    all_tensors[QKV][3, 5:8] = torch.tensor([float("nan"), float("inf"), -float("inf")])


def draw_again(all_tensors):
    torch.manual_seed(1)
    for name, value in all_tensors.items():
        if name.startswith(PROJECTION) and value.ndim == 2:
            all_tensors[name] = (0.04 * torch.randn(value.shape)).to(value.dtype)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.pop(QKV), rf"weights: 1 of 114 tensors are missing: {QKV}\. They would be"),
        (
            lambda t: t.update({QKV: t[QKV][:8].clone()}),
            rf"1 tensors have another shape: {QKV} is 8 x 192, expected 576 x 192",
        ),
        (spoil, rf"1 tensors hold NaN or infinite numbers: {QKV} \(3\)\. \| Go back"),
        (fill(QKV, 0.0), rf"1 tensors are all zero: {QKV}\."),
        (draw_again, r"2 matrices look as drawn at random, never trained \(projection\): model"),
        (
            lambda t: t.update({f"module.{QKV}": t[QKV].clone()}),
            rf"1 tensors belong nowhere: module\.{QKV}\. They are not loaded",
        ),
    ],
    ids=["missing", "shape", "NaN", "zero", "random", "unexpected"],
)
def test_what_is_wrong_with_a_weight_is_told(patient, change, told):
    patient.change_weights(change)
    only(patient.wrong(), told)


def test_the_shipped_base_is_whole(patient):
    assert patient.wrong() == []


def test_the_published_alias_and_the_part_that_never_runs_are_no_fault(patient):
    def change(all_tensors):
        alias = "model.vision_embed_tokens.wte.weight"
        all_tensors[alias] = all_tensors["model.embed_tokens.weight"].clone()
        last = "model.vision_embed_tokens.img_processor.vision_model.post_layernorm.weight"
        all_tensors[last] = torch.zeros_like(all_tensors[last])

    patient.change_weights(change)
    assert patient.wrong() == []


def test_every_matrix_of_a_fresh_model_looks_drawn_at_random(tmp_path):
    config, _ = read_config(vlm.TINY_FOLDER, "weights")
    torch.manual_seed(0)
    Phi3VForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path)
    (found,) = examine_weights(tmp_path, config, "weights")
    assert "matrices look as drawn at random, never trained (head, embeddings" in found.what


def shard(folder, *, twice=False):
    """Write the weights as two files and an index."""
    whole = load_file(folder / "model.safetensors")
    names = sorted(whole)
    (folder / "model.safetensors").unlink()
    halves = names[: 60 + twice], names[60:]
    files = [f"model-0000{place}-of-00002.safetensors" for place in (1, 2)]
    for file, half in zip(files, halves, strict=True):
        save_file({name: whole[name] for name in half}, folder / file, metadata={"format": "pt"})
    weight_map = {n: file for file, half in zip(files, halves, strict=True) for n in half}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return files


def test_shards_are_read_by_their_index(patient):
    shard(patient.folder)
    assert patient.wrong() == []


def test_a_shard_that_is_not_there_is_told(patient):
    files = shard(patient.folder)
    (patient.folder / files[1]).unlink()
    lacking, missing = patient.wrong()
    assert "index.json names files that are not there: model-00002-of-00002" in lacking
    assert "54 of 114 tensors are missing" in missing


def test_a_tensor_in_two_shards_is_told(patient):
    shard(patient.folder, twice=True)
    only(patient.wrong(), r"1 tensors stand in two files: model\.")


def test_a_file_that_was_cut_off_is_told(patient):
    path = patient.folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    only(patient.wrong(), r"model\.safetensors cannot be read to its end .* Copy or download")


def test_a_file_that_nothing_reads_is_noted(patient):
    save_file({"a": torch.ones(2)}, patient.folder / "old.safetensors")
    result = patient.examine()
    assert result.exit_code == 0
    assert any("No loader reads old.safetensors" in each.what for each in result.findings)


def test_values_are_read_by_pieces_and_judged_as_a_whole(tmp_path, monkeypatch):
    torch.manual_seed(0)
    save_file({"drawn": 0.02 * torch.randn(300, 100)}, tmp_path / "model.safetensors")
    places, _ = tensors.find_tensors(tmp_path, "weights")
    whole = tensors.measure(places["drawn"], "drawn", [0.02])
    monkeypatch.setattr(tensors, "NUMBERS_AT_A_TIME", 1000)
    pieces = [piece.numel() for piece in tensors._pieces(places["drawn"], "drawn")]
    assert max(pieces) == 1000
    assert sum(pieces) == 30_000
    assert tensors.measure(places["drawn"], "drawn", [0.02]) == whole
    assert whole.looks_random
    assert not tensors.measure(places["drawn"], "drawn", [0.03]).looks_random


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, r"There is no config\.json, so it is not known"),
        ("{", r"config\.json cannot be used: "),
        ('{"model_type": "phi3_v", "embd_layer": {"use_hd_transform": false}}', "embd_layer asks"),
        (
            '{"model_type": "phi3_v", "vocab_size": 9, "pad_token_id": 10}',
            r"config\.json cannot be used: Padding_idx must be within",
        ),
    ],
    ids=["none", "broken", "unknown layout", "padding outside"],
)
def test_a_config_that_cannot_be_used_is_told(patient, text, told):
    path = patient.folder / "config.json"
    path.unlink() if text is None else path.write_text(text)
    assert re.search(told, patient.wrong()[0])
