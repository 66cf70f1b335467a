"""A small random model, and a dataset of flat squares that it answers."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from loupe.build import build_dataset
from loupe.options import BuildOptions

COLOURS = {"SHIRTS": (200, 40, 40), "SCARVES": (40, 200, 40), "COATS": (40, 40, 200)}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """Folder of a dataset of 90 flat squares, 36 of them for validation."""
    folder = tmp_path_factory.mktemp("goods")
    names, rows = list(COLOURS), []
    for number in range(90):
        name = names[number % 3]
        shade = tuple(min(255, value + number) for value in COLOURS[name])
        picture = Image.new("RGB", (40, 40), shade)
        picture.paste((255 - number, number, 90), (0, 0, 20, 10 + number % 20))
        picture.save(folder / f"{number}.png")
        rows.append(
            {
                "title": f"{name.title()} number {number}",
                "category3_code": name,
                "full_price": 10.0 + number,
                "image": f"{number}.png",
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), folder / "goods.parquet")
    output = folder / "data"
    build_dataset(
        BuildOptions(
            source=str(folder / "goods.parquet"),
            output=str(output),
            validation_share=0.4,
            test_share=0.3,
            likeness_bits=None,
            workers=1,
        )
    )
    return output


@pytest.fixture
def model(tiny_checkpoint, dataset, tmp_path):
    """A copy of the random model with the dataset's task and a training record."""
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_checkpoint, folder)
    shutil.copy(dataset / "task.yaml", folder / "task.yaml")
    (folder / "training.json").write_text(json.dumps({"steps": 1}), "utf-8")
    return folder
