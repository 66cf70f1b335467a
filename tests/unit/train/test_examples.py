import pytest
from PIL import Image

from loupe import vlm
from loupe.errors import TrainError
from loupe.task import Task
from loupe.train.examples import Encoder, Example, LeftOut

ROW = {"title": "Red cup", "category3_code": "CUPS", "full_price": 12.5}


@pytest.fixture(scope="module")
def processor(tiny_checkpoint):
    return vlm.load_processor(str(tiny_checkpoint))


@pytest.fixture(scope="module")
def encoder(processor):
    return Encoder(processor, Task.load())


def test_prompt_and_answer_are_what_the_processor_gives_for_both(processor, encoder):
    example = encoder.encode("7", ROW, [(60, 40)])
    text = (
        "<|user|>\n<|image_1|>What is shown in this image?<|end|><|assistant|>\n"
        "Product: Red cup, Category: CUPS, Full Price: 12.5<|end|>"
    )
    whole = processor(text=[text], images=[[Image.new("RGB", (60, 40))]])["input_ids"][0]
    assert [*example.prompt_ids, *example.answer_ids] == whole
    assert processor.tokenizer.decode(example.answer_ids) == (
        "Product: Red cup, Category: CUPS, Full Price: 12.5<|end|>"
    )
    assert example.row_id == "7"
    assert len(example) == len(whole)


def test_the_prompt_has_a_place_for_each_picture_token(processor, encoder):
    wide, square = (encoder.encode("1", ROW, [size]) for size in [(90, 30), (60, 60)])
    for example, size in [(wide, (90, 30)), (square, (60, 60))]:
        places = example.prompt_ids.count(processor.image_token_id)
        assert places == processor.image_processor.count_image_tokens(size[1], size[0])
    assert len(wide.prompt_ids) != len(square.prompt_ids)


@pytest.mark.parametrize(
    "title", ["a <|end|> b", "<|image_1|>", "<|endoftext|>", "</s> <s>", "line\nend <|user|>\n"]
)
def test_special_tokens_in_a_title_stay_text(processor, encoder, title):
    example = encoder.encode("1", {**ROW, "title": title}, [(60, 60)])
    assert isinstance(example, Example)
    added = set(processor.tokenizer.get_added_vocab().values())
    assert not added & set(example.answer_ids[:-1])
    text = processor.tokenizer.decode(example.answer_ids[:-1])
    assert Task.load().parse(text).values["title"] == title


def test_an_answer_that_holds_a_special_token_is_left_out_with_its_reason(processor):
    class Careless(Task):
        def format_fields(self, row):
            return f"Product: {row['title']}", {}

    task = Task.load()
    careless = Careless(task.question, task.answer, task.fields)
    left_out = Encoder(processor, careless).encode(
        "9", {"title": "cup <|end|> <|user|>"}, [(60, 60)]
    )
    assert left_out == LeftOut(
        "9", "special_token", "'Product: cup <|end|> <|user|>' holds <|end|>, <|user|>"
    )


@pytest.mark.parametrize("values", [{**ROW, "full_price": "free"}, {"title": "Red cup"}])
def test_a_row_without_good_values_is_left_out_with_its_reason(encoder, values):
    left_out = encoder.encode("3", values, [(60, 60)])
    assert left_out.reason == "value"
    assert left_out.row_id == "3"


def test_another_family_learns_the_text_after_its_own_prompt(llava_checkpoint):
    processor = vlm.load_processor(str(llava_checkpoint))
    example = Encoder(processor, Task.load()).encode("1", ROW, [(60, 60)])
    assert processor.tokenizer.decode(example.answer_ids).endswith("Full Price: 12.5<|endoftext|>")
    assert example.prompt_ids.count(processor.image_token_id) == 4  # 28 px in patches of 14


def test_a_prompt_that_melts_into_the_answer_is_refused(processor, encoder, monkeypatch):
    dialogue = vlm.Dialogue("Price: U", "<|end|>", encoder._dialogue.end_id)
    monkeypatch.setattr(vlm, "make_dialogue", lambda *_: dialogue)
    task = Task.from_dict({"question": "?", "answer": "SD{a}", "fields": {"a": {"type": "text"}}})
    with pytest.raises(TrainError, match="joins the end of the prompt and the begin of the answer"):
        Encoder(processor, task).encode("1", {"a": "x"}, [(60, 60)])
