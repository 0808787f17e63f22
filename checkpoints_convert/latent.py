"""The parts of a latent pipeline in diffusers' layout beside its network: the autoencoder, and CLIP's text encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from checkpoints_convert.tensors import read_tensors
from code_jax.documents import read_json
from code_jax.errors import UserError, brief

CODECS = {"vae": "AutoencoderKL", "vqvae": "VQModel"}
_WEIGHTS = {
    "codec": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
    "text_encoder": ("model.safetensors", "pytorch_model.bin"),
}


class Part(NamedTuple):
    """A part of a pipeline: its config, which says its kind (``_class_name``), and what gives its state dict."""

    config: Mapping[str, Any]
    state: Callable[[], dict[str, np.ndarray]]


def read_codec(pipeline: Path) -> Part:
    """Reads the autoencoder of a pipeline.

    Raises:
        UserError: names what is missing, damaged, or of another kind than its place in the pipeline says.
    """
    places = [name for name in CODECS if (pipeline / name).is_dir()]
    if len(places) != 1:
        raise UserError(f"{pipeline} has {len(places)} of the folders {', '.join(CODECS)}: a latent prior has one autoencoder")
    folder = pipeline / places[0]
    config = read_json(folder / "config.json")
    if config.get("_class_name") != CODECS[places[0]]:
        raise UserError(f"{folder} is of the kind {brief(config.get('_class_name'))}; {CODECS[places[0]]} belongs there")
    return Part(config, lambda: _read(folder, "codec"))


def read_text_encoder(pipeline: Path) -> Part:
    """Reads CLIP's text encoder of a pipeline.

    Raises:
        UserError: names what is missing, damaged or of another kind.
    """
    folder = pipeline / "text_encoder"
    config = read_json(folder / "config.json")
    if config.get("architectures") != ["CLIPTextModel"]:
        raise UserError(f"{folder} is of the kind {brief(config.get('architectures'))}; only CLIPTextModel is supported")
    return Part({**config, "_class_name": "CLIPTextModel"}, lambda: clip_text_state(_read(folder, "text_encoder")))


def clip_text_state(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state dict by the names of today: without what once wrapped it, and without the row of places 0, 1, 2, …"""
    plain = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    plain.pop("embeddings.position_ids", None)
    return plain


def _read(folder: Path, kind: str) -> dict[str, np.ndarray]:
    found = next((folder / name for name in _WEIGHTS[kind] if (folder / name).is_file()), None)
    if found is None:
        raise UserError(f"{folder} has neither {' nor '.join(_WEIGHTS[kind])}")
    return read_tensors(found)
