"""The published program of CODE, quirk by quirk: what the paper ran, where that departs from the paper's formulae.

Written from a description of the program, none of it copied. Each departure can be switched off by its name in `QUIRKS`; without
any it is the method "code" with explicit Euler, a grid uniform in t and unadjusted Langevin steps. Nothing else knows of quirks.
"""

from __future__ import annotations

from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.levels import timesteps_of
from code_jax.diffusion.projections import Step
from code_jax.diffusion.thresholding import DynamicThreshold, thresholded, unthresholded
from code_jax.diffusion.tiling import Tiled
from code_jax.editing.methods import Method, Row
from code_jax.editing.methods.official_plan import Plan, plan_of
from code_jax.editing.methods.official_settings import OfficialSettings, canonical, configure, describe
from code_jax.editing.methods.quirks import PUBLISHED, QUIRKS
from code_jax.editing.route import AFFINE, ODE, ORDER, Route
from code_jax.shapes import Images, Level

__all__ = ["METHOD", "PUBLISHED", "QUIRKS", "OfficialSettings", "plan_of"]


class Rewind(flax.struct.PyTreeNode):
    """A projection that keeps the code of one move's end and goes back to it at another's; its memory is the code.

    Attributes:
        kept, departure: the two moves. int [B].
        rescale: what the code is multiplied by. [B].
    """

    kept: Int[Array, "*batch"]
    departure: Int[Array, "*batch"]
    rescale: Float[Array, "*batch"]

    def init(self, z: Images, sigma: Level) -> Images:
        """The start, for a code that is no move's end."""
        return z

    def project(self, step: Step, z: Images, memory: Images) -> tuple[Images, Images]:
        """z, or the code where it is to be gone back to."""
        kept, departs, rescale = (each.reshape(-1, 1, 1, 1) for each in (self.kept, self.departure, self.rescale))
        code = jnp.where(step.number == kept, z, memory)
        return jnp.where(step.number == departs, rescale.astype(z.dtype) * code, z), code


class Interpolated(DynamicThreshold):
    """A `DynamicThreshold` whose quantile lies between two values, in proportion."""

    def level(self, values: jax.Array) -> jax.Array:
        """s [B, 1, 1, 1] of |x̂_0|."""
        flat, quantile = values.reshape(len(values), -1), jnp.broadcast_to(self.quantile, len(values))
        found = jax.vmap(jnp.quantile)(flat, quantile.astype(flat.dtype))
        return jnp.clip(found, 1, self.s_max).reshape(-1, 1, 1, 1)


SILENT = AFFINE._replace(name="silent", of=unthresholded)


def _field(settings: OfficialSettings, denoiser: Denoiser) -> Denoiser:
    found = thresholded(denoiser, settings.dynamic_threshold)
    if settings.dynamic_threshold is None or not settings.has("interpolated_quantile"):
        return found
    if isinstance(found, Tiled):
        return found.replace(denoiser=Interpolated(**vars(found.denoiser)))
    return Interpolated(**vars(found))


def _start(settings: OfficialSettings, denoiser: Denoiser, images: Images, draw: Callable[[int], Images]) -> tuple[Images, Level]:
    sigma = jnp.broadcast_to(denoiser.sigma_range[0].astype(images.dtype), (len(images), 1, 1, 1))
    noise = draw(1) + draw(2) if settings.has("noise_twice") else draw(1)
    clean = images * jnp.sqrt(1 + sigma**2) if settings.has("input_unscaled") else images
    return clean + settings.input_noise[:, None, None, None] * sigma * noise, sigma


def _law(settings: OfficialSettings, plan: Plan, log_sigma: jax.Array) -> jax.Array:
    """What the step size is multiplied by in each move."""
    if not settings.has("step_size_law"):
        return jnp.ones(len(plan.at), log_sigma.dtype)
    if settings.has("std_schedule") and len(settings.corrected) > 1:
        deviation = jax.nn.sigmoid(2 * log_sigma[: settings.num_steps]) ** 0.5  # 1 − ᾱ = σ²/(1 + σ²)
        return deviation[-1] / deviation[plan.at]
    return 100 ** jnp.asarray(1 - plan.at / (settings.num_steps - 1), log_sigma.dtype)


def _route(settings: OfficialSettings, denoiser: Denoiser) -> Route:
    plan, steps = plan_of(settings), settings.num_steps
    table = timesteps_of(denoiser, "the published program", "another method").log_sigma
    each = np.arange(steps)
    times = each * (len(table) // steps) if settings.has("truncated_timesteps") else each * len(table) // steps
    levels = jnp.exp(table[times])
    sigma, sigma_next = levels[plan.at], jnp.where(plan.to < 0, 0, levels[plan.to])
    # x ← x − h·ε/√(1 − ᾱ) + √(2h)·n is z ← z − rσε + √(2r)σn with r = h/(1 − ᾱ).
    step = settings.step_size * _law(settings, plan, table) * settings.anneal_rate ** np.maximum(plan.level, 0)
    relative = step * (1 + sigma**-2)
    a = jnp.where((plan.level < 0) | plan.idle, 0, -relative * sigma)
    b = jnp.where((plan.level < 0) | plan.silent | plan.idle, 0, jnp.sqrt(2 * relative) * sigma)
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


_ROWS = {
    "official": Row("published program"),
    "official+cbc": Row("published program with CBC", {"eta": 1.7}, "official"),
    "official+ddim": Row("published DDIM round trip", {"langevin_steps": 0}),
}
_ELSEWHERE = {"single_step_idle", "truncated_timesteps", "shallow_alone", "std_schedule"}  # of other settings than the notebook's
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
     "dynamic_threshold", "without_quirks", "with_quirks"),
    configure,
    describe,
    canonical,
    _start,
    _route,
    up=lambda settings: plan_of(settings).departure + 1,
    upward=("eta", "input_noise"),
    rows=_ROWS | {f"official-{quirk}": _without(quirk) for quirk in QUIRKS if quirk not in _ELSEWHERE},
    masks=False,
    gradient=False,
    field=_field,
)  # fmt: skip
