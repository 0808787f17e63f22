"""Settings of the published program, as records, as values by option, and as the command line states them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.levels import timesteps_of
from code_jax.editing.methods import Method, find
from code_jax.editing.methods.quirks import PUBLISHED, QUIRKS
from code_jax.editing.options import OPTIONS
from code_jax.editing.settings import shortest
from code_jax.errors import UserError, choose


class OfficialSettings(flax.struct.PyTreeNode):
    """Settings of `official`; the defaults are the published notebook's.

    Attributes:
        num_steps: N, steps of the ODE, at timesteps i·T/N for i = 0..N − 1.
        latent: the deepest corrected latent, counted from 1 to N (see ``latent_off_by_one``).
        further: indices of the other corrected latents, decreasing (see ``shallow_alone``); as published, evenly spaced.
        langevin_steps: at each corrected latent, shared evenly among the levels (the rest is dropped); 0 is the DDIM row, which
            goes through all N latents.
        anneal_levels: step sizes h·γ^j.
        anneal_rate: γ in (0, 1].
        step_size: h > 0 (see ``step_size_law``).
        eta: η of confidence-based clipping, published with 1.7; None is off.
        input_noise: noise given to the input, in units of σ_0, 0.01 on DDPM's schedule (see ``noise_twice``).
        dynamic_threshold: (quantile, s_max) of `DynamicThreshold`, or None.
        quirks: names in `QUIRKS`, by default in `PUBLISHED`.
    """

    num_steps: int = flax.struct.field(pytree_node=False, default=200)
    latent: int = flax.struct.field(pytree_node=False, default=200)
    further: tuple[int, ...] = flax.struct.field(pytree_node=False, default=(20,))
    langevin_steps: int = flax.struct.field(pytree_node=False, default=250)
    anneal_levels: int = flax.struct.field(pytree_node=False, default=4)
    anneal_rate: Any = 0.8
    step_size: Any = 1.15e-5
    eta: Any = None
    input_noise: Any = 1.0
    dynamic_threshold: tuple[Any, Any] | None = (0.98, 1.3)
    quirks: frozenset[str] = flax.struct.field(pytree_node=False, default=PUBLISHED)

    def __post_init__(self) -> None:
        for name in ("num_steps", "langevin_steps", "anneal_levels"):
            OPTIONS[name].check(getattr(self, name))
        for name in ("step_size", "eta", "anneal_rate", "input_noise", "dynamic_threshold"):
            value = getattr(self, name)  # a transformation puts arrays, and other things, in a number's place
            if all(isinstance(each, (int, float)) for each in (value if isinstance(value, tuple) else (value,))):
                OPTIONS[name].check(value)
        if self.num_steps < 3:
            raise UserError(f"num_steps is {self.num_steps}; it must be at least 3")
        if not (self.latent <= self.num_steps and self.deepest >= 1):
            raise UserError(f"latent is {self.latent}; it must be from 3 to {self.num_steps} steps")
        if 0 < self.langevin_steps < self.anneal_levels:
            raise UserError(f"langevin_steps is {self.langevin_steps}; it must be 0, or at least the {self.anneal_levels} levels")
        if any(a <= b for a, b in itertools.pairwise((self.deepest, *self.further))) or min(self.further, default=0) < 0:
            raise UserError(f"corrected steps {[self.deepest, *self.further]} must decrease, to 0 at least")
        for name in sorted(self.quirks - QUIRKS.keys()):
            choose("quirk", name, QUIRKS)

    @property
    def method(self) -> Method:
        """The published program."""
        return find("official")

    @property
    def deepest(self) -> int:
        """Index of the deepest corrected step."""
        return self.latent - 1 - self.has("latent_off_by_one")

    @property
    def corrected(self) -> tuple[int, ...]:
        """Indices of the corrected steps, decreasing."""
        if not self.langevin_steps:
            return ()
        near = self.further and self.deepest <= min(self.further) + len(self.further)
        return (self.deepest,) if near and self.has("shallow_alone") else (self.deepest, *self.further)

    def has(self, quirk: str) -> bool:
        """Whether a quirk of `QUIRKS` is on."""
        return quirk in self.quirks

    def without(self, *names: str) -> OfficialSettings:
        """The same with these quirks switched off."""
        for name in names:
            choose("quirk", name, QUIRKS)
        return self.replace(quirks=self.quirks - set(names))

    def including(self, *names: str) -> OfficialSettings:
        """The same with these quirks switched on."""
        return self.replace(quirks=self.quirks | set(names))


def canonical(settings: OfficialSettings, denoiser: Denoiser) -> OfficialSettings:
    """The settings with arrays for numbers; raises UserError for a prior that they do not fit."""
    schedule = timesteps_of(denoiser, "the published program", "another method")
    if settings.num_steps > schedule.num_timesteps:
        raise UserError(f"num_steps is {settings.num_steps}; the prior has {schedule.num_timesteps} timesteps")
    return jax.tree.map(lambda number: jnp.asarray(number, float), settings)


def configure(values: Mapping[str, Any]) -> OfficialSettings:
    """Settings of values by option. Depth D is latent D·N, counted from 1; further depths are steps of index D·N."""
    given = {name: values[name] for name in ("langevin_steps", "anneal_levels", "anneal_rate", "input_noise") if name in values}
    steps = given["num_steps"] = values.get("num_steps", 200)
    depths = np.atleast_1d(values.get("depth", [1.0, 0.1]))
    given |= {"latent": round(float(depths[0]) * steps), "further": tuple(round(float(depth) * steps) for depth in depths[1:])}
    if "step_size" in values:
        if np.size(values["step_size"]) > 1:
            raise UserError("the published program takes one step_size, and has a law for the rest")
        given["step_size"] = float(np.ravel(values["step_size"])[0])
    if "eta" in values:
        given["eta"] = None if values["eta"] == math.inf else values["eta"]
    if "dynamic_threshold" in values:
        threshold = values["dynamic_threshold"]
        given["dynamic_threshold"] = None if threshold is None or threshold == math.inf else tuple(threshold)
    off = values.get("without_quirks", ())
    settings = OfficialSettings(**given).without(*(QUIRKS if list(off) == ["all"] else off))
    return settings.including(*values.get("with_quirks", ()))


def describe(settings: OfficialSettings) -> dict[str, Any]:
    """Values by option that `configure` gives the settings from."""
    same = ("num_steps", "langevin_steps", "anneal_levels")
    values: dict[str, Any] = {name: getattr(settings, name) for name in same}
    for name in ("step_size", "anneal_rate", "input_noise", "eta", "dynamic_threshold"):
        value = getattr(settings, name)
        values[name] = math.inf if value is None else shortest(value)
    depths = [index / settings.num_steps for index in (settings.latent, *settings.further)]
    switched = {"without_quirks": sorted(PUBLISHED - settings.quirks), "with_quirks": sorted(settings.quirks - PUBLISHED)}
    return values | {"depth": depths} | {name: names or None for name, names in switched.items()}
