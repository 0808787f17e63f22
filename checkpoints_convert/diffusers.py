"""Diffusers folders: ``config.json`` and weights, flat or as a pipeline with ``unet/`` and ``scheduler/``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from checkpoints_convert.contents import Contents
from checkpoints_convert.dit import dit_config, dit_state, is_diffusers_dit
from checkpoints_convert.folders import Folder
from checkpoints_convert.latent import CODECS, read_codec, read_text_encoder
from checkpoints_convert.ncsnpp import is_ncsnpp, song_unet_config, song_unet_state
from checkpoints_convert.state_dict import canonical
from checkpoints_convert.weights import DIFFUSERS, TRANSFORMERS, find_weights, read_weights
from code_jax.documents import read_json
from code_jax.errors import UserError, brief
from code_jax.models.config import NOT_OF_DIFFUSERS

_NETWORKS = ("unet", "unet_ema", "transformer")
_BESIDE = (*CODECS, "text_encoder")
_VARIANTS = ("", "fp16", "bf16")
# Parts of a pipeline that have no say in what its network does, and those that no prior here has, or in no such way.
_ASIDE = ("tokenizer", "safety_checker", "feature_extractor")
_FOREIGN_PARTS = {
    "movq": "its latents are those of another autoencoder than vae and vqvae",
    "image_encoder": "its network is conditioned on images",
}
_FOREIGN_PIPELINES = {
    "ConsistencyModelPipeline": "a consistency network answers with pictures, not with noise",
    "LDMSuperResolutionPipeline": "its network is conditioned on a picture",
    "KarrasVePipeline": "its diffusion is variance exploding in a way of its own",
}
_LATENT_PIPELINES = ("DiTPipeline", "LDMPipeline", "StableDiffusionPipeline")
_PIPELINES = (
    "DDPMPipeline", "DDIMPipeline", "PNDMPipeline", "RePaintPipeline", "ScoreSdeVePipeline", "ScoreSdeVpPipeline",
    *_LATENT_PIPELINES,
)  # fmt: skip
# Layouts that are not ours: which configs are of one, what they become, and their state dicts.
_LAYOUTS: tuple[tuple[Any, Any, Any], ...] = (
    (is_ncsnpp, song_unet_config, song_unet_state),
    (is_diffusers_dit, dit_config, dit_state),
)


def is_diffusers(folder: Path) -> bool:
    """Whether a folder has diffusers' layout, flat or pipeline."""
    return (_network_folder(folder) / "config.json").is_file() or (folder / "config.json").is_file()


def has_weights(folder: Path) -> bool:
    """Whether each network of a diffusers folder has weights, whole or in numbered parts with an index."""
    places = {_network_folder(folder): DIFFUSERS} | {
        place: TRANSFORMERS if name == "text_encoder" else DIFFUSERS for name, place in _beside(folder).items()
    }
    return all(find_weights(place, names) is not None for place, names in places.items())


def read_diffusers(folder: str | Path) -> Contents:
    """Reads a diffusers folder; safetensors are preferred to PyTorch's pickles, and full precision to half.

    A training's folder with both ``unet`` and ``unet_ema`` gives the average; a pipeline (``model_index.json``) its ``unet`` or
    ``transformer``, with the autoencoder and the text encoder beside it.

    Raises:
        UserError: names what is missing, damaged or of another model, and a pipeline that is no prior.
    """
    folder = Path(folder)
    parts = _parts(folder)
    places = folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json"
    scheduler = next((path for path in places if path.is_file()), None)
    if scheduler is None:
        raise UserError(f"{folder} has no scheduler_config.json: the noise schedule must be known; add the file of its pipeline")
    network, beside = _network_folder(folder), _beside(folder)
    config, told = read_json(network / "config.json"), read_json(scheduler)
    if "scheduler" in parts:  # diffusers reads the config as this class's, whichever wrote it
        told |= {"_read_as": parts["scheduler"]}
    _check_together(folder, config, told, "text_encoder" in parts or "text_encoder" in beside)
    codec = read_codec(folder) if set(CODECS) & set(beside) else None
    text = read_text_encoder(folder) if "text_encoder" in beside else None
    translate, rename = next((layout for known, *layout in _LAYOUTS if known(config)), (dict, lambda state, _: state))
    ours = translate(config)
    return Contents(ours, told, lambda: rename(canonical(read_weights(network)), ours), codec, text)


def _check_together(folder: Path, config: Mapping[str, Any], scheduler: Mapping[str, Any], has_text: bool) -> None:
    """Raises UserError for files of two models."""
    fourier, kind = is_ncsnpp(config), scheduler.get("_class_name")
    if fourier != (kind == "ScoreSdeVeScheduler"):
        told = "the noise level" if fourier else "timesteps"
        raise UserError(
            f"the network in {folder} is told {told}, and its scheduler {brief(kind)} is of another kind: files of two models"
        )
    if has_text and config.get("_class_name") != "UNet2DConditionModel":
        raise UserError(f"the network in {folder} looks at no text, and there is a text_encoder: these are no files of one model")


FOLDER = Folder("config.json (diffusers)", is_diffusers, read_diffusers)


def write_diffusers(contents: Contents, folder: Path) -> None:
    """Writes a diffusers pipeline (``DDPMPipeline.from_pretrained`` reads it) to a folder that has none of its parts yet.

    Raises:
        UserError: for a network that diffusers does not have.
    """
    kind = "latents" if contents.codec is not None else contents.network.get("_class_name")
    if kind != "UNet2DModel" or contents.scheduler["_class_name"] not in ("DDPMScheduler", "ScoreSdeVpScheduler"):
        raise UserError(f"diffusers has no pipeline for this prior ({brief(kind)}): write it with --to orbax (format='orbax')")
    for foreign in NOT_OF_DIFFUSERS.keys() & contents.network.keys():
        what = NOT_OF_DIFFUSERS[foreign]
        raise UserError(f"diffusers' UNet2DModel cannot have {what}, as this network does: write it with --to orbax")
    state = {name: np.ascontiguousarray(tensor) for name, tensor in contents.state().items()}  # others would be scrambled
    index = {
        "_class_name": "DDPMPipeline",
        "unet": ["diffusers", "UNet2DModel"],
        "scheduler": ["diffusers", contents.scheduler["_class_name"]],
    }
    (folder / "unet").mkdir()
    (folder / "scheduler").mkdir()
    # Not save_file, whose files only their owner may read.
    (folder / "unet" / DIFFUSERS[0]).write_bytes(safetensors.numpy.save(state, metadata={"format": "pt"}))
    _write_json(folder / "model_index.json", index)
    _write_json(folder / "scheduler" / "scheduler_config.json", contents.scheduler)
    _write_json(folder / "unet" / "config.json", contents.network)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _parts(folder: Path) -> dict[str, Any]:
    """The classes of a pipeline's parts by name, as its ``model_index.json`` states them.

    Raises:
        UserError: where that, or a part beside the network, tells of a pipeline that is no prior.
    """
    index = read_json(folder / "model_index.json") if (folder / "model_index.json").exists() else {}
    name = index.get("_class_name")
    if name is not None and name not in _PIPELINES:
        reason = _FOREIGN_PIPELINES.get(name, "unknown here") if isinstance(name, str) else "which is no name"
        raise UserError(f"{folder} is a {brief(name)[1:-1]}: {reason}; give one of {', '.join(_PIPELINES)}")
    parts = {
        part: value[1] for part, value in index.items() if isinstance(value, list) and len(value) == 2 and value[1] is not None
    }
    found = parts | {part: "a folder" for part in _FOREIGN_PARTS if part not in parts and (folder / part).is_dir()}
    for part, kind in found.items():
        if part in _FOREIGN_PARTS:
            raise UserError(f"{folder} has the part {part} ({brief(kind)}): {_FOREIGN_PARTS[part]}, which is not supported")
        if part not in (*_NETWORKS, *_BESIDE, *_ASIDE, "scheduler"):
            raise UserError(f"{folder} has the part {brief(part)} ({brief(kind)}), which no prior here has")
        if part in CODECS and not (folder / part).is_dir():  # a prompt's embedding may take a text encoder's place
            raise UserError(f"{folder} lacks the part {part} ({brief(kind)}), which model_index.json names: it is not whole")
    if parts.get("unet", "UNet2DModel") not in ("UNet2DModel", "UNet2DConditionModel"):
        raise UserError(f"{folder} has a {brief(parts['unet'])} for its unet, which is not supported; give UNet2DModel")
    if name in _LATENT_PIPELINES and not set(CODECS) & set(_beside(folder)):
        raise UserError(f"{folder} is a {name}, whose network is one of latents, and has no autoencoder ({' or '.join(CODECS)})")
    return parts


def _beside(folder: Path) -> dict[str, Path]:
    """The folders of the networks beside the one that denoises, by their names."""
    return {name: folder / name for name in _BESIDE if (folder / name).is_dir()}


def _network_folder(folder: Path) -> Path:
    names = _NETWORKS if (folder / "model_index.json").exists() else _NETWORKS[::-1]
    return next((folder / name for name in names if (folder / name).is_dir()), folder)
