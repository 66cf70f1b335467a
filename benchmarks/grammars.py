"""Which library should hold answers to a grammar: llguidance, xgrammar or outlines?

The tutorial's answer, as one regular expression that all three take, over a tokenizer; each library
in a process of its own: processor seconds to import it and to compile the expression, processor
microseconds for each token of a true answer (which tokens are allowed, and taking one of them), the
memory that both took, the disk that the library takes with what it alone requires, and how many
steps an answer needs where certain tokens are not decoded. A library that is not installed is left
out.

Usage: python benchmarks/grammars.py [--tokenizer FOLDER] [--turns 30]
"""

import argparse
import importlib.util
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from loupe import vlm

CATEGORIES = ("BELTS", "BOOTS", "DRESSES", "GLOVES", "HATS", "HEELS", "KNITWEAR", "SHIRTS", "TOTES")
EXPRESSION = (
    r" ?Product: [^,\x00-\x1f]+, Category: (" + "|".join(CATEGORIES) + r"), "
    r"Full Price: (0|[1-9][0-9]{0,7})\.[0-9]"
)
ANSWER = "Product: Ankle Padded Suede Boots in Midnight, Category: BOOTS, Full Price: 750.0"
BROUGHT = {
    "llguidance": ("llguidance",),
    "xgrammar": ("xgrammar", "tvm_ffi", "triton"),
    "outlines": ("outlines", "outlines_core"),
}
"""Folders of each library and of what it requires that Loupe does without, small ones left out."""

Walk = Callable[[list[int]], None]


def use_llguidance(tokenizer: Any) -> tuple[Walk, Callable[[list[int]], int]]:
    from llguidance import LLMatcher, hf

    vocabulary = hf.from_tokenizer(tokenizer, len(tokenizer), eos_token=tokenizer.eos_token_id)
    matcher = LLMatcher(vocabulary, f"start: ANSWER\nANSWER: /{EXPRESSION}/\n")

    def walk(ids: list[int]) -> None:
        own = matcher.deep_copy()
        for token in ids:
            bits = np.frombuffer(own.compute_bitmask(), np.uint8)
            assert np.unpackbits(bits, bitorder="little")[token]
            own.consume_tokens([token])

    def count_steps(ids: list[int]) -> int:
        own, at, steps = matcher.deep_copy(), 0, 0
        while at < len(ids):
            own.consume_tokens([ids[at]])
            certain = own.compute_ff_tokens()
            own.consume_tokens(certain)
            at, steps = at + 1 + len(certain), steps + 1
        return steps

    return walk, count_steps


def use_xgrammar(tokenizer: Any) -> tuple[Walk, None]:
    import xgrammar

    count = len(tokenizer)
    about = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=count)
    compiled = xgrammar.GrammarCompiler(about, max_threads=1).compile_regex(EXPRESSION)
    mask = xgrammar.allocate_token_bitmask(1, count)

    def walk(ids: list[int]) -> None:
        own = xgrammar.GrammarMatcher(compiled)
        for token in ids:
            own.fill_next_token_bitmask(mask)
            assert int(mask[0, token // 32]) >> (token % 32) & 1
            own.accept_token(token)

    return walk, None


def use_outlines(tokenizer: Any) -> tuple[Walk, None]:
    import outlines_core

    tokens: dict[str, list[int]] = {}
    for piece, token in tokenizer.get_vocab().items():
        if token != tokenizer.eos_token_id and not piece.startswith("<0x"):
            tokens.setdefault(piece.replace("\u2581", " "), []).append(token)
    vocabulary = outlines_core.Vocabulary(tokenizer.eos_token_id, tokens)
    index = outlines_core.Index(EXPRESSION, vocabulary)

    def walk(ids: list[int]) -> None:
        own = outlines_core.Guide(index)
        for token in ids:
            allowed = np.zeros(len(tokenizer), dtype=bool)
            allowed[own.get_tokens()] = True
            assert allowed[token]
            own.advance(token)

    return walk, None


LIBRARIES: dict[str, Callable[[Any], tuple[Walk, Callable[[list[int]], int] | None]]] = {
    "llguidance": use_llguidance,
    "xgrammar": use_xgrammar,
    "outlines": use_outlines,
}


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    return pages * 4096 / 2**20


def measure(library: str, folder: str, turns: int) -> dict[str, Any]:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    ids = tokenizer(ANSWER, add_special_tokens=False)["input_ids"]
    before, started = resident_mib(), time.process_time()
    walk, count_steps = LIBRARIES[library](tokenizer)
    walk(ids)
    ready, after = time.process_time(), resident_mib()
    for _ in range(turns):
        walk(ids)
    return {
        "ready_seconds": round(ready - started, 2),
        "token_microseconds": round((time.process_time() - ready) / turns / len(ids) * 1e6, 1),
        "memory_mib": round(after - before, 1),
        "disk_mib": round(sum(map(disk_mib, BROUGHT[library])), 1),
        "tokens": len(ids),
        "steps": count_steps(ids) if count_steps else len(ids),
        "vocabulary": len(tokenizer),
    }


def disk_mib(package: str) -> float:
    found = importlib.util.find_spec(package)
    folders = found.submodule_search_locations if found else None
    files = (path for folder in folders or () for path in Path(folder).rglob("*"))
    return sum(path.stat().st_size for path in files if path.is_file()) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", default=str(vlm.TINY_FOLDER), help="a checkpoint's folder")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--turn", choices=LIBRARIES, help="measure one here; used by itself")
    arguments = parser.parse_args()
    if arguments.turn:
        print(json.dumps(measure(arguments.turn, arguments.tokenizer, arguments.turns)))
        return
    results = {}
    for library in LIBRARIES:
        if importlib.util.find_spec(library) is None:
            print(f"{library:12} is not installed", file=sys.stderr)
            continue
        words = ["--turn", library, "--tokenizer", arguments.tokenizer]
        words += ["--turns", str(arguments.turns)]
        done = subprocess.run(
            [sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True
        )
        results[library] = told = json.loads(done.stdout.splitlines()[-1])
        print(library, told, file=sys.stderr)
    about = {"machine": platform.machine(), "python": platform.python_version()}
    print(json.dumps({"benchmark": "grammars", "results": results, **about}))


if __name__ == "__main__":
    main()
