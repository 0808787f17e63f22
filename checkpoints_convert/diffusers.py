"""Diffusers folders: ``config.json`` and safetensors, flat or as a pipeline with ``unet/`` and ``scheduler/``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from checkpoints_convert.state_dict import from_state_dict, to_state_dict
from code_jax.diffusion.parameterization import check_prediction_type
from code_jax.diffusion.schedule import schedule_from_diffusers
from code_jax.errors import UserError
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel
from code_jax.priors.prior import NetworkOutput, Prior

WEIGHTS = "diffusion_pytorch_model.safetensors"
_MAX_JSON = 1 << 22


def is_diffusers(folder: Path) -> bool:
    """Whether a folder has diffusers' layout, flat or pipeline."""
    return (folder / "unet" / "config.json").is_file() or (folder / "config.json").is_file()


def read_diffusers(folder: str | Path) -> Prior:
    """The prior of a diffusers folder, in float32.

    Raises:
        UserError: names what is missing, unsupported or does not fit; configs are checked before weights are read.
    """
    folder = Path(folder)
    network_folder = folder / "unet" if (folder / "unet").is_dir() else folder
    places = folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json"
    scheduler = next((path for path in places if path.is_file()), None)
    if scheduler is None:
        raise UserError(f"{folder} has no scheduler_config.json: the noise schedule must be known; add the file of its pipeline")
    return assemble(read_json(network_folder / "config.json"), read_json(scheduler), _read_tensors(network_folder))


def assemble(config: Mapping[str, Any], scheduler: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> Prior:
    """A prior of diffusers' two configs and a state dict."""
    network = UNet2DModel(UNet2DConfig.from_diffusers(config))
    schedule = schedule_from_diffusers(scheduler)
    prediction_type = check_prediction_type(scheduler.get("prediction_type", "epsilon"))
    return Prior.from_network(network, from_state_dict(network, state), schedule, prediction_type)


def write_diffusers(prior: Prior, folder: str | Path, dtype: Any = np.float32) -> None:
    """Writes a prior as a diffusers pipeline (``DDPMPipeline.from_pretrained`` reads it); the folder must not hold one yet.

    Raises:
        UserError: for a prior without a `UNet2DModel`, or a folder in use.
    """
    folder = Path(folder)
    if is_diffusers(folder):
        raise UserError(f"{folder} holds a prior already; choose another folder")
    config, scheduler = describe(prior)
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
    safetensors.numpy.save_file(to_state_dict(prior.params, dtype), folder / "unet" / WEIGHTS, metadata={"format": "pt"})


def describe(prior: Prior) -> tuple[dict[str, Any], dict[str, Any]]:
    """diffusers' two configs of a prior: network and scheduler; the schedule is stated as its betas."""
    if not isinstance(prior.function, NetworkOutput):
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
    linear = np.linspace(betas[0], betas[-1], len(betas))
    if np.allclose(betas, linear, rtol=1e-3, atol=1e-6):
        del scheduler["trained_betas"]
        start, end = (float(f"{beta:.3g}") for beta in (betas[0], betas[-1]))
        scheduler |= {"beta_schedule": "linear", "beta_start": start, "beta_end": end}
    return prior.function.network.config.to_diffusers(), scheduler


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of bounded size and nesting."""
    try:
        if path.stat().st_size > _MAX_JSON:
            raise UserError(f"{path} is larger than {_MAX_JSON} bytes: this is no config")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, json.JSONDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object")
    return content


def _read_tensors(folder: Path) -> dict[str, np.ndarray]:
    index = folder / f"{WEIGHTS}.index.json"
    files = sorted(set(read_json(index).get("weight_map", {}).values())) if index.is_file() else [WEIGHTS]
    state: dict[str, np.ndarray] = {}
    for name in files:
        path = folder / name
        if path.parent != folder or not path.is_file():
            raise UserError(f"{folder} has no {name}; weights in other formats must be saved as safetensors first")
        try:
            with safetensors.safe_open(path, framework="flax") as file:  # flax, since NumPy knows no bfloat16
                state |= {key: np.asarray(jnp.asarray(file.get_tensor(key), jnp.float32)) for key in file.keys()}  # noqa: SIM118
        except (safetensors.SafetensorError, OSError) as error:
            raise UserError(f"{path} is not a whole safetensors file: {error}") from error
    return state
