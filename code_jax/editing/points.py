"""The points of a sweep: a grid of values by axis, and settings with each point's numbers."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from code_jax import renamed
from code_jax.diffusion.denoiser import Denoiser
from code_jax.documents import is_whole
from code_jax.editing.options import OPTIONS
from code_jax.editing.settings import Settings
from code_jax.errors import UserError, choose

MAX_RESULTS = 10_000  # points × images: what a table can still show and a host's memory hold
_SLOWEST, _FASTEST = ("sigma", "depth", "eta", "anneal_rate"), ("relative_step", "step_size")


@dataclasses.dataclass(frozen=True)
class SweepPoint:
    """One point of a `SweepGrid`.

    Attributes:
        numbers: (name, value) of each axis.
        seed: which of the grid's seeds, from 0 on.
    """

    numbers: tuple[tuple[str, float], ...]
    seed: int

    def of(self, settings: Settings) -> Any:
        """The settings at this point."""
        return settings.replace(**dict(self.numbers))

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            renamed.missing("SweepPoint", name)


class SweepGrid:
    """Values of each axis; what is no axis keeps the settings' value.

    Attributes:
        axes: the values by axis, which is a number of the settings: ``sigma``, ``depth``, ``relative_step``, ``step_size``,
            ``eta`` (None is off), ``anneal_rate`` or another.
        seeds: how many keys each setting gets.

    Raises:
        UserError: names an axis or a value that cannot be.

    Example:
        >>> SweepGrid(relative_step=(0.05, 0.2), sigma=(0.5, 1.0), seeds=3).size
        12
    """

    axes: dict[str, tuple[float, ...]]
    seeds: int

    def __init__(self, *, seeds: int = 1, **axes: Sequence[float | None]) -> None:
        self.seeds, self.axes = seeds, {}
        if not is_whole(seeds, 1):
            raise UserError(f"seeds is {seeds!r}; it must be a whole number of at least 1")
        for name in (*_SLOWEST, *sorted(axes.keys() - {*_SLOWEST, *_FASTEST}), *_FASTEST):
            if len(axes.get(name, ())):
                option = choose("axis", name, OPTIONS)
                self.axes[name] = tuple(math.inf if value is None else float(option.check(value)) for value in axes[name])
        for one, other in (("step_size", "relative_step"), ("sigma", "depth")):
            if one in self.axes and other in self.axes:
                raise UserError(f"a grid has {one} and {other}; give one of them")

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(map(len, self.axes.values())) * self.seeds

    def points(self) -> list[SweepPoint]:
        """The points; the step and the seed change fastest, the level slowest."""
        if self.size > MAX_RESULTS:
            raise UserError(f"the grid has {self.size} points; a sweep takes at most {MAX_RESULTS}, so give fewer values")
        return [
            SweepPoint(tuple(zip(self.axes, values, strict=True)), seed)
            for values in itertools.product(*self.axes.values())
            for seed in range(self.seeds)
        ]


def at_points(settings: Settings, points: Sequence[SweepPoint], denoiser: Denoiser) -> Any:
    """The canonical settings with each point's numbers, [P, ...].

    Raises:
        UserError: if the method lacks an axis, corrects several levels, or a value is out of its range.
    """
    method = settings.method
    for name in dict(points[0].numbers):
        if name not in method.options:
            raise UserError(f"{name} is no setting of the method {method.name}; its own are {', '.join(method.options)}")
    stated = [name for name in ("sigma", "depth") if getattr(settings, name, None) is not None]
    for name in stated if not {"sigma", "depth"} & dict(points[0].numbers).keys() else ():
        if np.size(getattr(settings, name)) > 1:
            raise UserError(f"{name} is {np.asarray(getattr(settings, name)).tolist()}; a point of a sweep corrects one level")
    for name, value in {(name, value) for point in points for name, value in point.numbers}:
        method.canonical(settings.replace(**{name: value}), denoiser)
    numbers = {name: np.array([dict(point.numbers)[name] for point in points]) for name in dict(points[0].numbers)}
    resolve = lambda own: method.canonical(settings.replace(**own), denoiser)  # noqa: E731
    return jax.vmap(resolve, axis_size=len(points))(numbers)
