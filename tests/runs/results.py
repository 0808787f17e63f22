"""What is in an output folder, and whether it holds together."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

from PIL import Image


def files(out: Path) -> dict[str, bytes]:
    """The pictures by their paths in the folder."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and "manifest" not in path.name]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def lines(out: Path) -> list[dict]:
    """The whole lines of the manifest."""
    path = out / "manifest.jsonl"
    texts = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(text) for text in texts]


def assert_whole(out: Path) -> int:
    """Every picture can be read whole and every line tells of one that has its hash; the number of lines that do."""
    for name in files(out):
        if not name.endswith(".tmp"):
            with Image.open(out / name) as picture:
                picture.load()
    done = [line for line in lines(out) if line["status"] == "done"]
    for line in done:
        assert hashlib.sha256((out / line["output"]).read_bytes()).hexdigest() == line["output_hash"]
    return len(done)


def assert_complete(out: Path, expected: dict[str, bytes], failed: int = 0) -> None:
    """The pictures of an undisturbed run, byte for byte, one line for each, and nothing else in the folder."""
    assert files(out) == expected
    assert_whole(out)
    told = lines(out)
    assert Counter(line["output"] for line in told if line["status"] == "done") == Counter(expected.keys())
    assert sum(line["status"] == "failed" for line in told) == failed and len(told) == len(expected) + failed
