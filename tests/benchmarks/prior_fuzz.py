"""Mutates priors' files in every format, loads them, and converts some.

    python -m tests.benchmarks.prior_fuzz [--files 2000] [--seed 0]

JSON documents get hostile values at any depth, other files the damages of `tests.benchmarks.batch_fuzz`; the hash of our own
checkpoints is written anew, as a forger would. One in four is given to `convert` instead, which writes a prior or nothing.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

import code_jax
from checkpoints_convert.checkpoint import _content_hash
from tests.benchmarks.batch_fuzz import mutated
from tests.benchmarks.watch import Watch
from tests.checkpoints_convert.torch_files import archive, pickled, storage, tensor
from tests.conftest import tiny_prior

HOSTILE = [
    None,
    True,
    "",
    "x" * 10**5,
    [],
    {},
    [[]] * 3,
    0,
    -1,
    1,
    2**63,
    10**400,
    1e308,
    float("nan"),
    float("-inf"),
    [10**12] * 9,
]


def mutated_json(content: Any, rng: np.random.Generator) -> str:
    """A document with a few places given hostile values, dropped or nested."""
    content = json.loads(json.dumps(content))
    for _ in range(rng.integers(1, 4)):
        place = content
        while True:
            key = list(place)[rng.integers(len(place))] if isinstance(place, dict) else int(rng.integers(len(place)))
            if not isinstance(place[key], dict | list) or not place[key] or rng.integers(3) == 0:
                break
            place = place[key]
        place[key] = copy.deepcopy(HOSTILE[rng.integers(len(HOSTILE))])  # it may itself be mutated next
    text = json.dumps(content)
    return text if rng.integers(10) else text.replace("{", '{"a":' * int(rng.integers(1, 10**5)) + "{", 1)


def damage(path: Path, rng: np.random.Generator) -> None:
    """Writes a damaged version of a file in its place."""
    data = path.read_bytes()
    if path.suffix == ".json" and rng.integers(4):
        path.write_text(mutated_json(json.loads(data), rng))
    elif path.suffix == ".safetensors" and rng.integers(2):
        length = int.from_bytes(data[:8], "little")
        header = mutated_json(json.loads(data[8 : 8 + length]), rng).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])
    else:
        path.write_bytes(mutated(data, rng)[1])


def seal(folder: Path) -> None:
    """Gives our checkpoint the hash of what it holds now, where its description can still hold one."""
    try:
        content = json.loads((folder / "prior.json").read_text())
        content.pop("sha256", None)
        content["sha256"] = _content_hash(folder, content)
        (folder / "prior.json").write_text(json.dumps(content))
    except (ValueError, AttributeError, TypeError, RecursionError):
        return


def sources(folder: Path) -> dict[str, Callable[[Path], Any]]:
    """Whole priors in `folder`, by name, and what loads each."""
    tiny = tiny_prior()
    code_jax.save_prior(tiny, folder / "diffusers")
    code_jax.save_prior(tiny, folder / "ours", format="orbax")
    code_jax.save_prior(tiny, folder / "pickled")
    weights = folder / "pickled" / "unet" / "diffusion_pytorch_model.safetensors"
    state = safetensors.numpy.load_file(weights)
    weights.unlink()
    tensors = {
        name: tensor(values.shape, tuple(s // 4 for s in values.strides), kept=storage(str(i), values.size))
        for i, (name, values) in enumerate(state.items())
    }
    contents = {str(i): values.tobytes() for i, values in enumerate(state.values())}
    archive(weights.with_suffix(".bin"), pickled(tensors), contents)
    (folder / "file").mkdir()
    shutil.copy(weights.with_suffix(".bin"), folder / "file" / "model.pt")
    load = code_jax.load_prior
    return {"diffusers": load, "ours": load, "pickled": load, "file": lambda there: load(there / "model.pt")}


def converted(watch: Watch, name: str, source: Path, out: Path) -> None:
    """Converts: a whole prior, or a line and nothing written."""
    status = watch.command(f"{name}: convert", "convert", str(source), str(out), "--to", "diffusers")
    with watch.input(f"what {name} was converted to"):
        if status == 0:
            code_jax.load_prior(out)
            shutil.rmtree(out)
        else:
            assert not out.exists() or not any(out.iterdir()), "something is left of it"


def loaded(watch: Watch, name: str, load: Callable[[Path], Any], there: Path) -> None:
    """Loads: a prior, or a line."""
    with watch.input(name):
        try:
            load(there)
            watch.ends[f"{name}: loaded"] += 1
        except code_jax.UserError as error:
            assert "\n" not in str(error) and len(str(error)) < 1500, error
            watch.ends[f"{name}: refused"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where to work; a temporary one by default")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # where orbax writes what it raises as well
    with tempfile.TemporaryDirectory(dir=args.folder) as work:
        known, watch = sources(Path(work) / "whole"), Watch(Path(work))
        for _ in range(args.files):
            name = list(known)[rng.integers(len(known))]
            there = Path(work) / "damaged"
            shutil.copytree(Path(work) / "whole" / name, there)
            files = sorted(path for path in there.rglob("*") if path.is_file() and path.stat().st_size)
            damage(files[rng.integers(len(files))], rng)
            if name == "ours":
                seal(there)
            if rng.integers(4) == 0:
                converted(watch, name, there / "model.pt" if name == "file" else there, Path(work) / "out")
            else:
                loaded(watch, name, known[name], there)
            shutil.rmtree(there)
        sound = watch.report()
    print(f"{args.files} damaged priors")
    sys.exit(not sound)


if __name__ == "__main__":
    main()
