"""Arguments of ``code-jax restore --method official``, and what its results say of them."""

from __future__ import annotations

import argparse
import math
from typing import Any

from code_jax.errors import UserError

_FOREIGN = ("relative_step", "solver", "grid", "langevin", "mask")


def configure(args: argparse.Namespace) -> Any:
    """The `OfficialSettings` of the arguments: depth D is latent D·N, counted from 1; further depths are steps of index D·N.

    Raises:
        UserError: for an option that the published program knows nothing of, or a value out of its range.
    """
    from code_jax.editing.official import OfficialSettings

    given = [name for name in _FOREIGN if getattr(args, name) is not None] + ["preset"] * (args.preset != "default")
    if given:
        raise UserError(f"--{given[0].replace('_', '-')} is nothing to --method official; leave it out, or choose another method")
    steps = args.ode_steps if args.ode_steps is not None else OfficialSettings.num_steps
    depths = args.depth or [1.0, 0.1]
    if not all(0 < depth <= 1 for depth in depths):
        raise UserError(f"depth is {args.depth}; it must be in (0, 1]")
    if args.step_size is not None and len(args.step_size) > 1:
        raise UserError(f"--step-size has {len(args.step_size)} values; --method official takes one, and has a law for the rest")
    if args.dynamic_threshold is not None and len(args.dynamic_threshold) != 2:
        raise UserError("--dynamic-threshold takes two numbers: QUANTILE,S_MAX, such as 0.98,1.3")
    values = {
        "num_steps": steps,
        "latent": round(depths[0] * steps),
        "further": tuple(round(depth * steps) for depth in depths[1:]),
        "step_size": args.step_size[0] if args.step_size else None,
        "dynamic_threshold": tuple(args.dynamic_threshold) if args.dynamic_threshold else None,
        "eta": None if args.eta is None or math.isinf(args.eta) else args.eta,
    }
    values |= {name: getattr(args, name) for name in ("langevin_steps", "anneal_levels", "anneal_rate", "input_noise")}
    return OfficialSettings(**{name: value for name, value in values.items() if value is not None})


def describe(settings: Any) -> dict[str, Any]:
    """The settings as JSON, under the names of the options that give them again."""
    depths = [settings.latent / settings.num_steps, *(index / settings.num_steps for index in settings.further)]
    return {
        "method": "official",
        "depth": depths,
        "step_size": settings.step_size,
        "eta": "none" if settings.eta is None else settings.eta,
        "anneal_rate": settings.anneal_rate,
        "input_noise": settings.input_noise,
        "dynamic_threshold": list(settings.dynamic_threshold),
        "num_steps": settings.num_steps,
        "langevin_steps": settings.langevin_steps,
        "anneal_levels": settings.anneal_levels,
    }
