import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loupe.build.sources import Reading, read_table
from loupe.errors import BuildError


def test_parquet_is_read_as_it_is(tmp_path):
    pq.write_table(pa.table({"a": [1, 2], "image": [b"x", None]}), tmp_path / "t.parquet")
    rows = list(read_table(tmp_path / "t.parquet").rows())
    assert rows == [{"a": 1, "image": b"x"}, {"a": 2, "image": None}]


def test_parquet_shards_with_pictures_are_read_from_the_file_each_time(tmp_path):
    for shard, kind in enumerate((pa.int32(), pa.int64())):
        columns = {
            "a": pa.array([shard, None], kind),
            "image": [{"bytes": bytes([shard]) * 5, "path": "x"}] * 2,
            "kind": pa.array(["u", "v"]).dictionary_encode(),
        }
        pq.write_table(pa.table(columns), tmp_path / f"{shard}.parquet", row_group_size=1)
    table = read_table(str(tmp_path / "*.parquet"), Reading(scratch=tmp_path))
    assert table.arrow.column_names == ["a", "kind"]
    assert set(table.columns) == {"a", "kind", "image"}
    rows = list(table.rows())
    assert rows == list(table.rows())
    assert [row["a"] for row in rows] == [0, None, 1, None]
    assert rows[2]["image"] == {"bytes": b"\1" * 5, "path": "x"}
    assert len(list(tmp_path.glob("*.arrow"))) == 1


def test_parquet_shards_that_disagree_on_a_type_are_refused(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "1.parquet")
    with pytest.raises(BuildError, match=r"The 2 files of .* disagree on a column"):
        read_table(str(tmp_path / "*.parquet"))
