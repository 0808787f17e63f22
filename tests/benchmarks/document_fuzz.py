"""Mutates what folders, pictures, pages and configs say, from manifests to calibrations; every reader of them reads it.

    python -m tests.benchmarks.document_fuzz [--documents 2500] [--seed 0] [--folder DIR]

Four in ten are read by `info`; manifests and markers by `merge`, too, some by a `restore` that goes on from them. Two in ten
are read by `corrupt` and `sweep`, which go on from their folders, `statistics` (a calibration), `train` (a recipe, up to where
it would begin) and `priors` (what lies in the cache). Two in ten are records of an evaluation, read as they were written or
passed over; one in ten is a file of a training, which goes on from a state that was written, or says what is wrong; and one in
ten a form of the page.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import io
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import code_jax
from code_jax import UserError
from code_jax.cache import cache_folder
from code_jax.demo.events import KINDS, data_url
from code_jax.demo.order import Offer, Pace
from code_jax.evaluation.records import Records
from code_jax.pictures.provenance import KEYWORD
from code_jax.training.checkpoints import Checkpoints, check_description, set_damaged_aside
from code_jax.training.log import Log
from code_jax.training.recipe import NETWORKS, Recipe
from code_jax.training.step import init_state
from tests.benchmarks.batch_fuzz import mutated as mutated_bytes
from tests.benchmarks.watch import Watch, exact
from tests.conftest import tiny_prior
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


def read_documents(work: Path, count: int, kinds: list[str], rng: np.random.Generator, watch: Watch) -> None:
    """Mutated manifests, markers and provenance through `info`, `merge` and `restore`."""
    pictures, whole, out = make_pictures(work / "in", 3), work / "whole", work / "out"
    restore = ("restore", str(pictures), *FAST, "--out")
    assert watch.command("first", *restore, str(whole), limit=600) == 0  # which compiles
    lines = [json.loads(line) for line in (whole / "manifest.jsonl").read_text().splitlines()]
    marker = json.loads((whole / ".manifest.json").read_text())
    with Image.open(whole / "p00.png") as picture:
        facts = json.loads(picture.info[KEYWORD])
    for number in range(count):
        shutil.copytree(whole, out)
        kind = kinds[number % len(kinds)]
        if kind == "provenance":
            text = Image.Exif()
            text[0x9C9C] = f"{KEYWORD} {mutated(facts, rng)}\0".encode("utf-16-le", "replace")
            Image.new("RGB", (8, 8)).save(out / "a.webp", exif=text)
            watch.command(f"{kind}: info", "info", str(out / "a.webp"))
        else:
            name = {"manifest": "manifest.jsonl", "share": "manifest.1-of-2.jsonl", "marker": ".manifest.json"}[kind]
            several = [marker] if kind == "marker" else lines
            which = rng.integers(len(several))
            texts = [mutated(each, rng) if i == which else json.dumps(each) for i, each in enumerate(several)]
            (out / name).write_bytes("".join(f"{text}\n" for text in texts).encode(errors="surrogateescape"))
            watch.command(f"{kind}: info", "info", str(out))
            if number % 10 < 3:
                watch.command(f"{kind}: restore", *restore, str(out))
            watch.command(f"{kind}: merge", "merge", str(out))
        shutil.rmtree(out)


def read_configs(work: Path, count: int, rng: np.random.Generator, watch: Watch) -> None:
    """Mutated documents of the commands that have one of their own: a folder's marker or manifest, a config."""
    picture, sound = work / "large.png", make_pictures(work / "sound", 31)
    Image.new("RGB", (32, 32), "red").save(picture)
    corrupt = ("corrupt", str(picture), "--corruption", "contrast", "--out", str(work / "corrupted"))
    sweep = ("sweep", str(sound / "p00.png"), *FAST, "--out", str(work / "swept"))
    statistics = ("statistics", str(sound / "p00.png"), "--calibration", str(work / "calibration.json"))
    words = ("--out", str(work / "calibration.json"), "--num-steps", "2")
    for first in (corrupt, sweep, ("calibrate", "exact", str(sound), *words), statistics):  # which compile
        assert watch.command("first", *first, limit=600) == 0
    network = {"network": NETWORKS["small"].to_diffusers(), "recipe": dataclasses.asdict(Recipe())}
    (work / "recipe.json").write_text(json.dumps(network))
    train = ("train", "--data", str(sound), "--out", str(work / "trained"), "--config", str(work / "recipe.json"))
    cached = cache_folder() / "priors" / "org--name--0"
    code_jax.save_prior(tiny_prior(), cached, format="orbax")
    documents = [
        (work / "corrupted" / "manifest.jsonl", corrupt),
        (work / "corrupted" / ".manifest.json", corrupt),
        (work / "swept" / ".manifest.json", sweep),
        (work / "calibration.json", statistics),
        (work / "recipe.json", train),
        (cached / "prior.json", ("priors",)),
    ]
    with mock.patch("code_jax.training.loop.train", side_effect=UserError("it would begin")):
        for number in range(count):
            path, command = documents[number % len(documents)]
            before = path.read_bytes()
            path.write_text(mutated(json.loads(before), rng) + "\n", errors="surrogateescape")
            watch.command(f"{path.name}: {command[0]}", *command)
            path.write_bytes(before)


def read_records(work: Path, count: int, rng: np.random.Generator, watch: Watch) -> None:
    """Mutated records: what is read is what was written, or nothing."""
    records = Records(work / "evaluation", resume=False)
    path = records.path("code-fog-5", {})
    record = {"psnr_source": rng.normal(size=(3, 4)), "shown": rng.integers(0, 256, (3, 2, 8, 8, 3)), "memory": np.array(7)}
    records.write(path, record)
    data = path.read_bytes()
    for _ in range(count):
        path.write_bytes(mutated_bytes(data, rng)[1])
        with watch.input("record"):
            found = records.read(path)
            if found is not None:
                assert found.keys() == record.keys() and all(np.array_equal(found[name], record[name]) for name in record)
            watch.ends["record: as written" if found is not None else "record: passed over"] += 1


def read_trainings(work: Path, count: int, rng: np.random.Generator, watch: Watch) -> None:
    """Mutated descriptions, losses and checkpoints: a training goes on as it was, or says why it cannot."""
    whole, damaged, description = work / "training", work / "damaged", {"recipe": {"steps": 2}, "data": [{"digest": "0" * 64}]}
    state = init_state(Recipe(), {"kernel": jnp.arange(12.0).reshape(3, 4)})
    whole.mkdir()
    check_description(whole, description, resume=False)
    with Checkpoints(whole, 2) as checkpoints:
        log = Log(whole, [0.1, 1.0], 0)
        for step in (1, 2):
            checkpoints.save(state.replace(step=jnp.int32(step)), 1 / step)
            log.write(step, step, 1.0, 0.5, np.array([0.5, 0.5]))
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.stat().st_size)
    for _ in range(count):
        shutil.copytree(whole, damaged)
        path = damaged / files[rng.integers(len(files))]
        if path.suffix == ".json":
            path.write_text(mutated(json.loads(path.read_bytes()), rng), errors="surrogateescape")
        else:
            path.write_bytes(mutated_bytes(path.read_bytes(), rng)[1])
        with watch.input(f"training: {path.name}"), contextlib.redirect_stderr(io.StringIO()):
            try:
                check_description(damaged, description, resume=True)
                set_damaged_aside(damaged, state)
                with Checkpoints(damaged, 2) as checkpoints:
                    step = checkpoints.latest()
                    found = checkpoints.restore(step, state)
                    jax.tree.map(np.testing.assert_array_equal, found, state.replace(step=jnp.int32(step)))
                    assert checkpoints.best() in (1, 2)
                    Log(damaged, [0.1, 1.0], step).write(step + 1, step + 1, 1.0, 0.5, np.array([0.5, 0.5]))
                watch.ends[f"training: goes on from step {step} of 2"] += 1
            except UserError as error:
                assert str(error).isprintable(), error
                watch.ends["training: refused"] += 1
        shutil.rmtree(damaged)


def read_forms(count: int, rng: np.random.Generator, watch: Watch) -> None:
    """Mutated forms of the page: an order, or a line that says what cannot be."""
    offers = {"exact": Offer("exact", exact_prior(), "0" * 64, "float32", Pace())}
    picture = data_url(np.full((8, 8, 3), 99, np.uint8))
    mask = data_url(np.full((8, 8, 3), 255, np.uint8))
    form = {"prior": "exact", "picture": picture, "mask": mask, "corruption": "", "severity": "5", "sigmas": "0.5 1"}
    form |= {"relative-steps": "0.1", "sigma": "0.7", "ode-steps": "2", "eta": "none", "seed": "3", "samples": "2", "fit": "tile"}
    for _ in range(count):
        with watch.input("form"):
            try:
                given = json.loads(mutated(form | {"size": [8, 9]} if rng.integers(2) else form, rng))
                ended = "refused" if not isinstance(given, dict) else next(KINDS["sweep"](given, offers))["event"]
            except (json.JSONDecodeError, RecursionError):  # which the server answers
                ended = "refused"
            except UserError as error:
                assert str(error), error
                ended = "refused"
            watch.ends[f"form: {ended}"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2500)
    parser.add_argument("--kinds", default="manifest,share,marker,provenance", help="of documents")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where to work; a temporary one by default")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # where orbax writes what it raises as well
    with tempfile.TemporaryDirectory(dir=args.folder) as work, exact(Path(work)):
        watch = Watch(Path(work))
        read_documents(Path(work), args.documents * 4 // 10, args.kinds.split(","), rng, watch)
        read_configs(Path(work), args.documents * 2 // 10, rng, watch)
        read_records(Path(work), args.documents * 2 // 10, rng, watch)
        read_trainings(Path(work), args.documents // 10, rng, watch)
        read_forms(args.documents // 10, rng, watch)
        sound = watch.report()
    print(f"{args.documents} documents")
    sys.exit(not sound)


if __name__ == "__main__":
    main()
