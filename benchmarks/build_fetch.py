"""How many pictures a second does `loupe build` fetch, check, note and write?

Fetching is what people wait for when they make a dataset. In one run, from one loopback server
that takes 20 ms for each answer: the tutorial's loop (one `requests.get` after another,
unchecked); img2dataset where it is installed (it writes shards, and checks that pictures decode);
ours, the whole command with its checks, ledger, groups, audit and Parquet files. Wall time is that
of the whole process, start-up included; the own clock is what img2dataset and ours say of fetching
alone. Memory is the largest sum over a contender's processes (proportional set size), sampled ten
times a second.

Usage: python benchmarks/build_fetch.py [pictures ...] [--img2dataset PROGRAM]
"""

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

LATENCY_SECONDS = 0.02
SIZE_PX = (320, 240)
SERIAL_PICTURES = 500  # the loop is no faster with more
SERIAL_LOOP = """
import sys, requests
for number, url in enumerate(open(sys.argv[1]).read().split()):
    open(f"{sys.argv[2]}/{number}.jpg", "wb").write(requests.get(url).content)
"""


def main() -> None:
    """Run the contenders by size, print a table and one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pictures", type=int, nargs="*", default=[500, 5000])
    parser.add_argument("--img2dataset", default=shutil.which("img2dataset"))
    arguments = parser.parse_args()
    results = [
        result
        for count in arguments.pictures
        for result in run_contenders(count, arguments.img2dataset)
    ]
    print(json.dumps(_record(results)))


def run_contenders(count: int, img2dataset: str | None) -> Iterator[dict]:
    """Give each contender's figures on so many pictures."""
    with tempfile.TemporaryDirectory() as folder, _serve(count) as address:
        work = Path(folder)
        _write_tables(work, [f"{address}/{row}.jpg" for row in range(count)])
        for name, command in _commands(work, img2dataset).items():
            if command is None:
                print(f"{count:>6} {name}: not installed, left out", flush=True)
                continue
            fetched = min(count, SERIAL_PICTURES) if name == "serial loop" else count
            result = {"contender": name, "pictures": fetched} | measure(command)
            result["pictures_per_second"] = round(fetched / result["seconds"], 1)
            print(json.dumps(result), flush=True)
            yield result


def _commands(work: Path, img2dataset: str | None) -> dict[str, list[str] | None]:
    (work / "serial").mkdir()
    loop = [sys.executable, "-c", SERIAL_LOOP, f"{work}/urls", f"{work}/serial"]
    theirs = [
        str(img2dataset), "--url_list", f"{work}/table.parquet", "--input_format", "parquet",
        "--url_col", "imageurl", "--caption_col", "title", "--output_format", "parquet",
        "--output_folder", f"{work}/theirs", "--processes_count", str(os.cpu_count()),
        "--thread_count", "64", "--resize_mode", "no", "--number_sample_per_shard", "1000",
    ]  # fmt: skip
    ours = [
        sys.executable, "-m", "loupe", "build", "--source", f"{work}/table.parquet", "--output",
        f"{work}/ours", "--allow-private", "--image-column", "imageurl", "--json",
    ]  # fmt: skip
    return {"serial loop": loop, "img2dataset": theirs if img2dataset else None, "loupe": ours}


def _write_tables(work: Path, urls: list[str]) -> None:
    rows = range(len(urls))
    columns = {
        "product_code": list(rows),
        "title": [f"Product {row} of the catalogue" for row in rows],
        "category3_code": [f"KIND {row % 20}" for row in rows],
        "full_price": [20.0 + row % 977 for row in rows],
        "imageurl": urls,
    }
    pq.write_table(pa.table(columns), work / "table.parquet")
    (work / "urls").write_text("\n".join(urls[:SERIAL_PICTURES]))


@contextmanager
def _serve(count: int) -> Iterator[str]:
    """Serve pictures from a process of its own."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=_run_server, args=(count, sender), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{receiver.recv()}"
    finally:
        process.kill()
        process.join()


def _run_server(count: int, sender: Any) -> None:
    pictures = [draw(seed) for seed in range(count)]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                body = pictures[int(head.split(b"/", 2)[1].split(b".")[0])]
                await asyncio.sleep(LATENCY_SECONDS)
                length = f"Content-Length: {len(body)}"
                writer.write(f"HTTP/1.1 200 OK\r\n{length}\r\n\r\n".encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
        sender.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


def draw(seed: int, size_px: tuple[int, int] = SIZE_PX) -> bytes:
    """Draw something that compresses as a photograph does: soft shapes and grain."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 255, (9, 12, 3), np.uint8)).resize(size_px)
    grain = rng.integers(-6, 7, (size_px[1], size_px[0], 1))
    buffer = io.BytesIO()
    pixels = np.clip(np.asarray(soft) + grain, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def measure(command: list[str]) -> dict:
    """Run a command; give its wall and CPU seconds and the peak of its processes' memory."""
    started = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    use = _Use(process)
    output = process.communicate()[0]
    seconds = time.perf_counter() - started
    use.stop()
    if process.returncode:
        raise SystemExit(output)
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(use.cpu_seconds, 2),
        "peak_memory_mb": round(use.peak_bytes / 1e6),
        "own_clock_per_second": _own_rate(output),
    }


class _Use:
    """Sample the memory and CPU time of a process and all that it starts, in a thread."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._cpu_seconds: dict[int, float] = {}  # by process, as last seen
        self.peak_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    @property
    def cpu_seconds(self) -> float:
        """Give the sum over processes, those that a server of processes forked included."""
        return sum(self._cpu_seconds.values())

    def stop(self) -> None:
        """End sampling."""
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(0.1):
            total = 0
            with suppress(psutil.Error):
                for each in [self._process, *self._process.children(recursive=True)]:
                    with suppress(psutil.Error):
                        total += each.memory_full_info().pss
                        used = each.cpu_times()
                        self._cpu_seconds[each.pid] = used.user + used.system
            self.peak_bytes = max(self.peak_bytes, total)


def _own_rate(output: str) -> float | None:
    """Find the rate that a contender tells of its own: img2dataset's last total, or ours."""
    found = re.findall(r"images per sec: ([\d.]+)|Gathered .* pictures, ([\d,]+) a second", output)
    return float("".join(found[-1]).replace(",", "")) if found else None


def _record(results: list[dict]) -> dict:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "benchmark": "build_fetch",
        "latency_seconds": LATENCY_SECONDS,
        "picture_bytes": len(draw(0)),
        "results": results,
        "load_average": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
    }


if __name__ == "__main__":
    main()
