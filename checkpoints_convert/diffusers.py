"""Diffusers folders: ``config.json`` and weights, flat or as a pipeline with ``unet/`` and ``scheduler/``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from checkpoints_convert.contents import Contents
from checkpoints_convert.folders import Folder
from checkpoints_convert.tensors import read_tensors
from code_jax.documents import read_json
from code_jax.errors import UserError, brief

WEIGHTS = "diffusion_pytorch_model.safetensors"
PICKLED_WEIGHTS = "diffusion_pytorch_model.bin"

_NETWORKS = ("unet", "unet_ema")
_VARIANTS = ("", "fp16", "bf16")
# Parts of a pipeline that no pixel prior has, and pipelines whose networks are none although their parts look like it.
_LATENT = "it works on the latents of an autoencoder, not on pixels"
_TEXT = "its network is conditioned on text or images"
_FOREIGN_PARTS = {
    "vae": _LATENT,
    "vqvae": _LATENT,
    "movq": _LATENT,
    "text_encoder": _TEXT,
    "tokenizer": _TEXT,
    "image_encoder": _TEXT,
}
_PIPELINES = ("DDPMPipeline", "DDIMPipeline", "PNDMPipeline", "RePaintPipeline")
_FOREIGN_PIPELINES = {
    "ConsistencyModelPipeline": "a consistency network answers with pictures, not with noise",
    "LDMPipeline": _LATENT,
    "LDMSuperResolutionPipeline": _LATENT,
    "DiTPipeline": _LATENT,
    "ScoreSdeVePipeline": "its diffusion is variance exploding",
    "KarrasVePipeline": "its diffusion is variance exploding",
}


def is_diffusers(folder: Path) -> bool:
    """Whether a folder has diffusers' layout, flat or pipeline."""
    return (_network_folder(folder) / "config.json").is_file() or (folder / "config.json").is_file()


def has_weights(folder: Path) -> bool:
    """Whether a diffusers folder has weights, whole or in numbered parts with an index."""
    return _find_weights(_network_folder(folder)) is not None


def read_diffusers(folder: str | Path) -> Contents:
    """Reads a diffusers folder; safetensors are preferred to PyTorch's pickles, and full precision to half.

    A training's folder with both ``unet`` and ``unet_ema`` gives the average; a pipeline (``model_index.json``) its ``unet``.

    Raises:
        UserError: names what is missing or damaged, and a pipeline that is no prior of pixels.
    """
    folder = Path(folder)
    parts = _parts(folder)
    places = folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json"
    scheduler = next((path for path in places if path.is_file()), None)
    if scheduler is None:
        raise UserError(f"{folder} has no scheduler_config.json: the noise schedule must be known; add the file of its pipeline")
    network, steps = _network_folder(folder), read_json(scheduler)
    if "scheduler" in parts:  # diffusers reads the config as this class's, whichever wrote it
        steps |= {"_read_as": parts["scheduler"]}
    return Contents(read_json(network / "config.json"), steps, lambda: _read_weights(network))


FOLDER = Folder("config.json (diffusers)", is_diffusers, read_diffusers)


def write_diffusers(contents: Contents, folder: Path) -> None:
    """Writes a diffusers pipeline (``DDPMPipeline.from_pretrained`` reads it) to a folder that has none of its parts yet.

    Raises:
        UserError: for a network that diffusers does not have.
    """
    if "num_attention_heads" in contents.network:
        raise UserError(
            "diffusers' UNet2DModel cannot have heads of different sizes, as this network does: write it with --to orbax"
        )
    state = {name: np.ascontiguousarray(tensor) for name, tensor in contents.state().items()}  # others would be scrambled
    index = {
        "_class_name": "DDPMPipeline",
        "unet": ["diffusers", "UNet2DModel"],
        "scheduler": ["diffusers", contents.scheduler["_class_name"]],
    }
    (folder / "unet").mkdir()
    (folder / "scheduler").mkdir()
    # Not save_file, whose files only their owner may read.
    (folder / "unet" / WEIGHTS).write_bytes(safetensors.numpy.save(state, metadata={"format": "pt"}))
    _write_json(folder / "model_index.json", index)
    _write_json(folder / "scheduler" / "scheduler_config.json", contents.scheduler)
    _write_json(folder / "unet" / "config.json", contents.network)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _parts(folder: Path) -> dict[str, Any]:
    """The classes of a pipeline's parts by name, as its ``model_index.json`` states them.

    Raises:
        UserError: where that, or a part beside the network, tells of more than a prior of pixels.
    """
    index = read_json(folder / "model_index.json") if (folder / "model_index.json").exists() else {}
    name = index.get("_class_name")
    if name is not None and name not in _PIPELINES:
        reason = _FOREIGN_PIPELINES.get(name, "unknown here") if isinstance(name, str) else "which is no name"
        raise UserError(f"{folder} is a {brief(name)[1:-1]}: {reason}; give a pipeline of pixels: {', '.join(_PIPELINES)}")
    parts = {
        part: value[1] for part, value in index.items() if isinstance(value, list) and len(value) == 2 and value[1] is not None
    }
    found = parts | {part: "a folder" for part in _FOREIGN_PARTS if part not in parts and (folder / part).is_dir()}
    for part, kind in found.items():
        if part in _FOREIGN_PARTS:
            raise UserError(f"{folder} has the part {part} ({brief(kind)}): {_FOREIGN_PARTS[part]}, which is not supported")
        if part not in ("unet", "scheduler"):
            raise UserError(
                f"{folder} has the part {brief(part)} ({brief(kind)}) besides unet and scheduler: it is no pixel prior"
            )
    if parts.get("unet", "UNet2DModel") != "UNet2DModel":
        raise UserError(
            f"{folder} has a {brief(parts['unet'])} for its unet: {_TEXT}, or no network of pictures; give UNet2DModel"
        )
    return parts


def _network_folder(folder: Path) -> Path:
    names = _NETWORKS if (folder / "model_index.json").exists() else _NETWORKS[::-1]
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


class _Weights(NamedTuple):
    """Where a network's weights are: their ending, the file, and the index of numbered parts where there is no such file."""

    suffix: str
    whole: Path | None
    parts: Path


def _find_weights(folder: Path) -> _Weights | None:
    for variant in _VARIANTS:
        for name in (WEIGHTS, PICKLED_WEIGHTS):
            stem, suffix = name.split(".")
            dotted = f".{variant}" if variant else ""
            whole, index = folder / f"{stem}{dotted}.{suffix}", folder / f"{name}.index{dotted}.json"
            if whole.is_file() or index.is_file():
                return _Weights(f".{suffix}", whole if whole.is_file() else None, index)
    return None


def _read_weights(folder: Path) -> dict[str, np.ndarray]:
    found = _find_weights(folder)
    if found is None:
        raise UserError(f"{folder} has neither {WEIGHTS} nor {PICKLED_WEIGHTS}")
    if found.whole is not None:
        return read_tensors(found.whole)
    listed = read_json(found.parts).get("weight_map")
    names = set(listed.values()) if isinstance(listed, dict) and all(isinstance(n, str) for n in listed.values()) else set()
    state: dict[str, np.ndarray] = {}
    for name in sorted(names):
        if Path(name).name != name or Path(name).suffix != found.suffix or not (folder / name).is_file():
            raise UserError(f"{folder} has no part {brief(name)}, which {found.parts.name} names")
        state |= read_tensors(folder / name)
    return state
