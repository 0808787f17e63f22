"""The loop around `train_step`: data, devices, progress, validation, samples and checkpoints."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from code_jax.diffusion.levels import timesteps_of
from code_jax.durable import check_utf8
from code_jax.errors import UserError
from code_jax.interruption import Ended, handled
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel
from code_jax.pictures.files import write_picture
from code_jax.priors.hash import prior_hash
from code_jax.priors.prior import Prior
from code_jax.progress import clock
from code_jax.training.checkpoints import Checkpoints, check_description, set_damaged_aside
from code_jax.training.log import Log
from code_jax.training.recipe import Recipe
from code_jax.training.sources import Dataset
from code_jax.training.step import TrainState, init_state, train_step
from code_jax.training.validation import Validation, levels

VALIDATED = 100
_LATE = 8


@dataclasses.dataclass(frozen=True)
class Run:
    """How a training is run; none of it but the seed changes the weights.

    Attributes:
        seed: of weights, order, timesteps and noise.
        every: steps between checkpoints, each with a validation and a sample grid.
        keep: how many of the last checkpoints stay, beside the best.
        seconds: stop after so long and leave a checkpoint; None is never.
        precision: "float32" or "bfloat16", inside the network.
        resume: go on with the training in the folder.
    """

    seed: int = 0
    every: int = 500
    keep: int = 2
    seconds: float | None = None
    precision: str = "float32"
    resume: bool = False


class Trained(NamedTuple):
    """How a training ended.

    Attributes:
        steps: done in all.
        best_step: the checkpoint of lowest validation loss; None if there is none.
        prior: of its weights.
        signal: that ended the training, or None.
        diverged: the step whose loss or weights were not finite, which ended it, or None.
    """

    steps: int
    best_step: int | None
    prior: Prior
    signal: int | None
    diverged: int | None


def train(folder: Path, data: Dataset, network: UNet2DConfig, recipe: Recipe, run: Run, init: Prior | None = None) -> Trained:
    """Trains a prior on pictures of its shape; leaves checkpoints, ``losses.csv``, its chart and ``samples/`` in `folder`.

    The weights are a function of data, network, recipe, seed, `init` and the number of devices: a training that was killed and
    resumed gives those of one that was not, bit for bit on CPU.

    Raises:
        UserError: for data, settings or a folder that do not fit, and if no checkpoint can be written.
    """
    schedule = recipe.noise_schedule() if init is None else timesteps_of(init, "training", "a prior that has them")
    model = UNet2DModel(network)
    devices = jax.devices()
    if recipe.batch_size % len(devices):
        raise UserError(f"batch_size {recipe.batch_size} is not a multiple of the {len(devices)} devices")
    check_utf8(folder)
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "network": network.to_diffusers(), "recipe": dataclasses.asdict(recipe), "seed": run.seed, "precision": run.precision,
        "data": data.describe(), "init": None if init is None else prior_hash(init), "devices": len(devices),
    }  # fmt: skip
    check_description(folder, description, resume=run.resume)

    mesh = Mesh(np.array(devices), ("batch",))
    everywhere, shared = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("batch"))
    init_key, step_key, fixed_key = jax.random.split(jax.random.key(run.seed), 3)
    shape = (1, *network.sample_size, network.in_channels)
    params = jax.jit(model.init)(init_key, jnp.zeros(shape), jnp.zeros(1))["params"] if init is None else init.params
    state = jax.device_put(init_state(recipe, params), everywhere)
    prior = Prior.from_network(model, params, schedule, recipe.prediction_type).with_precision(run.precision)
    step_fn = jax.jit(functools.partial(train_step, prior.function, recipe), donate_argnums=1)
    validate = Validation(prior, next(data.batches(run.seed, VALIDATED, held=True)), fixed_key)
    set_damaged_aside(folder, state)

    with Checkpoints(folder, run.keep) as checkpoints, _signals() as caught:
        first = checkpoints.latest() or 0
        if first:
            state = checkpoints.restore(first, state)
        counts = (sum(map(len, side)) for side in (data.trained, data.held))
        print("{} pictures, {} held out, from step {} to {}".format(*counts, first, recipe.steps), file=sys.stderr)
        log, pace, losses = Log(folder, levels(prior), first), Pace(recipe, first, run.seconds), Losses(first)
        batches = data.batches(run.seed, recipe.batch_size, first)
        for step, images in enumerate(itertools.islice(batches, max(recipe.steps - first, 0)), first + 1):
            state, value = step_fn(step_key, state, schedule, jax.device_put(images, shared))
            losses.add(value)
            if losses.diverged is not None:
                break
            stop = step == recipe.steps or pace.over() or bool(caught)
            pace.tick(step, value)
            if stop or step % run.every == 0:
                mean, by_level = losses.mean(), validate.losses(state.ema)
                if losses.diverged is None and not (np.isfinite(by_level).all() and _all_finite(state)):
                    losses.diverged = step
                if losses.diverged is not None:
                    break
                checkpoints.save(state, float(by_level.mean()))
                log.write(step, step * recipe.batch_size, pace.seconds(), mean, by_level)
                write_picture(validate.samples(state.ema), folder / "samples" / f"{step:07d}.png")
                pace.say(f"step {step}: training loss {mean:.5f}, validation loss {by_level.mean():.5f}")
            if stop:
                break
        best = checkpoints.best()
        if best is not None:
            prior = prior.replace(params=checkpoints.restore(best, state).ema).with_precision("float32")
        return Trained(int(state.step), best, prior, caught[0] if caught else None, losses.diverged)


class Losses:
    """The losses of the steps since the last checkpoint, looked at a few steps late so that no device waits.

    Attributes:
        diverged: the first step whose loss was not finite, or None.
    """

    def __init__(self, first: int) -> None:
        self.diverged: int | None = None
        self._first, self._values = first, list[jax.Array]()

    def add(self, value: jax.Array) -> None:
        """The next step's."""
        self._values.append(value)
        if len(self._values) > _LATE and not np.isfinite(self._values[-_LATE]):
            self.mean()

    def mean(self) -> float:
        """Of all since it was asked for last."""
        values = np.asarray(jax.device_get(self._values))
        if self.diverged is None and not np.isfinite(values).all():
            self.diverged = self._first + 1 + int(np.argmin(np.isfinite(values)))
        self._first, self._values = self._first + len(values), []
        return float(values.mean())


class Pace:
    """Pictures a second, loss and time left on stderr."""

    def __init__(self, recipe: Recipe, first: int, seconds: float | None) -> None:
        self._recipe, self._limit = recipe, seconds
        self._begun = self._said = time.monotonic()
        self._from, self._step, self._since = first, first, self._begun
        self._warm = False

    def seconds(self) -> float:
        """Since the start of this run."""
        return time.monotonic() - self._begun

    def over(self) -> bool:
        """Whether the time given is spent."""
        return self._limit is not None and self.seconds() >= self._limit

    def tick(self, step: int, value: jax.Array) -> None:
        """Notes a step; says how it goes every few seconds."""
        if not self._warm:  # the first step holds the compilation
            value.block_until_ready()
            self._warm, self._from, self._since, self._step = True, step, time.monotonic(), step
        terminal = sys.stderr.isatty()
        if time.monotonic() - self._said < (1 if terminal else 15) or step == self._from:
            return
        value = value.block_until_ready()
        self._said = time.monotonic()
        rate = (step - self._from) / (self._said - self._since)
        left = (self._recipe.steps - step) / rate
        if self._limit is not None:
            left = min(left, max(self._limit - self.seconds(), 0.0))
        line = f"step {step}, {rate * self._recipe.batch_size:.1f} pictures/s, loss {float(value):.4f}, {clock(left)} left"
        print(f"\r{line}  " if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """Prints a line of its own."""
        print(f"\n{line}" if sys.stderr.isatty() else line, file=sys.stderr, flush=True)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Signals caught while the training runs: the step is finished and a checkpoint left; the second one ends it."""
    caught: list[int] = []

    def note(number: int, frame: object) -> None:
        if caught:
            raise Ended(number)
        caught.append(number)

    with handled(note):
        yield caught


@jax.jit
def _all_finite(state: TrainState) -> jax.Array:
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(state)]))
