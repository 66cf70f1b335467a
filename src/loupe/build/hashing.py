"""Hashes that stand for texts in memory."""

import hashlib

__all__ = ["hash_text"]


def hash_text(text: str) -> int:
    """Give 64 bits, never 0: a million texts collide with a chance of 3 in 100 million."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") or 1
