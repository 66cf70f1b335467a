"""Rows with several pictures in training: prompts, batches, losses, kept features, memory."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from loupe import vlm
from loupe.errors import CheckpointError
from loupe.options import TrainOptions
from loupe.predict import Predictor
from loupe.predict.generation import sample_texts
from loupe.task import Task
from loupe.train.batches import Collator, ExampleDataset
from loupe.train.examples import Encoder, Sample, Seen
from loupe.train.features import FeaturedDataset, FeatureStore
from loupe.train.load import find_load
from loupe.train.material import Material
from loupe.train.pictures import PictureCache
from loupe.train.stage import load_to_train

from .conftest import coloured, load_predictor

TASK = Task.load()
QUESTION = TASK.question
TRUTHS = [
    {"title": "red cup", "category3_code": "CUPS", "full_price": 20.5},
    {"title": "blue bag 10", "category3_code": "BAGS", "full_price": 10.0},
    {"title": "green cup", "category3_code": "CUPS", "full_price": 12.0},
]
SETS = [
    [coloured("red", 1), coloured("red", 2, (90, 30))],
    [coloured("blue", 3)],
    [coloured("green", 4), coloured("cyan", 5, (30, 80)), coloured("white", 6)],
]


class Rows:
    """A split in memory."""

    def picture_sizes(self):
        return [tuple(picture.size for picture in row) for row in SETS]


@pytest.fixture
def predictor(tiny_checkpoint):
    return load_predictor(tiny_checkpoint, TASK)


def encode(processor):
    encoder = Encoder(processor, TASK)
    return [
        encoder.encode(str(place), truth, [each.size for each in shown])
        for place, (truth, shown) in enumerate(zip(TRUTHS, SETS, strict=True))
    ]


def make_dataset(predictor, seed=None):
    cache = PictureCache(SETS.__getitem__, predictor.processor)
    return ExampleDataset(encode(predictor.processor), range(len(SETS)), cache, seed)


def loss_of(predictor, samples):
    batch = Collator(predictor.processor)(samples)
    del batch["row_ids"]
    with torch.inference_mode():
        if vlm.has_answer_loss(predictor.model):
            return float(predictor.model(**batch).loss)
        inputs, labels = vlm.set_answers_apart(predictor.model, batch)
        return float(vlm.answer_loss(predictor.model(**inputs), labels))


def test_the_prompt_of_several_pictures_is_the_published_one(predictor):
    prompts = vlm.make_prompts(predictor.processor, "What?", [1, 3])
    assert prompts == [
        "<|user|>\n<|image_1|>What?<|end|><|assistant|>\n",
        "<|user|>\n<|image_1|>\n<|image_2|>\n<|image_3|>\nWhat?<|end|><|assistant|>\n",
    ]


def test_a_row_is_encoded_as_the_processor_encodes_its_pictures(predictor):
    processor = predictor.processor
    for example, shown, truth in zip(encode(processor), SETS, TRUTHS, strict=True):
        dialogue = vlm.make_dialogue(processor, QUESTION, len(shown))
        text = dialogue.prompt + TASK.format(truth) + dialogue.end
        whole = processor(text=[text], images=[shown])["input_ids"][0]
        assert list(example.prompt_ids + example.answer_ids) == list(whole)


def test_the_places_of_a_price_do_not_depend_on_how_many_pictures_there_are(predictor):
    encoder = Encoder(predictor.processor, TASK)
    one, two = (encoder.encode("1", TRUTHS[0], [(60, 60)] * count) for count in (1, 2))
    assert one.prices == two.prices
    assert one.answer_ids == two.answer_ids


@pytest.mark.parametrize(
    "checkpoint",
    [f"{name}_checkpoint" for name in ("tiny", "idefics3", "llava_next", "gemma3")],
)
def test_the_loss_of_a_row_is_the_same_alone_and_among_rows_of_other_counts(checkpoint, request):
    predictor = load_predictor(request.getfixturevalue(checkpoint), TASK)
    examples = encode(predictor.processor)
    samples = [Sample(*pair) for pair in zip(examples, SETS, strict=True)]
    alone = [loss_of(predictor, [sample]) for sample in samples]
    counts = [len(example.answer_ids) for example in examples]
    together = loss_of(predictor, samples)
    mean = sum(n * each for n, each in zip(counts, alone, strict=True)) / sum(counts)
    assert together == pytest.approx(mean, abs=1e-5)  # other order of float32 sums


def test_each_picture_of_a_row_counts_in_its_loss(predictor):
    examples = encode(predictor.processor)
    other = coloured("black", 9, SETS[0][1].size)
    seen = loss_of(predictor, [Sample(examples[0], SETS[0])])
    for shown in ([SETS[0][0], other], [coloured("black", 9), SETS[0][1]]):
        assert abs(loss_of(predictor, [Sample(examples[0], shown)]) - seen) > 1e-6


def test_prompts_are_shared_by_pictures_of_as_many_tokens(predictor):
    encoder = Encoder(predictor.processor, TASK)
    calls = []
    process = encoder._process
    encoder._process = lambda *words: calls.append(words) or process(*words)
    sizes = [(100, 61), (100, 62), (101, 63)]
    examples = [encoder.encode("1", TRUTHS[0], [size, (60, 60)]) for size in sizes]
    assert len({example.prompt_ids for example in examples}) == 1
    assert len(calls) == 2  # prompt, and once prompt with answer


def test_each_picture_varies_by_itself_and_the_first_as_if_it_were_alone(predictor):
    rows = make_dataset(predictor, seed=7)
    one = ExampleDataset(
        rows.examples, range(3), PictureCache(lambda row: SETS[row][0], predictor.processor), 7
    )
    several, alone = rows[2, 1].pictures, one[2, 1].pictures
    assert several[0].tobytes() == alone[0].tobytes()
    same = PictureCache(lambda _: [SETS[0][0]] * 2, predictor.processor)
    first, second = ExampleDataset(rows.examples, range(3), same, 7)[0, 0].pictures
    assert first.tobytes() != second.tobytes()


def test_kept_features_give_the_loss_that_pictures_give(predictor, tmp_path):
    rows = make_dataset(predictor)
    keys = [[f"{row}{place:063}" for place in range(len(shown))] for row, shown in enumerate(SETS)]
    store = FeatureStore(tmp_path, "basis", torch.float32)
    featured = FeaturedDataset(rows, keys, store)
    collate, model = Collator(predictor.processor), predictor.model
    expected = loss_of(predictor, [rows[place, 0] for place in range(3)])

    def loss():
        batch = collate([featured[place, 0] for place in range(3)])
        del batch["row_ids"]
        with torch.inference_mode():
            return float(model(**store.complete(batch, model.get_tower_features)).loss)

    first = loss()
    assert all(isinstance(each, Seen) for place in range(3) for each in featured[place, 0].pictures)
    store._path(keys[2][1]).unlink()  # one of three pictures of a row is not kept
    kinds = [type(each) for each in featured[2, 0].pictures]
    assert kinds == [Seen, Image.Image, Seen]
    second, third = loss(), loss()
    assert [first, second, third] == pytest.approx([expected] * 3, abs=1e-5)


def test_the_load_counts_all_pictures_of_a_row(predictor):
    rows = make_dataset(predictor)
    material = Material(rows, None, (), (1, 1))
    load = find_load(material, Rows(), predictor, TrainOptions(dataset="data", output="out"))
    processor = predictor.processor.image_processor
    crops = [
        sum(processor(each, pad_to_num_crops=False)["pixel_values"].shape[1] for each in shown)
        for shown in SETS
    ]
    assert (load.pictures, load.crops) == (3, max(crops))
    assert load.tokens == max(rows.lengths)


@pytest.mark.parametrize("price", ["said", "median"])
def test_products_of_several_pictures_are_answered_in_a_batch_as_alone(predictor, price):
    settings = {"max_new_tokens": 40, "price": price}
    together = predictor.predict(SETS, **settings)
    alone = [predictor.predict([shown], **settings)[0] for shown in SETS]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.values == pytest.approx(other.values)
    single = predictor.predict([SETS[1][0]], **settings)[0]
    assert single == alone[1], "one picture may come without a list"


def test_answers_are_drawn_about_a_products_own_pictures(predictor):
    settings = {"max_new_tokens": 6, "count": 2, "temperature": 1e-4}
    together = sample_texts(predictor, SETS, **settings)
    greedy = predictor.predict(SETS, max_new_tokens=6, decoding="free")
    for texts, answer in zip(together, greedy, strict=True):
        assert set(texts) <= {answer.text, None}


def write_one_sign(llava_checkpoint):
    """A processor whose template writes one sign, however many pictures there are."""
    processor = vlm.load_processor(str(llava_checkpoint))
    several = "{{ '<image>\n' if part['type'] == 'image' else part['text'] }}"
    one = "{{ ('<image>\n' if loop.first else '') if part['type'] == 'image' else part['text'] }}"
    assert several in processor.chat_template
    processor.chat_template = processor.chat_template.replace(several, one)
    return processor


def test_a_template_that_writes_one_sign_for_all_pictures_is_refused(llava_checkpoint):
    processor = write_one_sign(llava_checkpoint)
    vlm.check_pictures(processor, QUESTION, 1)
    with pytest.raises(CheckpointError, match=r"writes 1 '<image>' for 2 pictures.*--pictures 1"):
        vlm.check_pictures(processor, QUESTION, 3)


def test_training_refuses_such_a_family_before_its_weights_are_read(llava_checkpoint, tmp_path):
    write_one_sign(llava_checkpoint).save_pretrained(tmp_path)
    shutil.copyfile(llava_checkpoint / "config.json", tmp_path / "config.json")  # and no weights
    dataset = SimpleNamespace(count_pictures=lambda: 2, task=TASK)
    options = TrainOptions(dataset="data", output="out", model=str(tmp_path))
    with pytest.raises(CheckpointError, match="writes 1 '<image>' for 2 pictures"):
        load_to_train(options, dataset)


def test_a_processor_that_takes_one_picture_is_refused_before_anything_is_answered(
    llava_checkpoint,
):
    predictor = load_predictor(llava_checkpoint, TASK)

    class OneOnly(type(predictor.processor)):
        def __call__(self, text, images, **_):
            raise ValueError("expected one picture per text")

    predictor.processor.__class__ = OneOnly
    asked = Predictor(predictor.model, predictor.processor, TASK)
    with pytest.raises(
        CheckpointError, match=r"OneOnly takes no 2 pictures at a time .expected one"
    ):
        asked.check_pictures(2)
