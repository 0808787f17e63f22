"""diffusers' ``scheduler_config.json``: the noise schedule and what the network predicts, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from code_jax.diffusion.parameterization import check_prediction_type
from code_jax.diffusion.schedule import NoiseSchedule, cosine_schedule, linear_schedule, scaled_linear_schedule
from code_jax.documents import is_whole
from code_jax.errors import UserError, brief

_MAX_TIMESTEPS = 100_000
# Samplers of a variance-preserving diffusion in discrete time: whichever it is, its betas are those of the training.
_VARIANCE_PRESERVING = (
    "DDPMScheduler", "DDPMParallelScheduler", "DDIMScheduler", "DDIMParallelScheduler", "DDIMInverseScheduler", "PNDMScheduler",
    "RePaintScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler", "DPMSolverMultistepInverseScheduler",
    "DPMSolverSinglestepScheduler", "DPMSolverSDEScheduler", "UniPCMultistepScheduler", "SASolverScheduler",
    "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler", "LMSDiscreteScheduler",
)  # fmt: skip
# diffusers' defaults where a config leaves its betas out: 1e-4 and 0.02, but for these.
_OTHER_BETAS = 8.5e-4, 0.012
_OTHER_DEFAULTS = (
    "HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DPMSolverSDEScheduler",
)  # fmt: skip
# Why others are none, by what their names hold.
_OTHERS = {
    "Flow": "flow matching",
    "CMStochasticIterative": "a consistency model",
    "LCM": "a consistency model",
    "TCD": "a consistency model",
    "EDM": "EDM's parameterization",
    "Cosine": "EDM's parameterization",
    "Karras": "a variance-exploding diffusion",
    "Ve": "a variance-exploding diffusion",
    "Vp": "a diffusion in continuous time",
    "VQ": "a discrete diffusion",
}
# Options that change the schedule or what the network predicts, and the values under which they do not.
_ONLY = {
    "rescale_betas_zero_snr": (False, None),
    "use_flow_sigmas": (False, None),
    "timestep_type": ("discrete", None),
    "variance_type": ("fixed_small", "fixed_large", "fixed_small_log", "fixed_large_log", "learned", "learned_range", None),
}


def read_scheduler(config: Mapping[str, Any]) -> tuple[NoiseSchedule, str]:
    """The noise schedule and the prediction type of a scheduler's config.

    Raises:
        UserError: names a scheduler, a schedule or an option that is not supported.
    """
    _check_class(config)
    return schedule_from_diffusers(config), _prediction_type(config)


def schedule_from_diffusers(config: Mapping[str, Any]) -> NoiseSchedule:
    """The noise schedule of a scheduler's config, whatever its class.

    Raises:
        UserError: names a schedule or an option that is not supported.
    """
    for name, allowed in _ONLY.items():
        if name in config and config[name] not in allowed:
            raise UserError(f"the scheduler's {name} = {brief(config[name])} is not supported")
    if config.get("trained_betas") is not None:
        return NoiseSchedule.from_betas(config["trained_betas"])
    kind = config.get("beta_schedule", "linear")
    steps = config.get("num_train_timesteps", config.get("timesteps", 1000))  # the name of diffusers 0.1
    if not is_whole(steps, 2, _MAX_TIMESTEPS):
        raise UserError(f"num_train_timesteps is {brief(steps)}; it must be a whole number from 2 to {_MAX_TIMESTEPS}")
    if kind == "squaredcos_cap_v2":
        return cosine_schedule(steps)
    if kind not in ("linear", "scaled_linear"):
        raise UserError(f"beta_schedule {brief(kind)} is not supported; choose linear, scaled_linear or squaredcos_cap_v2")
    usual = _OTHER_BETAS if config.get("_class_name") in _OTHER_DEFAULTS else (1e-4, 0.02)
    start, end = config.get("beta_start", usual[0]), config.get("beta_end", usual[1])
    for name, beta in (("beta_start", start), ("beta_end", end)):
        if isinstance(beta, bool) or not isinstance(beta, (int, float)) or not 0 < beta < 1:
            raise UserError(f"{name} is {brief(beta)}; it must lie in (0, 1)")
    return (linear_schedule if kind == "linear" else scaled_linear_schedule)(steps, start, end)


def write_scheduler(schedule: NoiseSchedule, prediction_type: str) -> dict[str, Any]:
    """The config that `read_scheduler` reads as this schedule: linear betas by their ends, others one by one."""
    alpha_bar = 1 / (1 + np.exp(2 * np.asarray(schedule.log_sigma, np.float64)))
    betas = 1 - alpha_bar / np.concatenate([[1.0], alpha_bar[:-1]])
    config = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": len(betas),
        "prediction_type": prediction_type,
        "clip_sample": False,
    }
    start, end = (float(f"{beta:.3g}") for beta in (betas[0], betas[-1]))
    if end < 1 and _same(NoiseSchedule.from_betas(np.linspace(start, end, len(betas))), schedule):
        return config | {"beta_schedule": "linear", "beta_start": start, "beta_end": end}
    return config | {"trained_betas": betas.tolist()}


def _check_class(config: Mapping[str, Any]) -> None:
    """Refuses a class of another diffusion: the one that wrote the config, and the one that its pipeline reads it as."""
    if config.get("_class_name") is None and "beta_schedule" not in config and "trained_betas" not in config:
        raise UserError('the scheduler\'s config has neither a _class_name nor betas: state {"_class_name": "DDPMScheduler", …}')
    for name in (config[key] for key in ("_class_name", "_read_as") if config.get(key) is not None):
        if name not in _VARIANCE_PRESERVING:
            kind = next((kind for part, kind in _OTHERS.items() if isinstance(name, str) and part in name), "unknown here")
            raise UserError(
                f"the scheduler {brief(name)} is not supported ({kind}): those of DDPM, score_sde (Ve, Vp, SubVp), EDM and flow "
                "matching are, such as DDPMScheduler"
            )


def _prediction_type(config: Mapping[str, Any]) -> str:
    """What the network predicts; ``predict_epsilon`` said it before diffusers 0.8."""
    stated = config.get("prediction_type")
    if config.get("predict_epsilon") is None:
        return check_prediction_type("epsilon" if stated is None else stated)
    older = config["predict_epsilon"]
    kind = "epsilon" if older else "sample"
    if not isinstance(older, bool) or stated not in (None, kind):
        raise UserError(f"predict_epsilon is {brief(older)} and prediction_type {brief(stated)}: remove the one that is wrong")
    return kind


def _same(one: NoiseSchedule, other: NoiseSchedule) -> bool:
    """Whether two schedules are equal to rounding."""
    return bool(np.allclose(one.log_sigma, other.log_sigma, rtol=1e-6, atol=1e-6) and one.last == other.last)
