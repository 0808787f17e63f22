"""The published program of CODE, quirk by quirk: what the paper ran, where that departs from the paper's formulae.

Written from a description of the program, none of it copied. Each departure can be switched off by its name in `QUIRKS`; without
any it is the method "code" with explicit Euler, a grid uniform in t and unadjusted Langevin steps. Nothing else knows of quirks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.levels import timesteps_of
from code_jax.diffusion.projections import Step
from code_jax.diffusion.thresholding import unthresholded
from code_jax.editing.methods import Method, Row
from code_jax.editing.options import OPTIONS
from code_jax.editing.route import AFFINE, ODE, ORDER, Route
from code_jax.editing.settings import shortest
from code_jax.errors import UserError, choose

QUIRKS = {
    "clip_by_index": "clipping takes ᾱ at the step's index among the N steps, not at its timestep: the bounds are far too tight",
    "clip_before_evaluation": "clipping acts before an evaluation, from the second on: the deepest code is not clipped",
    "last_step_up": "the last decoding step goes up to the second timestep, not down to 0: the result keeps noise",
    "latent_off_by_one": "latent L is the step of index L − 2, not L − 1",
    "step_size_law": "the step size at index i is multiplied by 100^(1 − i/(N − 1))",
    "silent_last_step": "each annealing level ends with one more step, without noise and without thresholding",
    "decode_deepest_code": "with clipping, decoding starts from the deepest code, not from the chosen latent",
    "noise_twice": "the input's noise is added twice",
    "encode_all": "all N latents are encoded, however shallow the chosen one; the evaluations count",
    "ddim_last_but_one": "without Langevin steps (the table's DDIM row) the last code but one is decoded as if it were the last",
}


class OfficialSettings(flax.struct.PyTreeNode):
    """Settings of `official`; the defaults are the published notebook's.

    Attributes:
        num_steps: N, steps of the ODE, at timesteps i·T/N for i = 0..N − 1.
        latent: the deepest corrected latent, counted from 1 to N (see ``latent_off_by_one``).
        further: indices of the other corrected latents, decreasing.
        langevin_steps: at each corrected latent, shared evenly among the levels (the rest is dropped); 0 is the DDIM row, which
            goes through all N latents.
        anneal_levels: step sizes h·γ^j.
        anneal_rate: γ in (0, 1].
        step_size: h > 0 (see ``step_size_law``).
        eta: η of confidence-based clipping, published with 1.7; None is off.
        input_noise: noise given to the input, in units of σ_0, 0.01 on DDPM's schedule (see ``noise_twice``).
        dynamic_threshold: (quantile, s_max) of `DynamicThreshold`, or None.
        quirks: names in `QUIRKS`.
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
    quirks: frozenset[str] = flax.struct.field(pytree_node=False, default=frozenset(QUIRKS))

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
    def guidance(self) -> None:
        """The published program has none."""
        return None

    @property
    def method(self) -> Method:
        """The published program."""
        return METHOD

    @property
    def deepest(self) -> int:
        """Index of the deepest corrected step."""
        return self.latent - 1 - self.has("latent_off_by_one")

    def has(self, quirk: str) -> bool:
        """Whether a quirk of `QUIRKS` is on."""
        return quirk in self.quirks

    def without(self, *names: str) -> OfficialSettings:
        """The same with these quirks switched off."""
        for name in names:
            choose("quirk", name, QUIRKS)
        return self.replace(quirks=self.quirks - set(names))


class Plan(NamedTuple):
    """The moves as indices among the N steps, int or bool [K], made on the host.

    Attributes:
        at, to: index of the step before and after the move; −1 is σ = 0.
        level: of the annealing; −1 where a move is no correction.
        silent: a correction without noise and threshold.
        clip: index of the step whose bound z is clipped to after the move; −1 where there is none.
        kept, departure: the move after which the code is kept, and that before which decoding starts from it.
        code, start: index of the step that the code is of, and of that where decoding starts.
    """

    at: np.ndarray
    to: np.ndarray
    level: np.ndarray
    silent: np.ndarray
    clip: np.ndarray
    kept: int
    departure: int
    code: int
    start: int


class Rewind(flax.struct.PyTreeNode):
    """A projection that keeps the code of one move's end and goes back to it at another's; its memory is the code.

    Attributes:
        kept, departure: the two moves. int [B].
        rescale: what the code is multiplied by. [B].
    """

    kept: jax.Array
    departure: jax.Array
    rescale: jax.Array

    def init(self, z: jax.Array, sigma: jax.Array) -> jax.Array:
        """The start, for a code that is no move's end."""
        return z

    def project(self, step: Step, z: jax.Array, memory: jax.Array) -> tuple[jax.Array, jax.Array]:
        """z, or the code where it is to be gone back to."""
        kept, departs, rescale = (each.reshape(-1, 1, 1, 1) for each in (self.kept, self.departure, self.rescale))
        code = jnp.where(step.number == kept, z, memory)
        return jnp.where(step.number == departs, rescale.astype(z.dtype) * code, z), code


SILENT = AFFINE._replace(name="silent", of=unthresholded)


def plan_of(settings: OfficialSettings) -> Plan:
    """The moves of settings."""
    clips, last = settings.eta is not None, settings.num_steps - 1
    start = last if not settings.langevin_steps or (clips and settings.has("decode_deepest_code")) else settings.deepest
    top = last if not settings.langevin_steps or settings.has("encode_all") else start
    code = start - (not settings.langevin_steps and settings.has("ddim_last_but_one"))
    early, rows = settings.has("clip_before_evaluation"), []
    for i in range(top):  # what acts before the next evaluation acts after this one, but for the deepest code
        rows.append((i, i + 1, -1, False, i + 1 if clips and not (early and i + 1 == top) else -1))
    corrections = [
        (level, k == settings.langevin_steps // settings.anneal_levels)
        for level in range(settings.anneal_levels)
        for k in range(settings.langevin_steps // settings.anneal_levels + settings.has("silent_last_step"))
    ]
    for i in range(start, -1, -1):
        if settings.langevin_steps and i in (settings.deepest, *settings.further):
            rows += [(i, i, level, silent, -1) for level, silent in corrections]
        rows.append((i, i - 1 if i else 1 if settings.has("last_step_up") else -1, -1, False, -1))
    at, to, level, silent, clip = (np.array(column) for column in zip(*rows, strict=True))
    return Plan(at, to, level, silent, clip, code - 1, top - 1, code, start)


def _start(
    settings: OfficialSettings, denoiser: Denoiser, images: jax.Array, draw: Callable[[int], jax.Array]
) -> tuple[jax.Array, jax.Array]:
    sigma = jnp.broadcast_to(denoiser.sigma_range[0].astype(images.dtype), (len(images), 1, 1, 1))
    noise = draw(1) + draw(2) if settings.has("noise_twice") else draw(1)
    return images + settings.input_noise[:, None, None, None] * sigma * noise, sigma


def _route(settings: OfficialSettings, denoiser: Denoiser) -> Route:
    plan, steps = plan_of(settings), settings.num_steps
    table = timesteps_of(denoiser, "the published program", "another method").log_sigma
    levels = jnp.exp(table[np.arange(steps) * len(table) // steps])
    sigma, sigma_next = levels[plan.at], jnp.where(plan.to < 0, 0, levels[plan.to])
    law = 100 ** (1 - plan.at / (steps - 1)) if settings.has("step_size_law") else np.ones(len(plan.at))
    # x ← x − h·ε/√(1 − ᾱ) + √(2h)·n is z ← z − rσε + √(2r)σn with r = h/(1 − ᾱ).
    relative = settings.step_size * law * settings.anneal_rate ** np.maximum(plan.level, 0) * (1 + sigma**-2)
    a = jnp.where(plan.level < 0, 0, -relative * sigma)
    b = jnp.where((plan.level < 0) | plan.silent, 0, jnp.sqrt(2 * relative) * sigma)
    bound = jnp.full(steps, jnp.inf)
    if settings.eta is not None:
        looked_up = jnp.exp(table[:steps]) if settings.has("clip_by_index") else levels
        bound = (1 + settings.eta * looked_up) / jnp.sqrt(1 + looked_up**2) * jnp.sqrt(1 + levels**2)
    margin = jnp.where(plan.clip < 0, jnp.inf, bound[plan.clip] - 1)
    rescale = jnp.sqrt((1 + levels[plan.start] ** 2) / (1 + levels[plan.code] ** 2))
    quiet = SILENT if settings.dynamic_threshold is not None else AFFINE
    kinds = tuple(
        ODE if level < 0 else quiet if silent else AFFINE for level, silent in zip(plan.level, plan.silent, strict=True)
    )
    order = ("own", "clip", "region") if settings.has("clip_before_evaluation") else ORDER
    own = Rewind(jnp.asarray(plan.kept), jnp.asarray(plan.departure), rescale)
    a, b, margin = (jnp.broadcast_to(column, sigma.shape).astype(sigma.dtype) for column in (a, b, margin))
    return Route(sigma, sigma_next, a, b, margin, own=own, kinds=kinds, order=order)


def _canonical(settings: OfficialSettings, denoiser: Denoiser) -> OfficialSettings:
    schedule = timesteps_of(denoiser, "the published program", "another method")
    if settings.num_steps > schedule.num_timesteps:
        raise UserError(f"num_steps is {settings.num_steps}; the prior has {schedule.num_timesteps} timesteps")
    return jax.tree.map(lambda number: jnp.asarray(number, float), settings)


def _configure(values: Mapping[str, Any]) -> OfficialSettings:
    """Depth D is latent D·N, counted from 1; further depths are steps of index D·N."""
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
    return OfficialSettings(**given).without(*(QUIRKS if list(off) == ["all"] else off))


def _describe(settings: OfficialSettings) -> dict[str, Any]:
    same = ("num_steps", "langevin_steps", "anneal_levels")
    values: dict[str, Any] = {name: getattr(settings, name) for name in same}
    for name in ("step_size", "anneal_rate", "input_noise", "eta", "dynamic_threshold"):
        value = getattr(settings, name)
        values[name] = math.inf if value is None else shortest(value)
    depths = [index / settings.num_steps for index in (settings.latent, *settings.further)]
    return values | {"depth": depths, "without_quirks": sorted(set(QUIRKS) - settings.quirks) or None}


_ROWS = {
    "official": Row("published program"),
    "official+cbc": Row("published program with CBC", {"eta": 1.7}, "official"),
    "official+ddim": Row("published DDIM round trip", {"langevin_steps": 0}),
}
_BASES = {  # the row that a quirk shows itself against; any other does with the notebook's settings
    "clip_by_index": "official+cbc",
    "clip_before_evaluation": "official+cbc",
    "decode_deepest_code": "official+cbc",
    "ddim_last_but_one": "official+ddim",
}


def _without(quirk: str) -> Row:
    base = _BASES.get(quirk, "official")
    return Row(f"{_ROWS[base].title} without {quirk}", {**_ROWS[base].values, "without_quirks": [quirk]}, base)


METHOD = Method(
    "official",
    "the published program, with its departures from the paper",
    ("depth", "step_size", "eta", "langevin_steps", "num_steps", "anneal_rate", "anneal_levels", "input_noise",
     "dynamic_threshold", "without_quirks"),
    _configure,
    _describe,
    _canonical,
    _start,
    _route,
    up=lambda settings: plan_of(settings).departure + 1,
    upward=("eta", "input_noise"),
    rows=_ROWS | {f"official-{quirk}": _without(quirk) for quirk in QUIRKS},
    masks=False,
    gradient=False,
)  # fmt: skip
