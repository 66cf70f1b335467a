import shutil

from loupe.predict.fingerprint import fingerprint_model


def test_fingerprint_tells_weights_apart_and_not_places(tiny_checkpoint, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, copy)
    before = fingerprint_model(str(tiny_checkpoint))
    assert fingerprint_model(str(copy)) == before
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert fingerprint_model(str(copy)) != before


def test_adapter_changes_with_its_base(tiny_checkpoint, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(tiny_checkpoint, base)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(f'{{"base_model_name_or_path": "{base}"}}')
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    before = fingerprint_model(str(adapter))
    (base / "config.json").write_text("{}")
    assert fingerprint_model(str(adapter)) != before


def test_name_on_a_hub_is_its_own():
    assert fingerprint_model("microsoft/Phi-3.5-vision-instruct").startswith("microsoft/")
