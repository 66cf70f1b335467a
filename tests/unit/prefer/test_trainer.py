import math

import pytest
import torch
from PIL import Image
from trl import DPOConfig

from loupe.errors import PreferError
from loupe.options import TrainOptions
from loupe.predict import Predictor
from loupe.prefer.pairs import PairSet
from loupe.prefer.stage import _check_family
from loupe.prefer.trainer import PreferenceTrainer
from loupe.prefer.tuned import choose_tuned
from loupe.task import Task
from loupe.train.examples import Encoder
from loupe.train.pictures import PictureCache
from loupe.train.run import Learning

ANSWERS = [("red cup", "blue bag, all of it"), ("green", "red"), ("cup cup cup", "bag")]


@pytest.fixture
def predictor(request, tiny_checkpoint):
    family = getattr(request, "param", None)
    folder = request.getfixturevalue(family) if family else tiny_checkpoint
    return Predictor.load(str(folder), task=Task.load(None))


def make_trainer(predictor, folder, rate=0.0, several=False, **settings):
    pictures = [
        [Image.new("RGB", (40 + 60 * place, 40), colour) for colour in ("red", "blue", "green")]
        for place in range(len(ANSWERS))
    ]
    pictures = [each[: 1 + several * place] for place, each in enumerate(pictures)]
    encoder = Encoder(predictor.processor, predictor.task)
    pairs = [
        tuple(
            encoder.encode_answer(f"row {place}", text, [each.size for each in shown])
            for text in texts
        )
        for place, (texts, shown) in enumerate(zip(ANSWERS, pictures, strict=True))
    ]
    cache = PictureCache(pictures.__getitem__, predictor.processor)
    arguments = DPOConfig(
        output_dir=str(folder),
        max_steps=8,
        per_device_train_batch_size=3,
        bf16=False,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
        remove_unused_columns=False,
        activation_checkpointing=False,
        precompute_ref_log_probs=True,
        max_length=None,
        **settings,
    )

    def make_optimizer(model):
        trained = [value for value in model.parameters() if value.requires_grad]
        optimizer = torch.optim.AdamW(trained, rate)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)

    return PreferenceTrainer(
        arguments,
        predictor,
        PairSet(pairs, range(len(pairs)), cache, Learning(PreferenceTrainer, DPOConfig)),
        make_optimizer=make_optimizer,
        evaluate_now=dict,
    )


def whole_batch(trainer):
    return trainer.data_collator([trainer.train_dataset[place, 0] for place in range(3)])


@torch.no_grad()
def log_probability(predictor, example, picture):
    """Of an answer with its end, one at a time and off the plain logits."""
    from loupe.vlm import prepare_pictures

    ids = torch.tensor([example.prompt_ids + example.answer_ids])
    logits = predictor.model(
        input_ids=ids, **prepare_pictures(predictor.processor, [picture])
    ).logits
    begin = len(example.prompt_ids)
    shares = logits[0, begin - 1 : -1].log_softmax(-1)
    return float(shares.gather(1, ids[0, begin:, None]).sum())


@pytest.mark.parametrize("several", [False, True])
def test_the_reference_is_the_model_as_it_is_handed_in(predictor, several, tmp_path):
    trainer = make_trainer(predictor, tmp_path, several=several)
    batch = whole_batch(trainer)
    assert batch["row_ids"] == ["row 0", "row 1", "row 2"]
    pairs = trainer.data_collator._pairs
    for side, name in enumerate(("ref_chosen_logps", "ref_rejected_logps")):
        by_hand = [
            log_probability(predictor, pairs[place][side], pairs.pictures(place))
            for place in range(3)
        ]
        assert batch[name].tolist() == pytest.approx(by_hand, abs=1e-3)  # float32, other order


@torch.no_grad()
def loss_of(trainer):
    batch = whole_batch(trainer)
    del batch["row_ids"]
    return float(trainer.compute_loss(trainer.model, batch))


def test_before_the_first_step_nothing_is_preferred(predictor, tmp_path):
    assert loss_of(make_trainer(predictor, tmp_path)) == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.parametrize(
    "predictor",
    [f"{name}_checkpoint" for name in ("tiny", "idefics3", "gemma3", "llava_next")],
    indirect=True,
)
def test_steps_prefer_the_better_answers(predictor, tmp_path):
    trainer = make_trainer(predictor, tmp_path, rate=3e-3)
    trainer.train()
    assert loss_of(trainer) < 0.6


def test_steps_prefer_the_better_answers_about_several_pictures(predictor, tmp_path):
    trainer = make_trainer(predictor, tmp_path, rate=3e-3, several=True)
    trainer.train()
    assert loss_of(trainer) < 0.6


def test_other_families_are_refused_several_pictures(tiny_checkpoint, idefics3_checkpoint):
    ours, other = (Predictor.load(str(each)) for each in (tiny_checkpoint, idefics3_checkpoint))
    _check_family(ours.model, 3)
    _check_family(other.model, 1)
    with pytest.raises(
        PreferError, match=r"up to 3 pictures.* not by model type idefics3.*--pictures 1"
    ):
        _check_family(other.model, 3)


def test_the_weight_of_the_answer_adds_its_own_loss(predictor, tmp_path):
    kinds = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}
    trainer = make_trainer(predictor, tmp_path, **kinds)
    tokens = sum(len(trainer.data_collator._pairs[place][0].answer_ids) for place in range(3))
    answers_loss = -float(whole_batch(trainer)["ref_chosen_logps"].sum()) / tokens
    assert loss_of(trainer) == pytest.approx(math.log(2) + 0.5 * answers_loss, abs=1e-3)


def test_adapters_and_whole_parts_are_trained_as_chosen(predictor, tiny_checkpoint, tmp_path):
    options = TrainOptions(dataset="", output="", method="lora", parts={"embeddings": "full"})
    predictor.model = choose_tuned(predictor.model, options, str(tiny_checkpoint))
    chosen = {name for name, value in predictor.model.named_parameters() if value.requires_grad}

    trainer = make_trainer(predictor, tmp_path, rate=3e-3)

    after = {name for name, value in trainer.model.named_parameters() if value.requires_grad}
    assert after == chosen
    assert any("embed_tokens" in name for name in after)
    assert list(trainer.model.peft_config) == ["default"]
    trainer.train()
    assert loss_of(trainer) < 0.6
