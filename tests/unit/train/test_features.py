import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loupe import vlm
from loupe.build.dataset import Dataset
from loupe.errors import OptionError, TrainError
from loupe.options import TrainOptions
from loupe.train import features, train_model
from loupe.train.batches import Collator
from loupe.train.examples import Seen
from loupe.train.features import (
    FeaturedDataset,
    FeatureStore,
    identify_tower,
    keep_features,
)

KEY = "ab" * 32


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path, "basis", torch.float32)


@pytest.fixture
def options(colour_dataset, tiny_checkpoint, tmp_path):
    return TrainOptions(
        dataset=str(colour_dataset),
        output=str(tmp_path / "model"),
        model=str(tiny_checkpoint),
        parts={"tower": "frozen"},
        optimizer="muon",
        max_steps=6,
        batch_size=8,
        evaluations=1,
    )


def file_of(folder):
    (path,) = folder.rglob("*.safetensors")
    return path


def batch_of(picture):
    """What the collator makes of one picture that was not seen yet."""
    return {
        "seen": [None],
        "picture_keys": [KEY],
        "pixel_values": picture,
        "image_sizes": torch.tensor([[28, 28]]),
    }


def keep_one(store, value=1.0):
    batch = batch_of(torch.full((1, 2, 3), value))
    return store.complete(batch, lambda pixels, _: pixels[0].clone())["tower_features"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_what_was_seen_is_read_back_as_it_was_used(tmp_path, dtype):
    store = FeatureStore(tmp_path, "basis", dtype)
    used = keep_one(store, 1 / 3)
    seen = FeatureStore(tmp_path, "basis", dtype).read(KEY)
    assert seen.features.dtype == used.dtype == dtype
    assert torch.equal(seen.features, used)
    assert seen.image_size.tolist() == [28, 28]
    assert FeatureStore(tmp_path, "other", dtype).read(KEY) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:7],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: whole[:-4] + b"\0\0\0\0",  # a block that never reached the disk
        lambda whole: bytes(len(whole)),
        lambda whole: b"not a tensor at all",
    ],
    ids=["empty", "7 bytes", "half", "a byte short", "zeros at the end", "zeros", "text"],
)
def test_a_damaged_file_is_computed_again(store, tmp_path, damage):
    keep_one(store)
    path = file_of(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert store.read(KEY) is None
    keep_one(store)
    assert path.read_bytes() == whole


def test_a_file_of_other_tensors_is_no_feature(store, tmp_path):
    keep_one(store)
    save_file({"weights": torch.ones(3)}, file_of(tmp_path))
    assert store.read(KEY) is None


def test_a_write_that_is_broken_off_leaves_nothing_to_read(store, tmp_path, monkeypatch):
    def save_half(held, path):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(features, "save_file", save_half)
    with pytest.raises(KeyboardInterrupt):
        keep_one(store)
    assert store.read(KEY) is None
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_full_disk_is_told_once_and_ends_nothing(store, tmp_path, monkeypatch, caplog):
    def save_nothing(held, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(features, "save_file", save_nothing)
    assert torch.equal(keep_one(store), keep_one(store))
    assert caplog.text.count("No more features can be kept") == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_pictures_kept_and_new_stand_in_the_order_of_their_samples(store):
    kept = Seen(torch.full((1, 2), 7.0), torch.tensor([28, 28]))
    batch = {
        "seen": [None, kept, None],
        "picture_keys": ["aa", "bb", "cc"],
        "pixel_values": torch.tensor([[[1.0, 1.0]], [[3.0, 3.0]]]),
        "image_sizes": torch.tensor([[28, 56], [56, 28]]),
        "labels": "untouched",
    }
    complete = store.complete(batch, lambda pixels, _: pixels[0])
    assert complete["tower_features"].tolist() == [[1, 1], [7, 7], [3, 3]]
    assert complete["image_sizes"].tolist() == [[28, 56], [28, 28], [56, 28]]
    assert complete.keys() == {"tower_features", "image_sizes", "labels"}
    assert store.read("cc").features.tolist() == [[3, 3]]


def test_loss_and_gradients_are_those_of_pixels(predictor, make, store):
    model = predictor.model.train()
    model.model.vision_embed_tokens.img_processor.requires_grad_(False)
    rows, _ = make.rows(predictor, 4)
    featured = FeaturedDataset(rows, [[f"{place:064}"] for place in range(4)], store)
    collate = Collator(predictor.processor)

    def run(batch):
        del batch["row_ids"]
        model.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        gradients = {name: value.grad for name, value in model.named_parameters()}
        return loss.item(), {
            name: each.clone() for name, each in gradients.items() if each is not None
        }

    def complete(places):
        batch = collate([featured[place, 0] for place in places])
        with torch.no_grad():
            return store.complete(batch, model.get_tower_features)

    expected, gradients = run(collate([rows[place, 0] for place in range(4)]))
    complete([2, 0])
    assert isinstance(featured[2, 0].pictures[0], Seen)
    assert not isinstance(featured[1, 0].pictures[0], Seen)
    for _ in range(2):  # two of four kept, then all
        loss, others = run(complete(range(4)))
        # pictures are encoded one by one, not together: other order of float32 sums
        assert loss == pytest.approx(expected, abs=1e-6)
        assert gradients.keys() == others.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(others[name], gradient, rtol=0, atol=1e-6)


def test_what_features_depend_on_is_in_their_name(tiny_checkpoint, make):
    def identify(change=lambda predictor: None, dtype=torch.float32):
        predictor = make.predictor(tiny_checkpoint)
        change(predictor)
        return identify_tower(predictor.model, predictor.processor, dtype)

    def nudge(name):
        def change(predictor):
            value = predictor.model.get_parameter(name)
            value.data[0] += 1e-3

        return change

    tower = "model.vision_embed_tokens.img_processor.vision_model"
    plain = identify()
    assert identify() == plain
    assert identify(nudge("lm_head.weight")) == plain
    others = [
        identify(nudge(f"{tower}.encoder.layers.0.mlp.fc1.bias")),
        identify(lambda each: setattr(each.processor.image_processor, "num_crops", 2)),
        identify(lambda each: setattr(each.processor.image_processor, "image_mean", [0.0] * 3)),
        identify(lambda each: setattr(each.model.config.vision_config, "layer_norm_eps", 0.1)),
        identify(dtype=torch.bfloat16),
    ]
    assert len({plain, *others}) == 6


def train(options, monkeypatch, output, **changes):
    """Train, and count how many pictures enter the tower while learning."""
    seen = []
    real = FeatureStore.complete

    def count(self, batch, encode):
        return real(self, batch, lambda *pixels: seen.append(1) or encode(*pixels))

    monkeypatch.setattr(FeatureStore, "complete", count)
    result = train_model(replace(options, output=str(output), **changes))
    monkeypatch.undo()
    return result, len(seen)


@pytest.mark.parametrize(
    "change",
    [{}, {"method": "lora", "parts": {"projection": "full"}}, {"precision": "bf16"}],
    ids=["full", "lora", "bf16"],
)
def test_a_run_is_the_same_and_its_tower_sees_each_picture_once(
    options, tmp_path, monkeypatch, caplog, change
):
    caplog.set_level(logging.INFO, logger="loupe")
    plain, _ = train(options, monkeypatch, tmp_path / "plain", keep_features=False, **change)
    assert (
        "The tower runs in every step; its features are not kept: keep_features is" in caplog.text
    )
    kept, seen = train(options, monkeypatch, tmp_path / "kept", **change)
    rows = plain.record["train_rows"]
    assert seen == rows  # of two passes
    assert "The frozen tower sees each picture once: features are kept in " in caplog.text
    assert not (tmp_path / "kept" / "features").exists()  # the run is over
    tolerance = 1e-2 if change.get("precision") else 1e-5
    assert kept.record["best_score"] == pytest.approx(plain.record["best_score"], abs=tolerance)
    told = json.loads((tmp_path / "kept" / "plan.json").read_text("utf-8"))["features"]
    assert "GiB of disk, until the run is over" in told


def test_a_named_folder_serves_later_runs(options, tmp_path, monkeypatch):
    folder = tmp_path / "shared"
    first, seen = train(options, monkeypatch, tmp_path / "one", feature_folder=str(folder))
    _, none = train(options, monkeypatch, tmp_path / "two", feature_folder=str(folder), max_steps=1)
    assert (seen, none) == (first.record["train_rows"], 0)
    held = load_file(next(folder.rglob("*.safetensors")))
    assert held["features"].shape[1:] == (4, 32)  # patches, channels
    for path in folder.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    _, repaired = train(options, monkeypatch, tmp_path / "three", feature_folder=str(folder))
    assert repaired == seen


def test_a_run_killed_while_it_keeps_goes_on_to_the_same_weights(options, tmp_path, monkeypatch):
    whole = train_model(options)
    killed = replace(options, output=str(tmp_path / "killed"))
    real, calls = FeatureStore._write, []

    def write_and_die(self, key, seen):
        real(self, key, seen)
        calls.append(key)
        if len(calls) == 11:  # in the middle of the second batch
            raise KeyboardInterrupt

    monkeypatch.setattr(FeatureStore, "_write", write_and_die)
    with pytest.raises(KeyboardInterrupt):
        train_model(killed)
    monkeypatch.setattr(FeatureStore, "_write", real)
    resumed = train_model(killed)
    one, other = (load_file(f"{each.output}/model.safetensors") for each in (whole, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"augment": True}, "augment shows other pictures"),
        ({"parts": {}}, "it is trained"),
        ({"max_steps": 2}, "each picture is shown once"),
        ({"keep_features": False}, "keep_features is off"),
    ],
    ids=["augment", "trained tower", "one pass", "turned off"],
)
def test_what_is_not_kept_is_told_with_its_reason(options, caplog, change, reason):
    caplog.set_level(logging.INFO, logger="loupe")
    result = train_model(replace(options, **change))
    assert f"its features are not kept: {reason}" in caplog.text
    assert result.record["steps"] == change.get("max_steps", 6)


def test_a_disk_without_room_is_told_before_the_run(options, monkeypatch, caplog, tmp_path):
    caplog.set_level(logging.INFO, logger="loupe")
    monkeypatch.setattr(features, "_find_room", lambda *_: 1000)
    with pytest.raises(TrainError, match=r"feature_folder is .* but .* could take 0\.00 GiB and"):
        train_model(replace(options, feature_folder=str(tmp_path / "shared")))
    train_model(options)
    assert "not kept: they could take" in caplog.text


def test_a_folder_that_cannot_be_written_is_told(options, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(TrainError, match=r"cannot be written .* Name another"):
        train_model(replace(options, feature_folder=str(tmp_path / "file" / "folder")))


def test_another_family_trains_with_its_tower(options, llava_checkpoint, caplog):
    caplog.set_level(logging.INFO, logger="loupe")
    train_model(replace(options, model=str(llava_checkpoint)))
    assert "not kept: only Phi-3-Vision can be given them" in caplog.text


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_weights_that_are_divided_are_not_asked_for_features(
    options, predictor, make, monkeypatch, sharding
):
    if sharding == "none":  # by accelerate launch
        monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    options = replace(options, sharding=sharding)
    rows, _ = make.rows(predictor, 2)
    split = Dataset.open(options.dataset).rows("train")
    chosen, told = keep_features(predictor, split, rows, options, torch.float32, repeats=True)
    assert chosen is rows
    assert "divided among processes" in told


def test_a_tower_that_drops_at_random_runs_each_time(options, predictor, make):
    vlm.underlying_model(predictor.model).config.vision_config.attention_dropout = 0.1
    rows, _ = make.rows(predictor, 2)
    split = Dataset.open(options.dataset).rows("train")
    _, told = keep_features(predictor, split, rows, options, torch.float32, repeats=True)
    assert "drops values at random" in told


@pytest.mark.parametrize("change", [{"augment": True}, {"keep_features": False}, {"parts": {}}])
def test_a_folder_for_features_that_cannot_be_is_refused(options, change):
    with pytest.raises(OptionError, match=r"feature_folder is 'kept', but .* drop feature_folder"):
        replace(options, feature_folder="kept", **change)
