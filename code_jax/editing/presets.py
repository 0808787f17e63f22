"""Settings by name, and from values by option."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from code_jax.editing import methods
from code_jax.editing.settings import DEFAULT_SIGMA, DEFAULT_STEP, EditConfig, EditProgram
from code_jax.errors import UserError, choose

_SAME = (("sigma", "depth"), ("relative_step", "step_size"))  # what states the same


class Preset(NamedTuple):
    """A noise level σ, a dimensionless Langevin step h/(1 − ᾱ), a number of steps, and the clipping's η."""

    sigma: float
    relative_step: float
    langevin_steps: int
    eta: float


# The published advice: shallow latents for local damage, deep ones for global damage. The numbers are those of
# `tests/benchmarks/presets.py`, and of `tests/benchmarks/filling.py` for what a mask covers, on pictures of a prior's training.
PRESETS = {
    "default": Preset(DEFAULT_SIGMA, DEFAULT_STEP, 3, 1.0),
    "local": Preset(0.52, 0.02, 3, 1.0),
    "global": Preset(1.24, 0.02, 4, 1.5),
    "fill": Preset(3.4, 0.2, 4, 1.5),
}


def usual(*, masked: bool) -> str:
    """The preset of those who say nothing, with a mask and without."""
    return "fill" if masked else "default"


def preset(name: str = "default", method: str = "code") -> EditConfig:
    """The settings of a name in `PRESETS`; stated in σ, they fit any prior of images in [−1, 1].

    Args:
        name: "default", "local" (blur, speckle), "global" (fog, contrast, colour casts) or "fill" (what a mask covers).
        method: whose settings are an `EditConfig`: "code", "ddim" or "sdedit", or one's own.

    Returns:
        An `EditConfig`.

    Raises:
        UserError: for an unknown name or method, or a method with settings of another kind.

    Example:
        >>> import code_jax
        >>> config = code_jax.preset("local")
        >>> config.sigma, config.program.langevin_steps
        (0.52, 3)
    """
    if not isinstance(method, str):
        raise UserError("preset takes a name and a method; levels are stated in sigma and need no schedule: preset('local')")
    found = methods.find(method)
    if "preset" not in found.options:
        raise UserError(f"the method {method} has settings of its own; there is no preset of them")
    settings: EditConfig = found.configure({"preset": name})
    return settings


def configured(method: str, values: Mapping[str, Any], **defaults: Any) -> EditConfig:
    """The `EditConfig` of values by option: a preset's, with the method's own defaults, and the values over both.

    Raises:
        UserError: for a preset that there is none of, or a level or step that is stated twice.
    """
    for one, other in _SAME:
        if one in values and other in values:
            raise UserError(f"{one} and {other} are both given; they state the same, so give one of them")
    chosen = choose("preset", values.get("preset", "default"), PRESETS)
    same = {other for pair in _SAME for one, other in (pair, pair[::-1]) if one in values}
    merged = {name: value for name, value in defaults.items() if name not in same}
    merged |= {name: value for name, value in values.items() if name != "preset"}
    if merged.get("dynamic_threshold") == math.inf:
        merged["dynamic_threshold"] = None
    static = {field.name for field in dataclasses.fields(EditProgram)}
    program = EditProgram(method, langevin_steps=chosen.langevin_steps)
    program = dataclasses.replace(program, **{name: value for name, value in merged.items() if name in static})
    config = EditConfig(sigma=chosen.sigma, relative_step=chosen.relative_step, eta=chosen.eta, program=program)
    return config.replace(**{name: _number(value) for name, value in merged.items() if name not in static})


def _number(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
