"""Diffusers folders: ``config.json`` and weights, flat or as a pipeline with ``unet/`` and ``scheduler/``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from checkpoints_convert.state_dict import from_state_dict, to_state_dict
from checkpoints_convert.tensors import read_tensors
from code_jax.diffusion.parameterization import check_prediction_type
from code_jax.diffusion.schedule import NoiseSchedule, schedule_from_diffusers
from code_jax.errors import UserError, brief
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel
from code_jax.priors.prior import NetworkOutput, Prior

WEIGHTS = "diffusion_pytorch_model.safetensors"
PICKLED_WEIGHTS = "diffusion_pytorch_model.bin"
_MAX_JSON, _MAX_NESTING = 1 << 22, 16


def is_diffusers(folder: Path) -> bool:
    """Whether a folder has diffusers' layout, flat or pipeline."""
    return (folder / "unet" / "config.json").is_file() or (folder / "config.json").is_file()


def has_weights(folder: Path, name: str = WEIGHTS) -> bool:
    """Whether a diffusers folder has weights in a file of this name, whole or in numbered parts with an index."""
    folder = _network_folder(folder)
    return (folder / name).is_file() or (folder / f"{name}.index.json").is_file()


def read_diffusers(folder: str | Path) -> Prior:
    """The prior of a diffusers folder, in float32; safetensors are preferred to PyTorch's pickles where both are there.

    Raises:
        UserError: names what is missing, unsupported or does not fit; configs are checked before weights are read.
    """
    folder = Path(folder)
    places = folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json"
    scheduler = next((path for path in places if path.is_file()), None)
    if scheduler is None:
        raise UserError(f"{folder} has no scheduler_config.json: the noise schedule must be known; add the file of its pipeline")
    design = read_design(read_json(_network_folder(folder) / "config.json"), read_json(scheduler))
    return design.with_weights(_read_weights(_network_folder(folder)))


class Design(NamedTuple):
    """All of a prior but its weights."""

    network: UNet2DModel
    schedule: NoiseSchedule
    prediction_type: str

    def with_weights(self, state: Mapping[str, np.ndarray]) -> Prior:
        """The prior with the weights of a state dict; raises UserError where they do not fit."""
        return Prior.from_network(self.network, from_state_dict(self.network, state), self.schedule, self.prediction_type)


def read_design(config: Mapping[str, Any], scheduler: Mapping[str, Any]) -> Design:
    """Reads diffusers' two configs; raises UserError for what is not supported."""
    network = UNet2DModel(UNet2DConfig.from_diffusers(config))
    prediction_type = check_prediction_type(scheduler.get("prediction_type", "epsilon"))
    return Design(network, schedule_from_diffusers(scheduler), prediction_type)


def write_diffusers(prior: Prior, folder: str | Path, dtype: Any = np.float32) -> None:
    """Writes a prior as a diffusers pipeline (``DDPMPipeline.from_pretrained`` reads it); the folder must not hold one yet.

    Raises:
        UserError: for a prior without a `UNet2DModel`, a folder in use, or weights beyond the range of `dtype`.
    """
    folder = Path(folder)
    if is_diffusers(folder):
        raise UserError(f"{folder} holds a prior already; choose another folder")
    config, scheduler = describe(prior)
    with np.errstate(over="ignore"):
        state = to_state_dict(prior.params, dtype)
    if beyond := [name for name, tensor in state.items() if np.isinf(tensor).any()]:
        raise UserError(f"{beyond[0]} has values beyond the range of {np.dtype(dtype)}")
    files = {
        "model_index.json": {
            "_class_name": "DDPMPipeline",
            "unet": ["diffusers", "UNet2DModel"],
            "scheduler": ["diffusers", "DDPMScheduler"],
        },
        "unet/config.json": config,
        "scheduler/scheduler_config.json": scheduler,
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    safetensors.numpy.save_file(state, folder / "unet" / WEIGHTS, metadata={"format": "pt"})


def describe(prior: Prior) -> tuple[dict[str, Any], dict[str, Any]]:
    """diffusers' two configs of a prior: network and scheduler; the schedule is stated as its betas."""
    if not isinstance(prior, Prior) or not isinstance(prior.function, NetworkOutput):
        raise UserError("this prior is a function of its own, not a UNet2DModel: it cannot be written as a checkpoint")
    alpha_bar = 1 / (1 + np.exp(2 * np.asarray(prior.schedule.log_sigma, np.float64)))
    betas = 1 - alpha_bar / np.concatenate([[1.0], alpha_bar[:-1]])
    scheduler = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": len(betas),
        "prediction_type": prior.prediction_type,
        "clip_sample": False,
        "trained_betas": betas.tolist(),
    }
    start, end = (float(f"{beta:.3g}") for beta in (betas[0], betas[-1]))
    if end < 1 and _same(NoiseSchedule.from_betas(np.linspace(start, end, len(betas))), prior.schedule):
        del scheduler["trained_betas"]
        scheduler |= {"beta_schedule": "linear", "beta_start": start, "beta_end": end}
    return prior.function.network.config.to_diffusers(), scheduler


def _same(one: NoiseSchedule, other: NoiseSchedule) -> bool:
    """Whether two schedules are equal to rounding."""
    return bool(np.allclose(one.log_sigma, other.log_sigma, rtol=1e-6, atol=1e-6) and one.last == other.last)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of bounded size and nesting."""
    try:
        if path.stat().st_size > _MAX_JSON:
            raise UserError(f"{path} is larger than {_MAX_JSON} bytes: this is no config")
        content = json.loads(path.read_text(encoding="utf-8"))
    except UserError:
        raise
    except (OSError, RecursionError, ValueError) as error:  # ValueError: not UTF-8, not JSON, or a number of too many digits
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object")
    level: list[Any] = [content]
    for _ in range(_MAX_NESTING):
        values = (node.values() if isinstance(node, dict) else node for node in level)
        level = [value for group in values for value in group if isinstance(value, (dict, list))]
    if level:
        raise UserError(f"{path} is nested deeper than {_MAX_NESTING} levels: this is no config")
    return content


def _network_folder(folder: Path) -> Path:
    return folder / "unet" if (folder / "unet").is_dir() else folder


def _read_weights(folder: Path) -> dict[str, np.ndarray]:
    weights = WEIGHTS if has_weights(folder) else PICKLED_WEIGHTS
    if not has_weights(folder, weights):
        raise UserError(f"{folder} has neither {WEIGHTS} nor {PICKLED_WEIGHTS}")
    index, names = folder / f"{weights}.index.json", {weights}
    if not (folder / weights).is_file():
        listed = read_json(index).get("weight_map")
        names = set(listed.values()) if isinstance(listed, dict) and all(isinstance(n, str) for n in listed.values()) else set()
    state: dict[str, np.ndarray] = {}
    for name in sorted(names):
        if Path(name).name != name or Path(name).suffix != Path(weights).suffix or not (folder / name).is_file():
            raise UserError(f"{folder} has no part {brief(name)}, which {index.name} names")
        state |= read_tensors(folder / name)
    return state
