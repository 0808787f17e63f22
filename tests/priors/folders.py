"""Checkpoints of small networks as others write them: folders in diffusers' layout, and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from code_jax.models.networks import network_of
from code_jax.priors.weights import expected_shapes
from tests.models.architectures import weights
from tests.models.networks import CODECS

FILES = "tests/checkpoints_convert"
LINEAR = {"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195}
State = dict[str, np.ndarray]


def state_of(config: dict[str, Any]) -> State:
    """Weights of the names that a config's network has."""
    return weights(expected_shapes(network_of(config)))


def shapes_of(root: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a layout of `tests.checkpoints_convert.layouts`, without noise levels and filters."""
    with np.load(root / FILES / "layouts.npz") as golden:
        shapes = json.loads(str(golden[f"{name}.shapes"]))
    return {key: tuple(shape) for key, shape in shapes.items() if not key.endswith(("sigmas", "resample_filter"))}


def save(state: State, path: Path) -> Path:
    """A file of safetensors."""
    safetensors.numpy.save_file({name: np.ascontiguousarray(tensor) for name, tensor in state.items()}, path)
    return path


def pipeline(folder: Path, network: dict[str, Any], scheduler: dict[str, Any], state: State, name: str = "unet") -> Path:
    """A pipeline in diffusers' layout."""
    (folder / name).mkdir(parents=True)
    (folder / "scheduler").mkdir()
    (folder / name / "config.json").write_text(json.dumps(network))
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    save(state, folder / name / "diffusion_pytorch_model.safetensors")
    return folder


def codec_folder(folder: Path, name: str, kind: str) -> Path:
    """An autoencoder of `tests.models.networks.CODECS`."""
    config = CODECS[name] | {"_class_name": kind}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    save(state_of(config), folder / "diffusion_pytorch_model.safetensors")
    return folder


def index(folder: Path, **parts: str) -> Path:
    """The folder with the list of its parts."""
    (folder / "model_index.json").write_text(json.dumps({name: ["library", kind] for name, kind in parts.items()}))
    return folder
