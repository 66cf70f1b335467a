"""What a build that was killed, or ran out of disk, goes on from; and trying failures again."""

import resource
import signal
import subprocess
import sys
from collections import Counter

import pyarrow.parquet as pq
import pytest

from loupe.build import Dataset, build_dataset
from loupe.errors import BuildError
from loupe.options import BuildOptions

from .conftest import draw, encode, write_catalogue

ROWS = 40
OPTIONS = {"image_column": "imageurl", "allow_private": True, "concurrency": 4}
DIE_AT = """
import os, signal, sys
from importlib import import_module
from loupe.cli import main

if __name__ == "__main__":
    module, name = sys.argv[1].split(":")
    module = import_module(module)
    real = getattr(module, name)

    def die(*arguments, **settings):
        if {after}:
            real(*arguments, **settings)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(module, name, die)
    main(sys.argv[2:])
"""


@pytest.fixture
def shop(tmp_path, site):
    """A table of URLs, all of which answer."""
    for row in range(ROWS):
        site.say(f"/{row}.jpg", encode(draw(row)))
    write_catalogue(tmp_path, ROWS, imageurl=[f"{site.url}/{row}.jpg" for row in range(ROWS)])
    return site


def build(folder, output="data", **changes):
    source, target = str(folder / "products.csv"), str(folder / output)
    return build_dataset(BuildOptions(source=source, output=target, **OPTIONS | changes))


def fates_of(folder):
    rows = pq.read_table(folder / "data" / "ledger.parquet").to_pylist()
    return {row["row_id"]: row["fate"] for row in rows}


def words_of(folder):
    return [
        "build", "--source", str(folder / "products.csv"), "--output", str(folder / "data"),
        "--image-column", "imageurl", "--allow-private", "--concurrency", "4",
    ]  # fmt: skip


def start(folder, **settings):
    return subprocess.Popen(
        [sys.executable, "-m", "loupe", *words_of(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_build_killed_again_and_again_loses_nothing_and_fetches_nothing_twice(tmp_path, shop):
    times = 3
    for kill in range(1, times + 1):
        shop.pause_after(kill * ROWS // (times + 1))
        process = start(tmp_path)
        assert shop.paused.wait(100)
        process.kill()
        process.communicate()
        assert not (tmp_path / "data").exists()
        shop.go_on()
    killed = build(tmp_path)
    visits = Counter(shop.visits)
    in_flight = times * OPTIONS["concurrency"]
    assert len(visits) == ROWS
    assert ROWS <= visits.total() <= ROWS + in_flight
    assert killed.counts["rejected"] == {}
    assert build(tmp_path, "other").fingerprint == killed.fingerprint
    assert {"data", "other"} <= set(names(tmp_path))
    assert not [name for name in names(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize(
    ("step", "after"),
    [
        ("loupe.build.pipeline:place_rows", False),
        ("loupe.build.write:_write_card", False),
        ("loupe.build.write:_write_record", True),
        ("loupe.build.output:_replace", False),
    ],
)
def test_build_killed_at_its_end_fetches_nothing_again(tmp_path, shop, step, after):
    script = DIE_AT.format(after=after)
    died = subprocess.run(
        [sys.executable, "-c", script, step, *words_of(tmp_path)], capture_output=True, check=False
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert not (tmp_path / "data").exists()
    assert len(shop.visits) == ROWS
    assert build(tmp_path).counts["read"] == ROWS
    assert len(shop.visits) == ROWS


def test_build_killed_after_its_end_is_finished(tmp_path, shop):
    script = DIE_AT.format(after=True)
    step = "loupe.build.output:_replace"
    subprocess.run([sys.executable, "-c", script, step, *words_of(tmp_path)], check=False)
    finished = Dataset.open(tmp_path / "data").info["fingerprint"]
    assert build(tmp_path, overwrite=True).fingerprint == finished
    assert len(shop.visits) == 2 * ROWS
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_full_disk_is_told_in_one_line_and_costs_no_picture(tmp_path, shop):
    """Files may not grow beyond some kilobytes: what is noted fills up first."""

    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))

    process = start(tmp_path, preexec_fn=limit_files)
    line = process.communicate()[1].splitlines()[-1]
    assert process.returncode == 1
    assert "The disk is full while" in line
    assert "the same command goes on with the pictures that it has" in line
    *lines, _ = (tmp_path / ".data.loupe-build" / "ledger.jsonl").read_text().split("\n")
    noted = len(lines) - 1
    assert 5 < noted < ROWS
    before = len(shop.visits)
    assert build(tmp_path).counts["rejected"] == {}
    assert len(shop.visits) == before + ROWS - noted


def test_ctrl_c_keeps_what_was_gathered(tmp_path, shop, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("loupe.build.pipeline.place_rows", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path)
    assert ".data.loupe-build" in names(tmp_path)
    build(tmp_path)
    assert len(shop.visits) == ROWS


def test_failures_alone_are_nothing_to_go_on_from(tmp_path, shop):
    answers, shop.answers = shop.answers, {}
    with pytest.raises(BuildError, match=r"All 40 rows .*http_error: 40"):
        build(tmp_path)
    shop.answers = answers
    assert build(tmp_path).counts["rejected"] == {}


def test_other_options_of_the_pictures_start_anew(tmp_path, shop, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr("loupe.build.pipeline.place_rows", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(tmp_path)
    build(tmp_path, max_side_px=30)
    assert "fetching starts anew" in caplog.text
    assert len(shop.visits) == 2 * ROWS


def test_ledger_tells_the_fate_of_every_row(tmp_path, shop):
    del shop.answers["/3.jpg"]
    shop.fail_first("/5.jpg", encode(draw(5)))
    source = tmp_path / "products.csv"
    source.write_text(source.read_text().replace("Bag 7,", ","))
    build(tmp_path)
    ledger = pq.read_table(tmp_path / "data" / "ledger.parquet").to_pylist()
    assert [row["row_number"] for row in ledger] == list(range(1, ROWS + 1))
    assert Counter(row["fate"] for row in ledger)["rejected"] == 2
    missing, retried, unasked = (ledger[row] for row in (3, 5, 7))
    assert (missing["reason"], missing["attempts"], missing["bytes"]) == ("http_error", 1, 0)
    assert "404" in missing["detail"]
    assert (unasked["reason"], unasked["attempts"]) == ("missing_value", 0)
    assert (retried["reason"], retried["attempts"]) == (None, 2)
    assert retried["bytes"] == len(encode(draw(5)))
    assert retried["seconds"] > 0
    split = Dataset.open(tmp_path / "data").rows(retried["fate"])
    place = split.column("row_id").index(retried["row_id"])
    assert split.row(place)["image_sha256"] == retried["sha256"]


def test_retry_asks_for_failures_alone_and_keeps_all_else(tmp_path, shop):
    good = dict(shop.answers)
    for row in (3, 4, 5):
        del shop.answers[f"/{row}.jpg"]
    assert build(tmp_path).counts["rejected"] == {"http_error": 3}
    shop.answers |= {path: good[path] for path in ("/3.jpg", "/4.jpg")}
    shop.visits.clear()
    before = fates_of(tmp_path)
    again = build(tmp_path, retry="failed")
    assert again.counts["rejected"] == {"http_error": 1}
    assert sorted(shop.visits) == ["/3.jpg", "/4.jpg", "/5.jpg"]
    shop.answers = good
    build(tmp_path, retry="failed")
    after = fates_of(tmp_path)
    assert "rejected" not in after.values()
    recovered = [row for row, fate in before.items() if fate == "rejected"]
    assert len(recovered) == 3
    assert after | dict.fromkeys(recovered, "rejected") == before


def test_retry_keeps_rewritten_pictures_and_those_of_several_rows(tmp_path, shop):
    shop.say("/1.jpg", encode(draw(1, mode="RGBA"), "PNG"))
    source = tmp_path / "products.csv"
    source.write_text(source.read_text().replace("/2.jpg", "/1.jpg"))
    first = build(tmp_path, max_side_px=36)
    shop.visits.clear()
    again = build(tmp_path, max_side_px=36, retry="failed")
    assert shop.visits == []
    assert again.fingerprint == first.fingerprint


def test_retry_goes_on_where_a_build_was_killed(tmp_path, shop, monkeypatch):
    lost = shop.answers.pop("/3.jpg")
    with monkeypatch.context() as patch:
        patch.setattr("loupe.build.pipeline.place_rows", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(tmp_path)
    shop.answers["/3.jpg"] = lost
    shop.visits.clear()
    assert build(tmp_path, retry="failed").counts["rejected"] == {}
    assert shop.visits == ["/3.jpg"]


def test_retry_fetches_the_pictures_of_rows_that_are_new(tmp_path, shop):
    source = tmp_path / "products.csv"
    whole = source.read_text()
    source.write_text("\n".join(whole.splitlines()[:31]) + "\n")
    build(tmp_path)
    source.write_text(whole)
    shop.visits.clear()
    assert build(tmp_path, retry="failed").counts["read"] == ROWS
    assert sorted(shop.visits) == sorted(f"/{row}.jpg" for row in range(30, ROWS))


def test_retry_needs_a_dataset_made_with_the_same_options(tmp_path, shop):
    with pytest.raises(BuildError, match=r"no dataset .*whose failures could be tried"):
        build(tmp_path, retry="failed")
    build(tmp_path)
    with pytest.raises(BuildError, match=r"built with min_side_px 28, now it is 30.*--overwrite"):
        build(tmp_path, retry="failed", min_side_px=30)
    (tmp_path / "data" / "ledger.parquet").unlink()
    with pytest.raises(BuildError, match=r"has no ledger.parquet: an older Loupe made it"):
        build(tmp_path, retry="failed")
    assert Dataset.open(tmp_path / "data").info["counts"]["read"] == ROWS
