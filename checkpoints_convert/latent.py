"""The parts of a latent pipeline in diffusers' layout beside its network: the autoencoder, and CLIP's text encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from checkpoints_convert.contents import Part
from checkpoints_convert.state_dict import canonical
from checkpoints_convert.weights import TRANSFORMERS, read_weights
from code_jax.documents import read_json
from code_jax.errors import UserError, brief

_END = "<|endoftext|>"
CODECS = {"vae": "AutoencoderKL", "vqvae": "VQModel"}


def read_codec(pipeline: Path) -> Part:
    """Reads the autoencoder of a pipeline, or of a folder of its own.

    A ``VQModel`` whose config has no ``scaling_factor`` is older than that option: its latents have their own scale.

    Raises:
        UserError: names what is missing, damaged, or of another kind than its place in the pipeline says.
    """
    places = [name for name in CODECS if (pipeline / name).is_dir()]
    if len(places) != 1 and not (pipeline / "config.json").is_file():
        raise UserError(f"{pipeline} has {len(places)} of the folders {', '.join(CODECS)}: a latent prior has one autoencoder")
    folder = pipeline / places[0] if places else pipeline
    config = read_json(folder / "config.json")
    wanted = [CODECS[places[0]]] if places else [*CODECS.values()]
    if config.get("_class_name") not in wanted:
        raise UserError(f"{folder} is of the kind {brief(config.get('_class_name'))}; {' or '.join(wanted)} belongs there")
    unscaled = {"scaling_factor": 1.0} if config["_class_name"] == "VQModel" else {}
    return Part(unscaled | config, lambda: canonical(read_weights(folder)))


def read_text_encoder(pipeline: Path) -> Part:
    """Reads CLIP's text encoder of a pipeline.

    Raises:
        UserError: names what is missing, damaged or of another kind.
    """
    folder = pipeline / "text_encoder"
    config = read_json(folder / "config.json")
    if config.get("architectures") != ["CLIPTextModel"]:
        raise UserError(f"{folder} is of the kind {brief(config.get('architectures'))}; only CLIPTextModel is supported")
    tokens = pipeline / "tokenizer" / "special_tokens_map.json"
    padding = read_json(tokens).get("pad_token", _END) if tokens.is_file() else _END
    if padding != _END and not (isinstance(padding, dict) and padding.get("content") == _END):
        raise UserError(
            f"{tokens} fills a prompt with {brief(padding)}; only {_END} is supported, as Stable Diffusion 1.x has it"
        )
    return Part({**config, "_class_name": "CLIPTextModel"}, lambda: clip_text_state(read_weights(folder, TRANSFORMERS)))


def clip_text_state(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state dict by the names of today: without what once wrapped it, and without the row of places 0, 1, 2, …"""
    plain = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    plain.pop("embeddings.position_ids", None)
    return plain
