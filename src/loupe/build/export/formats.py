"""One function per format: each writes the files of one split into the export's folder.

Formats with pictures as files share the folder `images`; their paths start at the export's folder.
"""

import base64
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from loupe.build.export.dialogues import Dialogue, Picture, picture_type

__all__ = ["FORMATS"]

_ROWS_OF_A_PART = 100
_ROWS_OF_A_SHARD = 1000
_MARK = "<image>"  # where LLaVA, LLaMA-Factory and ms-swift put the picture into the text


def write_trl(folder: Path, split: str, rows: Iterator[Dialogue]) -> None:
    """Write `images` and `messages`, TRL's columns for pictures, as Parquet.

    Source: https://huggingface.co/docs/trl/dataset_formats#vision-datasets
    """
    from datasets import Features, Image, List, Value

    messages = List({"role": Value("string"), "content": Value("string")})
    schema = Features({"images": List(Image()), "messages": messages}).arrow_schema
    with pq.ParquetWriter(_inside(folder / "trl") / f"{split}.parquet", schema) as writer:
        for part in _batched(rows, _ROWS_OF_A_PART):
            lines = [
                {
                    "images": [
                        {"bytes": each.content, "path": each.file_name} for each in row.pictures
                    ],
                    "messages": [_say("user", row.question), _say("assistant", row.answer)],
                }
                for row in part
            ]
            writer.write_table(pa.Table.from_pylist(lines, schema))


def write_llava(folder: Path, split: str, rows: Iterator[Dialogue]) -> None:
    """Write one JSON list of conversations; the folder is LLaVA's --image_folder.

    `image` is a list where a row has several pictures, as LLaVA-NeXT takes them.
    Source: https://github.com/haotian-liu/LLaVA/blob/main/docs/Finetune_Custom_Data.md
    """
    lines = (
        {
            "id": row.row_id,
            "image": images[0] if len(images) == 1 else images,
            "conversations": _converse(f"{_MARK}\n" * len(images) + row.question, row.answer),
        }
        for row, images in _with_files(folder, rows)
    )
    _write_list(folder / f"llava_{split}.json", lines)


def write_sharegpt(folder: Path, split: str, rows: Iterator[Dialogue]) -> None:
    """Write conversations in ShareGPT's form; the folder is LLaMA-Factory's --dataset_dir.

    Its dataset_info.json names the splits `loupe_train`, `loupe_validation` and `loupe_test`.
    Source: https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
    """
    lines = (
        {
            "conversations": _converse(_MARK * len(images) + row.question, row.answer),
            "images": images,
        }
        for row, images in _with_files(folder, rows)
    )
    _write_list(folder / f"sharegpt_{split}.json", lines)
    info = folder / "dataset_info.json"
    declared = json.loads(info.read_text("utf-8")) if info.exists() else {}
    declared[f"loupe_{split}"] = {
        "file_name": f"sharegpt_{split}.json",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "images": "images"},
    }
    info.write_text(json.dumps(declared, indent=2) + "\n", "utf-8")


def write_swift(folder: Path, split: str, rows: Iterator[Dialogue]) -> None:
    """Write JSON lines of `messages` and `images`; the folder is ms-swift's ROOT_IMAGE_DIR.

    Source: https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html
    """
    lines = (
        {
            "messages": [
                _say("user", _MARK * len(images) + row.question),
                _say("assistant", row.answer),
            ],
            "images": images,
        }
        for row, images in _with_files(folder, rows)
    )
    _write_lines(folder / f"swift_{split}.jsonl", lines)


def write_openai(folder: Path, split: str, rows: Iterator[Dialogue]) -> None:
    """Write chat completions as JSON lines, pictures as data URLs.

    Source: https://platform.openai.com/docs/guides/vision-fine-tuning
    """
    lines = (
        {
            "messages": [
                _say(
                    "user",
                    [
                        {"type": "text", "text": row.question},
                        *(
                            {"type": "image_url", "image_url": {"url": _to_data_url(each)}}
                            for each in row.pictures
                        ),
                    ],
                ),
                _say("assistant", row.answer),
            ]
        }
        for row in rows
    )
    _write_lines(folder / f"openai_{split}.jsonl", lines)


def write_webdataset(folder: Path, split: str, rows: Iterator[Dialogue]) -> None:
    """Write tar shards; a row is a picture and a JSON file of one name, further ones numbered.

    Source: https://github.com/webdataset/webdataset#the-webdataset-format
    """
    for number, shard in enumerate(_batched(rows, _ROWS_OF_A_SHARD)):
        path = _inside(folder / "webdataset") / f"{split}-{number:06d}.tar"
        with tarfile.open(path, "w") as tar:
            for place, row in enumerate(shard):
                key = f"{number:06d}{place:04d}"
                about = {
                    "row_id": row.row_id,
                    "question": row.question,
                    "answer": row.answer,
                    **row.values,
                }
                for view, each in enumerate(row.pictures, start=1):
                    mark = "" if view == 1 else f".{view}"
                    _add(tar, key + mark + Path(each.file_name).suffix, each.content)
                _add(tar, f"{key}.json", json.dumps(about, ensure_ascii=False).encode())


FORMATS: dict[str, Callable[[Path, str, Iterator[Dialogue]], None]] = {
    "trl": write_trl,
    "llava": write_llava,
    "sharegpt": write_sharegpt,
    "swift": write_swift,
    "openai": write_openai,
    "webdataset": write_webdataset,
}


def _batched(rows: Iterator[Dialogue], most: int) -> Iterator[list[Dialogue]]:
    return iter(lambda: list(islice(rows, most)), [])


def _say(role: str, content: str | list[dict[str, Any]]) -> dict[str, Any]:
    return {"role": role, "content": content}


def _converse(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def _with_files(folder: Path, rows: Iterator[Dialogue]) -> Iterator[tuple[Dialogue, list[str]]]:
    """Give each row with the paths of its pictures, which are written unless they are there."""
    images = _inside(folder / "images")
    for row in rows:
        for each in row.pictures:
            path = images / each.file_name
            if not path.exists():
                path.write_bytes(each.content)
        yield row, [f"{images.name}/{each.file_name}" for each in row.pictures]


def _to_data_url(picture: Picture) -> str:
    content = base64.b64encode(picture.content).decode()
    return f"data:{picture_type(picture.file_name)};base64,{content}"


def _write_lines(path: Path, lines: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _write_list(path: Path, lines: Iterator[dict[str, Any]]) -> None:
    """Write a JSON list, one line in memory at a time."""
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for number, line in enumerate(lines):
            file.write((",\n" if number else "\n") + json.dumps(line, ensure_ascii=False))
        file.write("\n]\n")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)  # of no date and no owner: equal rows give equal bytes
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _inside(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
