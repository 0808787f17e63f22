"""Published checkpoints by the names and shapes of their weights, as the reference code has them at their size."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from checkpoints_convert.contents import Contents
from checkpoints_convert.dit import convert_dit
from checkpoints_convert.edm import convert_edm
from checkpoints_convert.guided_diffusion import GuidedDiffusion, convert_guided_diffusion
from checkpoints_convert.ncsnpp import is_ncsnpp, song_unet_config, song_unet_state
from checkpoints_convert.score_sde import ScoreSDE, convert_score_sde


def published() -> dict[str, dict[str, Any]]:
    """Of each checkpoint its format, what its shapes do not tell, and the shapes (`make_layouts`)."""
    return json.loads(gzip.decompress(Path(__file__).with_name("published.json.gz").read_bytes()))


def without_values(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Arrays of these shapes that take no memory; filters as they are."""
    state = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    for name in state:
        if name.endswith("resample_filter"):
            taps = np.array([1, 3, 3, 1] if state[name].shape[-1] == 4 else [1, 1])
            state[name] = (np.outer(taps, taps)[None, None] / taps.sum() ** 2).astype(np.float32)
    return state


def contents_of(entry: dict[str, Any]) -> Contents:
    """What the converters make of a published checkpoint."""
    state, kind = without_values(entry["shapes"]), entry["format"]
    if kind == "score_sde":
        return convert_score_sde(state | {"sigmas": np.geomspace(0.01, 348, 2000)}, ScoreSDE(**entry["facts"]))
    if kind == "edm":
        return convert_edm(state, entry["precondition"])
    if kind == "guided_diffusion":
        return convert_guided_diffusion(state, GuidedDiffusion(**entry["facts"]))
    if kind == "dit":
        return convert_dit(state)
    if is_ncsnpp(entry["config"]):
        config = song_unet_config(entry["config"])
        return Contents(config, entry["scheduler"], lambda: song_unet_state(state, config))
    network = entry["config"] | {"_class_name": kind} if kind != "diffusers" else entry["config"]
    return Contents(network, entry.get("scheduler", {}), lambda: state)
