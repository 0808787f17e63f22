"""Mutates what folders and pictures say (manifests, markers, records, provenance) and has every reader of them read it.

    python -m tests.benchmarks.document_fuzz [--documents 2500] [--seed 0] [--folder DIR]

No traceback, no more than 10 s of computing, no child process, less than 2 GB, nothing written outside of the folder. Every
document is read by `info`; manifests and markers by `merge`, some by a `restore` that goes on from them; records are read, or
passed over.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from code_jax.cli.main import main as code_jax
from code_jax.evaluation.records import Records
from code_jax.pictures.provenance import KEYWORD
from tests.benchmarks.batch_fuzz import mutated as mutated_bytes
from tests.benchmarks.watch import LIMIT, Watch
from tests.runs.conftest import FAST, exact_prior, make_pictures

VALUES = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan"), "", "x", "done", "failed",
    "../../elsewhere", "/etc/passwd", "a\0b", "\ud800", "\x1b]0;title\x07", "é" * 3000, [], [1], [None, "x"], {}, {"a": {"b": []}}
]  # fmt: skip


def mutated(document: Any, rng: np.random.Generator) -> str:
    """JSON text of a document with one to three values replaced, removed or added anywhere in it; one in ten no longer JSON."""
    document = copy.deepcopy(document)
    for _ in range(rng.integers(1, 4)):
        places = [
            (owner, key) for owner in _containers(document) for key in (owner if isinstance(owner, dict) else range(len(owner)))
        ]
        if not places:
            break
        owner, key = places[rng.integers(len(places))]
        choice = rng.integers(8)
        if choice == 0:
            del owner[key]
        elif choice == 1 and isinstance(owner, dict):
            owner[str(VALUES[rng.integers(len(VALUES))])[:50]] = owner[key]
        else:
            owner[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    text = json.dumps(document)
    if rng.integers(20) == 0:
        return "[" * 100_000 + text
    return mutated_bytes(text.encode(), rng)[1].decode(errors="surrogateescape") if rng.integers(10) == 0 else text


def _containers(value: Any) -> list[Any]:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return ([value] if isinstance(value, (dict, list)) else []) + [found for each in inner for found in _containers(each)]


def quietly(watch: Watch, argv: list[str], limit: float = LIMIT) -> int:
    """Runs a command in this process with its output thrown away."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said, watch.input(limit):
        status = code_jax(argv)
    assert status in (0, 1, 2), status
    assert status != 2 or said.getvalue().count("\n") == 1, said.getvalue()
    return status


def read_documents(work: Path, count: int, kinds: list[str], rng: np.random.Generator, watch: Watch) -> Counter[str]:
    """Mutated manifests, markers and provenance through `info`, `merge` and `restore`."""
    pictures, whole = make_pictures(work / "in", 3), work / "whole"
    restore = ["restore", str(pictures), *FAST, "--out"]
    assert quietly(watch, [*restore, str(whole)], 600) == 0  # which compiles
    lines = [json.loads(line) for line in (whole / "manifest.jsonl").read_text().splitlines()]
    marker = json.loads((whole / ".manifest.json").read_text())
    with Image.open(whole / "p00.png") as picture:
        facts = json.loads(picture.info[KEYWORD])
    ended: Counter[str] = Counter()
    for number in range(count):
        out = work / "out"
        shutil.copytree(whole, out)
        kind = kinds[number % len(kinds)]
        if kind == "provenance":
            text = Image.Exif()
            text[0x9C9C] = f"{KEYWORD} {mutated(facts, rng)}\0".encode("utf-16-le", "replace")
            Image.new("RGB", (8, 8)).save(out / "a.webp", exif=text)
            ended[f"{kind}: info {quietly(watch, ['info', str(out / 'a.webp')])}"] += 1
        else:
            name = {"manifest": "manifest.jsonl", "share": "manifest.1-of-2.jsonl", "marker": ".manifest.json"}[kind]
            several = [marker] if kind == "marker" else lines
            which = rng.integers(len(several))
            texts = [mutated(each, rng) if i == which else json.dumps(each) for i, each in enumerate(several)]
            (out / name).write_bytes("".join(f"{text}\n" for text in texts).encode(errors="surrogateescape"))
            ended[f"{kind}: info {quietly(watch, ['info', str(out)])}"] += 1
            if number % 10 < 3:
                ended[f"{kind}: restore {quietly(watch, [*restore, str(out)])}"] += 1
            ended[f"{kind}: merge {quietly(watch, ['merge', str(out)])}"] += 1
        shutil.rmtree(out)
    return ended


def read_records(work: Path, count: int, rng: np.random.Generator, watch: Watch) -> Counter[str]:
    """Mutated records: what is read is what was written, or nothing."""
    records = Records(work / "evaluation", resume=False)
    path = records.path("code-fog-5", {})
    record = {"psnr_source": rng.normal(size=(3, 4)), "shown": rng.integers(0, 256, (3, 2, 8, 8, 3)), "memory": np.array(7)}
    records.write(path, record)
    data, ended = path.read_bytes(), Counter[str]()
    for _ in range(count):
        path.write_bytes(mutated_bytes(data, rng)[1])
        with watch.input():
            found = records.read(path)
        if found is not None:
            assert found.keys() == record.keys() and all(np.array_equal(found[name], record[name]) for name in record)
        ended["record: as written" if found is not None else "record: passed over"] += 1
    return ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2500)
    parser.add_argument("--kinds", default="manifest,share,marker,provenance", help="of documents")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where to work; a temporary one by default")
    args = parser.parse_args()
    rng, prior = np.random.default_rng(args.seed), exact_prior()
    with (
        tempfile.TemporaryDirectory(dir=args.folder) as work,
        mock.patch("code_jax.priors.load.load_prior", lambda name, **options: prior),
        mock.patch.dict(os.environ, {"XDG_CACHE_HOME": str(Path(work) / "cache")}),
    ):
        first, warm = make_pictures(Path(work) / "first", 1), str(Path(work) / "warm")
        code_jax(["corrupt", str(first), "--out", warm, "--corruption", "fog"])  # which imports: JAX asks the machine what it is
        folder, watch = Path(work), Watch(Path(work))
        ended = read_documents(folder, args.documents * 4 // 5, args.kinds.split(","), rng, watch)
        ended += read_records(folder, args.documents // 5, rng, watch)
        for name, number in sorted(ended.items()):
            print(f"{name}: {number}")
        print(f"{args.documents} documents: no traceback, none that took more than {LIMIT:g} s")
        sys.exit(not watch.report())


if __name__ == "__main__":
    main()
