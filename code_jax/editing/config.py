"""The settings of an edit: what is traced, what is static, which values are allowed, and the presets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.langevin import KINDS, STEP_LIMITS
from code_jax.diffusion.probability_flow import GRIDS, find_solver
from code_jax.diffusion.schedule import NoiseSchedule
from code_jax.errors import UserError

Number = Any  # a float, or an array where it is swept
METHODS = ("code", "sdedit", "ddim")


@dataclasses.dataclass(frozen=True)
class EditProgram:
    """What changes the compiled program; hashable. A value out of its range raises `UserError`, which names it.

    Attributes:
        method: "code", "sdedit" or "ddim" (the round trip through the latent).
        num_steps: ODE steps of the encoding, and again of the decoding (shared among its legs); SDEdit's ancestral steps.
        solver: "ddim", "heun", "midpoint", "tsit5" or "reversible_heun".
        grid: "time" (uniform in t), "geometric" (uniform in log σ) or "rho" (uniform in σ^(1/7)).
        langevin_steps: Langevin steps at each corrected level.
        anneal_levels: step sizes h·γ^j, j < anneal_levels, that these steps are shared among.
        langevin: "variance_preserving", "unadjusted" or "averaged".

    Example:
        >>> EditProgram(num_steps=20, solver="midpoint", grid="geometric").langevin_steps
        3
    """

    method: str = "code"
    num_steps: int = 10
    solver: str = "ddim"
    grid: str = "time"
    langevin_steps: int = 3
    anneal_levels: int = 4
    langevin: str = "variance_preserving"

    def __post_init__(self) -> None:
        find_solver(self.solver)
        for name, value, kinds in (
            ("method", self.method, METHODS),
            ("grid", self.grid, GRIDS),
            ("langevin", self.langevin, KINDS),
        ):
            if value not in kinds:
                raise UserError(f"{name} {value!r} is unknown; choose from {', '.join(kinds)}")
        for name, least in (("num_steps", 1), ("langevin_steps", 0), ("anneal_levels", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= 100_000:
                raise UserError(f"{name} is {value!r}; it must be a whole number from {least} to 100000")


class EditConfig(flax.struct.PyTreeNode):
    """Settings of an edit: numbers are traced (change, sweep or `jax.vmap` them freely), `program` is static.

    Attributes:
        depth: noise level of the corrected latents as a fraction of the training timesteps, in (0, 1]; [] or [L], decreasing.
        step_size: Langevin step h > 0 at each of them, [] or [L]; `presets` derives it from the dimensionless h/(1 − ᾱ).
        eta: η > 0 of confidence-based clipping; None or infinity is off.
        anneal_rate: γ in (0, 1] of the annealing h·γ^j.
        input_noise: noise given to the input, in units of σ_0 (the level where the ODE starts); ≥ 0.
        dynamic_threshold: (quantile, s_max) of `DynamicThreshold`, or None.
        program: an `EditProgram`.

    Example:
        >>> config = EditConfig(depth=0.3, step_size=0.01, eta=None)
        >>> config.replace(eta=1.7).eta
        1.7
    """

    depth: Number = 0.2
    step_size: Number = 0.07
    eta: Number = 1.0
    anneal_rate: Number = 0.8
    input_noise: Number = 1.0
    dynamic_threshold: tuple[Number, Number] | None = None
    program: EditProgram = flax.struct.field(pytree_node=False, default=EditProgram())

    def with_program(self, **changes: Any) -> EditConfig:
        """The same settings with some of the `program`'s changed.

        Raises:
            UserError: names the value that is out of its range.

        Example:
            >>> EditConfig().with_program(num_steps=20, solver="midpoint").program.num_steps
            20
        """
        return self.replace(program=dataclasses.replace(self.program, **changes))


class Preset(NamedTuple):
    """A depth, a dimensionless Langevin step h/(1 − ᾱ_t), a number of steps, and the clipping's η."""

    depth: float
    relative_step: float
    langevin_steps: int
    eta: float


# The published advice: shallow latents for local damage, deep ones for global damage. Their numbers are those of
# `tests/benchmarks/presets.py` on tiles held out of the bundled prior's training. On DDPM's schedule their bounds 1 + ησ are 2.3
# to 2.9 standard deviations of the noise, as those of η = 2 are (2.3 to 2.5) at depths from 0.4 to 0.5.
PRESETS = {"default": Preset(0.2, 0.2, 3, 1.0), "local": Preset(0.15, 0.2, 3, 1.0), "global": Preset(0.3, 0.2, 4, 1.5)}


def preset(
    name: str, schedule: NoiseSchedule, depth: Number | None = None, relative_step: Number | None = None, method: str = "code"
) -> EditConfig:
    """The settings of a name in `PRESETS` for a prior's schedule: h = (h/(1 − ᾱ_t))·(1 − ᾱ_t) at the depth's t.

    Args:
        name: "default", "local" (blur, speckle, scratches) or "global" (fog, contrast, colour casts).
        schedule: the prior's.
        depth, relative_step: override the preset's depth and h/(1 − ᾱ_t).
        method: "code", "ddim", or "sdedit", whose ancestral steps are 20.

    Returns:
        An `EditConfig`.

    Raises:
        UserError: for an unknown name or method.

    Example:
        >>> import code_jax
        >>> config = code_jax.preset("local", code_jax.linear_schedule())
        >>> config.depth, config.program.langevin_steps
        (0.15, 3)
    """
    if name not in PRESETS:
        raise UserError(f"preset {name!r} is unknown; choose from {', '.join(PRESETS)}")
    chosen = PRESETS[name]
    depth = chosen.depth if depth is None else depth
    relative_step = chosen.relative_step if relative_step is None else relative_step
    step_size = relative_step * schedule.variance(schedule.timestep(depth))
    program = EditProgram(method, langevin_steps=chosen.langevin_steps)
    config = EditConfig(depth=depth, step_size=step_size, eta=chosen.eta, program=program)
    return config.with_program(num_steps=20) if method == "sdedit" else config


def canonical(config: EditConfig) -> EditConfig:
    """Every number as a float32 array (float64 where JAX's x64 mode is on), η = None as infinity; concrete values are checked.

    Raises:
        UserError: names the value that is out of its range.
    """
    config = config.replace(eta=jnp.inf if config.eta is None else config.eta)
    lists = {name: value for name in ("depth", "step_size") if isinstance(value := getattr(config, name), (list, tuple))}
    config = config.replace(**{name: jnp.asarray(value, float) for name, value in lists.items()})
    _in_range("depth", config.depth, lambda v: (v > 0) & (v <= 1), "in (0, 1]")
    _in_range("step_size", config.step_size, lambda v: (v > 0) & np.isfinite(v), "positive")
    _in_range("eta", config.eta, lambda v: v > 0, "positive, or none")
    _in_range("anneal_rate", config.anneal_rate, lambda v: (v > 0) & (v <= 1), "in (0, 1]")
    _in_range("input_noise", config.input_noise, lambda v: (v >= 0) & np.isfinite(v), "zero or positive")
    if config.dynamic_threshold is not None:
        _in_range("dynamic_threshold's quantile", config.dynamic_threshold[0], lambda v: (v > 0) & (v <= 1), "in (0, 1]")
        _in_range("dynamic_threshold's s_max", config.dynamic_threshold[1], lambda v: v >= 1, "at least 1")
    depths = config.depth
    if not isinstance(depths, jax.core.Tracer) and np.ndim(depths) and np.any(np.diff(np.asarray(depths)) >= 0):
        raise UserError(f"depth {np.asarray(depths).tolist()} must decrease: the deepest level is corrected first")
    return jax.tree.map(lambda value: jnp.asarray(value, float), config)


def excessive_step(config: EditConfig, schedule: NoiseSchedule) -> tuple[float, float] | None:
    """(Langevin step size, its limit) of a canonical config at the first level where it is too large; None where none is.

    The limit is `STEP_LIMITS` of its kind, in units of 1 − ᾱ_t.
    """
    variances = schedule.variance(schedule.timestep(jnp.atleast_1d(config.depth)))
    limits = np.asarray(variances * STEP_LIMITS[config.program.langevin])
    steps = np.broadcast_to(np.asarray(config.step_size), limits.shape)
    beyond = steps > limits * (1 + 1e-6)
    if config.program.method != "code" or not beyond.any():
        return None
    worst = int(np.argmax(beyond))
    return float(steps[worst]), float(limits[worst])


def _in_range(name: str, value: Any, holds: Callable[[np.ndarray], Any], wanted: str) -> None:
    if not isinstance(value, jax.core.Tracer) and not np.all(holds(np.asarray(value, float))):
        raise UserError(f"{name} is {np.asarray(value).tolist()}; it must be {wanted}")
