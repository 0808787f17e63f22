"""The methods of the tables: each a configuration and a grid of settings, run by one compiled program."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.devices.mesh import devices_for, sharding
from code_jax.diffusion.schedule import NoiseSchedule
from code_jax.editing.config import EditConfig, canonical, preset
from code_jax.editing.edit import EditResult, advance, begin
from code_jax.editing.method import Settings, number_of_moves, run_in_segments
from code_jax.editing.official import QUIRKS, OfficialSettings
from code_jax.editing.sweep import SweepGrid, SweepPoint, SweepResult, at_points, sweep
from code_jax.errors import UserError
from code_jax.pictures.arrays import from_uint8
from code_jax.priors.prior import Prior
from code_jax.runs.job import fold_keys, image_key

PUBLISHED: dict[str, dict[str, Any]] = {"official": {}, "official+cbc": {"eta": 1.7}, "official+ddim": {"langevin_steps": 0}}
"""The published program's settings where they are not its notebook's: with clipping at the published η, and the DDIM row."""

NAMES = ("inputs", "ddim", "ddim+cbc", "sdedit", *PUBLISHED, "code-cbc", "code")
_NEEDS = {  # what a quirk shows itself with; any other does with the notebook's settings
    "clip_by_index": "official+cbc",
    "clip_before_evaluation": "official+cbc",
    "decode_deepest_code": "official+cbc",
    "ddim_last_but_one": "official+ddim",
}
QUIRK_METHODS = (*PUBLISHED, *(f"{_NEEDS.get(quirk, 'official')}-{quirk}" for quirk in QUIRKS))
"""The published program, and without each of its quirks where that matters."""

_SEGMENTS = 10


class Method(NamedTuple):
    """A row of a table.

    Attributes:
        name: one of `NAMES`; one of `PUBLISHED` and ``-QUIRK``, which is then switched off; or "clean", the clean sources
            themselves.
        config: of everything that is no point's; None leaves the inputs as they are.
        points: the settings to choose from; of the published program and the inputs there is one, None.
    """

    name: str
    config: Settings | None
    points: tuple[SweepPoint | None, ...]

    @property
    def clips(self) -> bool:
        """Whether it clips at any of its settings."""
        if isinstance(self.config, EditConfig):
            return any(point is not None and math.isfinite(point.eta) for point in self.points)
        return self.config is not None and self.config.eta is not None

    @property
    def nfe(self) -> int:
        """Network evaluations of an image."""
        return 0 if self.config is None else number_of_moves(self.config)[1]

    def at(self, *points: SweepPoint | None) -> Method:
        """The same method with these settings alone."""
        return self._replace(points=points)

    def facts(self) -> dict[str, Any]:
        """What a result depends on, beside prior, pictures, seed and micro-batch; as JSON."""
        if not isinstance(self.config, EditConfig):
            settings = None if self.config is None else dataclasses.asdict(self.config)
            return {"settings": settings and settings | {"quirks": sorted(settings["quirks"])}}
        config = canonical(self.config)
        numbers = {name: np.asarray(getattr(config, name)).tolist() for name in ("input_noise", "anneal_rate")}
        return {"program": dataclasses.asdict(config.program), "points": [list(point or ()) for point in self.points]} | numbers


@dataclasses.dataclass(frozen=True)
class Axes:
    """The grids' axes, and what overrides the preset.

    Attributes:
        depth: noise levels; empty keeps the preset's.
        relative_step: h/(1 − ᾱ) of CODE; empty keeps the preset's.
        eta: η of what is clipped; None keeps the preset's.
        preset: name of the preset.
        program: values of `EditProgram` that replace the preset's, of CODE and the DDIM round trip.
        sdedit_steps: ancestral steps of SDEdit; None keeps the preset's.
    """

    depth: Sequence[float] = ()
    relative_step: Sequence[float] = ()
    eta: float | None = None
    preset: str = "default"
    program: dict[str, Any] = dataclasses.field(default_factory=dict)
    sdedit_steps: int | None = None


def method_of(name: str, axes: Axes, schedule: NoiseSchedule) -> Method:
    """The method of a name, with its grid.

    Raises:
        UserError: for an unknown name, or values that cannot be.
    """
    if name in ("clean", "inputs"):
        return Method(name, None, (None,))
    base, _, quirk = name.partition("-")
    if base in PUBLISHED and (name == base or quirk in QUIRKS):
        settings = OfficialSettings(**PUBLISHED[base])
        return Method(name, settings.without(quirk) if quirk else settings, (None,))
    if name not in NAMES:
        raise UserError(
            f"method {name!r} is unknown; choose from {', '.join(NAMES)}, or official-QUIRK with one of {', '.join(QUIRKS)}"
        )
    kind = name.removesuffix("-cbc").removesuffix("+cbc")
    config = preset(axes.preset, schedule, method=kind)
    program = {"num_steps": axes.sdedit_steps or config.program.num_steps} if kind == "sdedit" else axes.program
    config = config.with_program(**program)
    eta = (config.eta if axes.eta is None else axes.eta) if name in ("ddim+cbc", "code") else None
    steps = axes.relative_step if kind == "code" else ()
    grid = SweepGrid(relative_step=tuple(steps), depth=tuple(axes.depth), eta=(eta,))
    return Method(name, config, tuple(grid.points(config, schedule)))


def said(method: Method, point: SweepPoint | None, schedule: NoiseSchedule) -> str:
    """A point in words; the step as h/(1 − ᾱ)."""
    if point is None or not isinstance(method.config, EditConfig):
        return "" if method.config is None else "published"
    words = [f"depth {point.depth:g}"]
    if method.config.program.method == "code":
        words.append(f"step {point.step_size / float(schedule.variance(schedule.timestep(point.depth))):.3g}")
    return ", ".join(words if math.isinf(point.eta) else [*words, f"eta {point.eta:g}"])


def restored(
    method: Method, prior: Prior, pixels: np.ndarray, seed: int, micro_batch: int, after: Callable[[float], None]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Pictures uint8 [B, H, W, 3] at each of the method's points, and which of their pixels were clipped.

    Images are float32 [P, B, H, W, 3] in [−1, 1], NaN where not finite; the pixels bool [P, B, H, W], None where the method does
    not clip. An image's noise is that of ``code-jax restore`` with the seed. `after` is called with the share of the work that is
    done.
    """
    images = np.asarray(from_uint8(pixels))
    if method.config is None:
        after(1.0)
        return images[None], None
    words = np.stack([image_key(seed, hashlib.sha256(picture.tobytes()).hexdigest(), 0) for picture in pixels])
    if isinstance(method.config, EditConfig):
        results, clipped = _swept(method, method.config, prior, images, fold_keys(words), micro_batch, after)
    else:
        results, clipped = (found[None] for found in _in_batches(method.config, prior, images, words, micro_batch, after))
    return results, clipped if method.clips else None


def _swept(
    method: Method, config: EditConfig, prior: Prior, images: np.ndarray, keys: jax.Array, micro_batch: int,
    after: Callable[[float], None],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Every point by `sweep`, which shares the encodings of those that differ in the step alone."""
    points = [point for point in method.points if point is not None]
    groups: dict[tuple[float, float], list[float]] = {}
    for point in points:
        groups.setdefault((point.depth, point.eta), []).append(point.step_size)
    found: dict[tuple[float, float, float], tuple[np.ndarray, np.ndarray]] = {}
    for done, ((depth, eta), steps) in enumerate(groups.items()):
        units = [0]

        def report(more: int, total: int, done: int = done, units: list[int] = units) -> None:
            units[0] += more
            after((done + units[0] / total) / len(groups))

        grid = SweepGrid(step_size=steps, depth=(depth,), eta=(None if math.isinf(eta) else eta,))
        result = sweep(keys[None], prior, jnp.asarray(images), grid, config, micro_batch=micro_batch, after=report)
        found |= {(depth, eta, step): (picture, pixels) for step, picture, pixels in zip(steps, *_outcome(result), strict=True)}
    pictures, pixels = zip(*(found[point.depth, point.eta, point.step_size] for point in points), strict=True)
    return np.stack(pictures), np.stack(pixels)


def _in_batches(
    settings: Settings, prior: Prior, images: np.ndarray, words: np.ndarray, micro_batch: int, after: Callable[[float], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Images in batches of one size, sharded over the devices."""
    devices, moves = devices_for(prior, -(-len(images) // micro_batch)), number_of_moves(settings)[0]
    size = micro_batch * len(devices)
    rows = np.minimum(np.arange(-(-len(images) // size) * size), len(images) - 1).reshape(-1, size)
    prior, found = jax.device_put(prior, sharding(devices)), []
    for batch, these in enumerate(rows):
        keys, placed = jax.device_put((fold_keys(words[these]), images[these]), sharding(devices, "batch"))
        bounds = np.unique(np.linspace(0, moves, _SEGMENTS + 1).astype(int))
        progress = lambda k, batch=batch: after((batch + k / moves) / len(rows))  # noqa: E731
        found.append(_outcome(run_in_segments(keys, prior, placed, settings, bounds, progress)))
    pictures, pixels = zip(*found, strict=True)
    return np.concatenate(pictures)[: len(images)], np.concatenate(pixels)[: len(images)]


def _outcome(result: EditResult | SweepResult) -> tuple[np.ndarray, np.ndarray]:
    """Images, NaN where not finite, and clipped pixels, on the host."""
    finite = np.asarray(result.info.finite)[..., None, None, None]
    return np.where(finite, np.asarray(result.images), np.nan), np.asarray(result.info.clipped_pixels)


def program_memory(method: Method, prior: Prior, micro_batch: int) -> int:
    """Bytes that the method's compiled program takes on a device at its peak: arguments, results and temporaries."""
    if method.config is None:
        return 0
    keys = jax.random.split(jax.random.key(0), micro_batch)
    images = jnp.zeros((micro_batch, *prior.image_shape))
    first, last = jnp.int32(0), jnp.int32(1)
    if isinstance(method.config, EditConfig):
        points = [point for point in method.points[:1] if point is not None] * micro_batch
        numbers = at_points(method.config, points)  # what `sweep` runs the program with: it is traced once for both
        lowered = advance.lower(keys, prior, begin(keys, prior, images, numbers), numbers, first, last)
    else:
        from code_jax.editing import official

        plan = official.plan_of(prior.schedule, method.config)
        lowered = official.advance.lower(keys, prior, plan, official.begin(keys, images, plan), first, last)
    sizes: Any = lowered.compile().memory_analysis()
    total = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes - sizes.alias_size_in_bytes
    return int(total)
