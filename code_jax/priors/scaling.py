"""How a network is scaled, read from the config of the scheduler or of the wrapper that it was trained in, and written."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.scaling import FlowMatching, LinearSDE, Preconditioned, Scaling, VarianceExploding, VariancePreserving
from code_jax.diffusion.schedule import cosine_schedule
from code_jax.errors import UserError, brief
from code_jax.models.options import number, whole
from code_jax.priors.scheduler import read_scheduler, write_scheduler

Options = Mapping[str, Any]
_MAX_SIGMA = 1e6


def read_scaling(config: Options) -> Scaling:
    """The scaling that a config's ``_class_name`` stands for; any other is a variance-preserving diffusion in discrete time.

    Raises:
        UserError: names an option that is not supported.
    """
    kind, read_as = str(config.get("_class_name")), config.get("_read_as")
    if kind in _READERS and read_as not in (None, kind):
        raise UserError(f"the scheduler's config is {kind}'s, and its pipeline has {brief(read_as)}: files of two models")
    scaling = _READERS.get(kind, _variance_preserving)(config)
    return jax.tree.map(lambda number: jnp.asarray(number, float), scaling)


def write_scaling(scaling: Scaling) -> dict[str, Any]:
    """The config that `read_scaling` reads as this scaling.

    Raises:
        UserError: for a scaling that no config stands for.
    """
    if isinstance(scaling, VariancePreserving):
        return write_scheduler(scaling.schedule, scaling.prediction_type)
    write = _WRITERS.get(type(scaling))
    # The fewest digits that read back as the same float32.
    config = None if write is None else write(jax.tree.map(lambda number: float(str(np.float32(number))), scaling))
    if config is None or not _same(read_scaling(config), scaling):
        raise UserError(f"this prior's scaling ({type(scaling).__name__}) is one that no checkpoint states")
    return config


def _same(one: Scaling, other: Scaling) -> bool:
    """Whether two scalings are equal to rounding."""
    (ours, kind), (theirs, other_kind) = jax.tree.flatten(one), jax.tree.flatten(other)
    return str(kind) == str(other_kind) and all(map(functools.partial(np.isclose, rtol=1e-5, atol=0), ours, theirs))


def _number(config: Options, name: str, default: float, low: float, high: float) -> float:
    value = config.get(name, default)
    number(name, value, low, high)
    return float(value)


def _sigmas(config: Options, least: float, most: float) -> tuple[float, float]:
    """A wrapper may state 0 and ∞: then the range that its samplers use."""
    low, high = config.get("sigma_min", least), config.get("sigma_max", most)
    number("sigma_min", low, 0, _MAX_SIGMA)
    number("sigma_max", high, 0, float("inf"))
    bounds = max(float(low), least), min(float(high), most)
    if bounds[0] >= bounds[1]:
        raise UserError(f"sigma_min {low} and sigma_max {high} leave no noise levels between {least:g} and {most:g}")
    return bounds


def _only(config: Options, allowed: Mapping[str, tuple[Any, ...]]) -> None:
    for name, values in allowed.items():
        if name in config and config[name] not in values:
            raise UserError(f"{name} {brief(config[name])} is not supported (only {values[0]!r} is)")


def _variance_preserving(config: Options) -> Scaling:
    return VariancePreserving(*read_scheduler(config))


def _iddpm(config: Options) -> Scaling:
    """iDDPM's table of noise levels is that of the cosine schedule, from the other end."""
    _only(config, {"C_1": (0.001,), "C_2": (0.008,)})
    steps = config.get("M", 1000)
    whole("M", steps, 100_000, 2)
    return VariancePreserving(cosine_schedule(steps))


def _linear_sde(config: Options, sub: bool) -> Scaling:
    steps = config.get("num_train_timesteps", 1000)
    whole("num_train_timesteps", steps, 100_000, 2)
    return LinearSDE(
        _number(config, "beta_min", 0.1, 0, 1e3),
        _number(config, "beta_max", 20.0, 1e-3, 1e3),
        _number(config, "sampling_eps", 1e-3, 1e-8, 0.5),
        float(steps),
        sub,
    )


def _vp_wrapper(config: Options) -> Scaling:
    steps, least = config.get("M", 1000), _number(config, "beta_min", 0.1, 0, 1e3)
    whole("M", steps, 100_000, 2)
    slope = _number(config, "beta_d", 19.9, 1e-3, 1e3)
    return LinearSDE(least, least + slope, _number(config, "epsilon_t", 1e-5, 1e-8, 0.5), float(steps))


def _unit_variance_exploding(config: Options) -> Scaling:
    """Images in [0, 1] throughout: every σ doubles."""
    low, high = _number(config, "sigma_min", 0.01, 1e-6, _MAX_SIGMA), _number(config, "sigma_max", 1348.0, 1e-6, _MAX_SIGMA)
    return VarianceExploding(2 * low, 2 * high, unit_noise=True, unit_input=True)


def _flow_matching(config: Options) -> Scaling:
    _only(config, {"use_dynamic_shifting": (False, None), "invert_sigmas": (False, None), "stochastic_sampling": (False, None)})
    steps = config.get("num_train_timesteps", 1000)
    whole("num_train_timesteps", steps, 100_000, 2)
    return FlowMatching(shift=_number(config, "shift", 1.0, 1e-3, 1e3), num_timesteps=float(steps))


def _edm_scheduler(config: Options) -> Scaling:
    """diffusers' samplers of EDM's networks."""
    _only(config, {"prediction_type": ("epsilon",)})
    return _preconditioned(config)


def _preconditioned(config: Options) -> Scaling:
    return Preconditioned(*_sigmas(config, 0.002, 80.0), _number(config, "sigma_data", 0.5, 1e-3, 1e3))


def _write_sde(scaling: LinearSDE) -> dict[str, Any]:
    return {
        "_class_name": "ScoreSdeSubVpScheduler" if scaling.sub else "ScoreSdeVpScheduler",
        "beta_min": scaling.beta_min,
        "beta_max": scaling.beta_max,
        "sampling_eps": scaling.t_min,
        "num_train_timesteps": int(scaling.num_timesteps),
    }


def _write_exploding(scaling: VarianceExploding) -> dict[str, Any]:
    unit = 2 if scaling.unit_input else 1
    name = "ScoreSdeVeScheduler" if scaling.unit_input else "VEPrecond"
    return {"_class_name": name, "sigma_min": scaling.sigma_min / unit, "sigma_max": scaling.sigma_max / unit}


def _write_preconditioned(scaling: Preconditioned) -> dict[str, Any]:
    names = ("sigma_min", "sigma_max", "sigma_data")
    return {"_class_name": "EDMPrecond"} | {name: getattr(scaling, name) for name in names}


def _write_flow(scaling: FlowMatching) -> dict[str, Any]:
    steps = int(scaling.num_timesteps)
    return {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": scaling.shift, "num_train_timesteps": steps}


_WRITERS: dict[type, Callable[[Any], dict[str, Any]]] = {
    LinearSDE: _write_sde,
    VarianceExploding: _write_exploding,
    Preconditioned: _write_preconditioned,
    FlowMatching: _write_flow,
}
_READERS: dict[str, Callable[[Options], Scaling]] = {
    "ScoreSdeVeScheduler": _unit_variance_exploding,
    "ScoreSdeVpScheduler": lambda config: _linear_sde(config, sub=False),
    "ScoreSdeSubVpScheduler": lambda config: _linear_sde(config, sub=True),
    "VPPrecond": _vp_wrapper,
    "VEPrecond": lambda config: VarianceExploding(*_sigmas(config, 0.02, 100.0)),
    "iDDPMPrecond": _iddpm,
    "EDMPrecond": _preconditioned,
    "Precond": _preconditioned,
    "EDMEulerScheduler": _edm_scheduler,
    "EDMDPMSolverMultistepScheduler": _edm_scheduler,
    "FlowMatchEulerDiscreteScheduler": _flow_matching,
    "FlowMatchHeunDiscreteScheduler": _flow_matching,
}
