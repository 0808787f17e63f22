"""Settings of an edit: what is traced, what is static; into plain data and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.guidance import check_guidance
from code_jax.diffusion.langevin import STEP_LIMITS, consequence
from code_jax.diffusion.levels import sigma_of_depth, timesteps_of
from code_jax.editing import methods
from code_jax.editing.options import OPTIONS
from code_jax.editing.words import said
from code_jax.errors import UserError, brief

SCHEMA = 2  # of what is written of settings
DEFAULT_SIGMA, DEFAULT_STEP = 0.72, 0.02
Number = Any  # a float, or an array where it is swept
_INSTEAD = {"sigma": "depth", "depth": "sigma", "relative_step": "step_size", "step_size": "relative_step"}


class Settings(Protocol):
    """The settings of any method: a pytree whose leaves are numbers, and which method they are of."""

    @property
    def dynamic_threshold(self) -> tuple[Number, Number] | None:
        """(quantile, s_max) of `DynamicThreshold`, or None."""

    @property
    def method(self) -> methods.Method:
        """Which."""

    def replace(self, **changes: Any) -> Any:
        """The same with some changed."""


def _changed(config: Any) -> str:
    """The repr of settings: what is not as by default."""
    values = {field.name: (said(getattr(config, field.name)), said(field.default)) for field in dataclasses.fields(config)}
    changed = ", ".join(f"{name}={value}" for name, (value, default) in values.items() if value != default)
    return f"{type(config).__name__}({changed})"


@dataclasses.dataclass(frozen=True)
class EditProgram:
    """What changes the compiled program; hashable. A value out of its range raises `UserError`, which names it.

    Attributes:
        method: a name in `code_jax.editing.methods`: "code", "sdedit", "ddim" (the round trip through the latent), or one's own.
        num_steps: ODE steps of the encoding, and again of the decoding (shared among its legs); SDEdit's ancestral steps.
        solver: a name in `code_jax.diffusion.solvers`: "ddim", "heun", "midpoint", "tsit5", "reversible_heun", "adams_bashforth",
            "dpm++2m".
        grid: "time" (uniform in t), "geometric" (uniform in log σ) or "rho" (uniform in σ^(1/7)).
        langevin_steps: Langevin steps at each corrected level.
        anneal_levels: step sizes h·γ^j, j < anneal_levels, that these steps are shared among in order. Fewer steps than levels
            never reach the last, and the default preset's three steps have the sizes h, γh and γ²h.
        langevin: "variance_preserving", "unadjusted" or "averaged".
        repeats: how often SDEdit adds noise and takes it away.

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
    repeats: int = 1

    __repr__ = _changed

    def __post_init__(self) -> None:
        methods.check_name(self.method)
        for field in dataclasses.fields(self):
            if field.name in OPTIONS:
                OPTIONS[field.name].check(getattr(self, field.name))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EditConfig:
    """Settings of an edit: numbers are traced (change, sweep or `jax.vmap` them freely), `program` is static.

    A level is stated as σ, which means the same on any prior, or as a depth; a step as r = h/(1 − ᾱ), or as h. Where none is
    stated, those of the default preset hold.

    Attributes:
        depth: noise level of the corrected latents as a fraction of the training timesteps, in (0, 1]; [] or [L], decreasing.
        step_size: Langevin step h > 0 at each of them, [] or [L].
        eta: η > 0 of confidence-based clipping; None or infinity is off.
        anneal_rate: γ in (0, 1] of the annealing h·γ^j.
        input_noise: noise given to the input, in units of σ_0 (the level where the ODE starts); ≥ 0.
        dynamic_threshold: (quantile, s_max) of `DynamicThreshold`, or None.
        program: an `EditProgram`.
        sigma: the noise level √((1 − ᾱ)/ᾱ), of images in [−1, 1]; [] or [L], decreasing.
        relative_step: the dimensionless r = h/(1 − ᾱ), [] or [L]; the chain diverges from 2 on, and a variance-preserving step is
            cut at ½.
        guidance: w ≥ 0 of `Guided`, of a prior with classes; None is off, and costs half of it.

    Example:
        >>> config = EditConfig(sigma=1.0, relative_step=0.1, eta=None)
        >>> config.replace(eta=1.7).eta
        1.7
    """

    depth: Number = None
    step_size: Number = None
    eta: Number = 1.0
    anneal_rate: Number = 0.8
    input_noise: Number = 1.0
    dynamic_threshold: tuple[Number, Number] | None = None
    program: EditProgram = dataclasses.field(default=EditProgram(), metadata={"static": True})
    sigma: Number = None
    relative_step: Number = None
    guidance: Number = None

    __repr__ = _changed

    @property
    def method(self) -> methods.Method:
        """That of the program's name."""
        return methods.find(self.program.method)

    def replace(self, **changes: Any) -> EditConfig:
        """The same settings with some changed; a level or step takes the place of the one that was stated otherwise."""
        displaced = {_INSTEAD[name]: None for name, value in changes.items() if name in _INSTEAD and value is not None}
        return dataclasses.replace(self, **displaced | changes)

    def with_program(self, **changes: Any) -> EditConfig:
        """The same settings with some of the `program`'s changed.

        Raises:
            UserError: names the value that is out of its range.

        Example:
            >>> EditConfig().with_program(num_steps=20, solver="midpoint").program.num_steps
            20
        """
        return self.replace(program=dataclasses.replace(self.program, **changes))


def canonical(config: EditConfig, denoiser: Denoiser) -> EditConfig:
    """Every number as a float array; levels as σ [L] and r [L], η = None as infinity. Concrete values are checked.

    This is the door where depths and step sizes become σ and r.

    Raises:
        UserError: names the value that is out of its range, or what is stated twice.
    """
    for name in ("depth", "step_size"):
        if getattr(config, name) is not None and getattr(config, _INSTEAD[name]) is not None:
            raise UserError(f"{_INSTEAD[name]} and {name} are both given; they state the same, so give one of them")
    names = ("depth", "sigma", "step_size", "relative_step", "eta", "anneal_rate", "input_noise", "dynamic_threshold", "guidance")
    for name in names:
        value = getattr(config, name)
        if value is not None and not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value)):
            OPTIONS[name].check(value)
    sigma, step = _levels(config, denoiser)
    guidance = None if config.guidance is None else jnp.asarray(config.guidance, float)
    if guidance is not None:
        check_guidance(denoiser)
    threshold: Any = config.dynamic_threshold and tuple(jnp.asarray(number, float) for number in config.dynamic_threshold)
    eta = jnp.asarray(math.inf if config.eta is None else config.eta, float)
    rate, noise = jnp.asarray(config.anneal_rate, float), jnp.asarray(config.input_noise, float)
    return EditConfig(None, None, eta, rate, noise, threshold, config.program, sigma, step, guidance)


def _levels(config: EditConfig, denoiser: Denoiser) -> tuple[Float[Array, " levels"], Float[Array, " levels"]]:
    """σ and r, [L] each."""
    if config.depth is not None:
        sigma = jnp.atleast_1d(sigma_of_depth(denoiser, jnp.asarray(config.depth, float)))
        _decreasing("depth", config.depth)
    else:
        sigma = jnp.atleast_1d(jnp.asarray(DEFAULT_SIGMA if config.sigma is None else config.sigma, float))
        _decreasing("sigma", sigma)
        _reached(sigma, denoiser)
    if not sigma.size:
        raise UserError(f"{'sigma' if config.depth is None else 'depth'} is []; give one level at least")
    stated = DEFAULT_STEP if config.relative_step is None else config.relative_step
    step = jnp.asarray(stated if config.step_size is None else config.step_size, float)
    if step.ndim and step.shape not in ((1,), sigma.shape):
        raise UserError(f"{step.size} step sizes for {sigma.size} levels; give one, or one for each")
    if config.step_size is not None:
        timesteps_of(denoiser, "step_size", "relative_step")
        step = step * (1 + sigma**-2)  # h/(1 − ᾱ)
    return sigma, jnp.broadcast_to(step, sigma.shape)


def _decreasing(name: str, values: Any) -> None:
    if not isinstance(values, jax.core.Tracer) and np.ndim(values) and np.any(np.diff(np.asarray(values)) >= 0):
        raise UserError(f"{name} {np.asarray(values).tolist()} must decrease: the deepest level is corrected first")


def _reached(sigma: jax.Array, denoiser: Denoiser) -> None:
    """Raises UserError for a level that the ODE does not pass."""
    low, high = denoiser.sigma_range
    if any(isinstance(each, jax.core.Tracer) for each in (sigma, low, high)):
        return
    if not np.all((sigma > low) & (sigma <= high * (1 + 1e-6))):
        raise UserError(
            f"sigma is {np.asarray(sigma).tolist()}; this prior's levels are from {float(low):.3g} to {float(high):.4g}"
        )


def finer(config: EditConfig, denoiser: Denoiser, share: float) -> EditConfig:
    """A canonical config with that share of its noise levels, but above the level where the ODE starts."""
    low = denoiser.sigma_range[0]
    return config.replace(sigma=jnp.maximum(share * config.sigma, jnp.minimum(config.sigma, 2 * low)))


def excess(config: EditConfig) -> str | None:
    """What comes of a canonical config's Langevin step that is beyond its limit, in words; None where none is."""
    limit, steps = STEP_LIMITS[config.program.langevin], np.asarray(config.relative_step)
    if not config.program.langevin_steps or not np.any(steps > limit * (1 + 1e-6)):
        return None
    return f"relative step {steps.max():.3g} is beyond the limit {limit:g}: {consequence(config.program.langevin)}"


def describe(config: EditConfig) -> dict[str, Any]:
    """The values of the options that a config's method takes, None where left out; numbers in as few digits as read back."""
    found = {}
    for name in config.method.options:
        value = getattr(config.program, name, None) if hasattr(config.program, name) else getattr(config, name, None)
        found[name] = value if value is None or OPTIONS[name].kinds or OPTIONS[name].whole else shortest(value)
    return found


def shortest(value: Any) -> Any:
    """The shortest decimals that are read as these floats: 0.4, not the 0.4000000059604645 that float32 holds. One is no list."""
    return np.asarray(value).squeeze().astype(str).astype(float).tolist()


def to_plain(settings: Settings, denoiser: Denoiser | None = None) -> dict[str, Any]:
    """Settings as what JSON can hold, in terms of which everything is written that the program says of them.

    Args:
        settings: of any method.
        denoiser: where it is given, defaults are filled in, and levels are stated as σ and r.

    Returns:
        ``schema``, ``method``, and a value for each of the method's options that is not left out; infinity is "none".
    """
    method = settings.method
    resolved = settings if denoiser is None else method.canonical(settings, denoiser)
    values = {name: "none" if value == math.inf else value for name, value in method.describe(resolved).items()}
    return {"schema": SCHEMA, "method": method.name} | {name: value for name, value in values.items() if value is not None}


def from_plain(plain: Mapping[str, Any]) -> Any:
    """The settings that `to_plain` told of, of this schema or of the first, which had none; what it did not name has its default.

    Raises:
        UserError: for another schema, or a value that cannot be.
    """
    schema = plain.get("schema", 1)
    if schema not in (1, SCHEMA):
        raise UserError(f"these are settings of schema {brief(schema)}; this program reads 1 and {SCHEMA}")
    method = methods.find(plain.get("method", "code"))
    given = {name: plain[name] for name in method.options if plain.get(name) is not None}
    return method.configure({name: math.inf if value == "none" else value for name, value in given.items()})
