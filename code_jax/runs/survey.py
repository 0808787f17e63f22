"""What a run costs, before it starts: network evaluations by the sizes of its pictures, and seconds by a measurement."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import NamedTuple

from code_jax.editing.edit import number_of_moves
from code_jax.editing.pyramid import Size
from code_jax.pictures.fits import OWN_SIZE, size_within
from code_jax.progress import clock
from code_jax.runs.account import plural
from code_jax.runs.canvas import sizes_of, windows_of
from code_jax.runs.engine import Engine
from code_jax.runs.job import Job

_LONG = 600  # seconds from which it is said how to do with less
_SHORT = 300  # that a smaller picture would take


class Survey(NamedTuple):
    """The results that a run makes.

    Attributes:
        fitted: how many at the prior's size.
        own: of each at its own: (H, W) and fit.
    """

    fitted: int
    own: tuple[tuple[Size, str], ...] = ()

    @classmethod
    def of(cls, sizes: Iterable[tuple[Size | None, int]], image_shape: tuple[int, int, int], job: Job) -> Survey:
        """Of (H, W) of pictures, None where it is not known, and how many results each is to have."""
        fitted, own = 0, []
        for size, count in sizes:
            bounded = image_shape[:2] if size is None else size_within(size, job.max_side)
            fit = job.fit_of(bounded, image_shape)
            if fit in OWN_SIZE:
                own += [((max(bounded[0], image_shape[0]), max(bounded[1], image_shape[1])), fit)] * count
            else:
                fitted += count
        return cls(fitted, tuple(own))

    def inputs(self, image_shape: tuple[int, int, int]) -> int:
        """Inputs of the network that there are at a time, at most."""
        return max([self.fitted, *(windows_of(size, image_shape) for size, _ in self.own)])

    def steps(self, engine: Engine) -> int:
        """All of its `Engine.steps`."""
        return -(-self.fitted // engine.in_flight) * engine.moves + sum(engine.steps(*each) for each in self.own)

    def evaluations(self, engine: Engine) -> int:
        """Of the network, of one input each."""
        shape, (_, evaluations) = engine.prior.image_shape, number_of_moves(engine.prior, engine.config)
        windows = sum(windows_of(size, shape) for own, fit in self.own for size in sizes_of(own, shape, fit))
        return evaluations * (self.fitted + windows)

    def tell(self, engine: Engine, option: str) -> None:
        """Says on stderr what it costs, where pictures are restored at their own size, and how it would cost less.

        option: how the bound of a picture's side is written, with {} for the number.
        """
        if not self.own:
            return
        seconds = self.steps(engine) * engine.pace()
        count = plural(self.fitted + len(self.own), "result")
        print(f"{count}, {self.evaluations(engine)} evaluations of the network, about {clock(seconds)}", file=sys.stderr)
        if seconds > _LONG:
            longest, step = max(max(size) for size, _ in self.own), max(engine.prior.image_shape[:2])
            most = max(int(longest * math.sqrt(_SHORT / seconds)) // step, 2) * step
            about = clock(seconds * (most / longest) ** 2)
            smaller = [f"{option.format(most)} (about {about})"] if most < longest else []
            less = ", ".join([*smaller, "fewer steps of the ODE", "a GPU or TPU"])
            print(f"what would take less: {less}", file=sys.stderr)
