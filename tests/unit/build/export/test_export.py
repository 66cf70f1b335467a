"""Each format is opened by its consumer's own loader where that installs beside ours.

LLaVA, LLaMA-Factory and ms-swift pin older versions of transformers, and OpenAI's check runs on
its servers: those formats are held against what their documents say.
"""

import base64
import io
import json
import re

import pytest
from PIL import Image

from loupe.build import Dataset, build_dataset
from loupe.build.export.formats import FORMATS
from loupe.errors import OptionError
from loupe.options import BuildOptions

from ..conftest import write_catalogue

QUESTION = "What is shown in this image?"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    titles = [f"Bag <image> {row}" for row in range(40)]  # a mark that must not reach a reader
    source = write_catalogue(folder, 40, title=titles)
    output = folder / "data"
    build_dataset(BuildOptions(source=str(source), output=str(output), export=[*FORMATS, "llava"]))
    return output


@pytest.fixture(scope="module")
def expected(built):
    """Answers and pictures of the training rows, as Loupe reads them."""
    dataset = Dataset.open(built)
    rows = dataset.rows("train")
    answers = [dataset.task.format(rows.values(place)) for place in range(len(rows))]
    return answers, [rows.picture(place) for place in range(len(rows))]


def assert_same_pictures(found, expected):
    assert [each.convert("RGB").tobytes() for each in found] == [
        each.tobytes() for each in expected
    ]


def open_files(built, paths):
    return [Image.open(built / "export" / path) for path in paths]


def test_trl_reads_messages_and_pictures(built, expected, tmp_path):
    data_utils = pytest.importorskip("trl.data_utils")
    datasets = pytest.importorskip("datasets")
    files = {"train": str(built / "export" / "trl" / "train.parquet")}
    opened = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path))["train"]
    assert data_utils.is_conversational(opened[0])
    answers, pictures = expected
    filled = [data_utils.prepare_multimodal_messages(row["messages"], row["images"])
              for row in opened]  # fmt: skip
    asked, said = zip(*filled, strict=True)
    assert [message["content"][0]["text"] for message in said] == answers
    assert {message["content"][1]["text"] for message in asked} == {QUESTION}
    assert_same_pictures([message["content"][0]["image"] for message in asked], pictures)


@pytest.mark.filterwarnings(  # webdataset leaves its files for the garbage collector to close
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_webdataset_reads_pictures_and_values(built, expected):
    webdataset = pytest.importorskip("webdataset")
    shard = str(built / "export" / "webdataset" / "train-000000.tar")
    opened = webdataset.WebDataset(shard, shardshuffle=False).decode("pil").to_tuple("jpg", "json")
    pictures, rows = zip(*opened, strict=True)
    assert [row["answer"] for row in rows] == expected[0]
    assert rows[0]["title"].startswith("Bag <image>")
    assert_same_pictures(pictures, expected[1])


def test_llava_list_is_as_documented(built, expected):
    rows = json.loads((built / "export" / "llava_train.json").read_text("utf-8"))
    assert {tuple(row) for row in rows} == {("id", "image", "conversations")}
    assert len({row["id"] for row in rows}) == len(rows)
    for row, answer in zip(rows, expected[0], strict=True):
        human, gpt = row["conversations"]
        assert human == {"from": "human", "value": f"<image>\n{QUESTION}"}
        assert gpt == {"from": "gpt", "value": answer}
        assert "<image>" not in answer
    assert_same_pictures(open_files(built, [row["image"] for row in rows]), expected[1])


def test_llama_factory_finds_each_split_as_documented(built, expected):
    folder = built / "export"
    info = json.loads((folder / "dataset_info.json").read_text("utf-8"))
    assert set(info) == {"loupe_train", "loupe_validation", "loupe_test"}
    entry = info["loupe_train"]
    assert entry["formatting"] == "sharegpt"
    rows = json.loads((folder / entry["file_name"]).read_text("utf-8"))
    messages = [row[entry["columns"]["messages"]] for row in rows]
    assert [[turn["from"] for turn in each] for each in messages] == [["human", "gpt"]] * len(rows)
    assert [each[1]["value"] for each in messages] == expected[0]
    assert {each[0]["value"] for each in messages} == {f"<image>{QUESTION}"}
    paths = [row[entry["columns"]["images"]] for row in rows]
    assert_same_pictures(open_files(built, [path for (path,) in paths]), expected[1])


def test_swift_lines_are_as_documented(built, expected):
    lines = (built / "export" / "swift_train.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["messages"] for row in rows] == [
        [
            {"role": "user", "content": f"<image>{QUESTION}"},
            {"role": "assistant", "content": answer},
        ]
        for answer in expected[0]
    ]
    assert_same_pictures(open_files(built, [path for row in rows for path in row["images"]]),
                         expected[1])  # fmt: skip


def test_openai_lines_are_as_documented(built, expected):
    lines = (built / "export" / "openai_train.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert all(set(row) == {"messages"} for row in rows)
    users, assistants = zip(*(row["messages"] for row in rows), strict=True)
    assert [message["content"] for message in assistants] == expected[0]
    pictures = []
    for message in users:
        text, image = message["content"]
        assert (message["role"], text) == ("user", {"type": "text", "text": QUESTION})
        found = re.fullmatch(r"data:image/(jpeg|png|webp);base64,(.+)", image["image_url"]["url"])
        pictures.append(Image.open(io.BytesIO(base64.b64decode(found[2], validate=True))))
    assert_same_pictures(pictures, expected[1])


def test_pictures_are_written_once_for_all_formats(built):
    counts = json.loads((built / "dataset.json").read_text("utf-8"))["counts"]
    kept = sum(counts[split] for split in ("train", "validation", "test"))
    assert len(list((built / "export" / "images").iterdir())) == kept


def test_choices_that_only_held_out_rows_have_are_exported(tmp_path):
    source = write_catalogue(tmp_path, 40, category3_code=[f"KIND {row}" for row in range(40)])
    output = tmp_path / "data"
    build_dataset(BuildOptions(source=str(source), output=str(output), export=["openai"]))
    rows = Dataset.open(output).rows("test")
    kinds = rows.column("category3_code")
    lines = (output / "export" / "openai_test.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == len(kinds) > 0
    assert all(f"Category: {kind}," in line for kind, line in zip(kinds, lines, strict=True))


def test_unknown_format_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(OptionError, match="format 'csv'; expected any of trl, llava, sharegpt"):
        build_dataset(BuildOptions(source="none", output=str(tmp_path / "x"), export=["csv"]))


def test_export_can_be_replaced_with_the_dataset(built):
    record = json.loads((built / "dataset.json").read_text("utf-8"))
    options = BuildOptions(**record["options"] | {"overwrite": True, "export": []})
    build_dataset(options)
    assert not (built / "export").exists()
