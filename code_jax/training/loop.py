"""The loop around `train_step`: data, devices, progress, validation, samples and checkpoints."""

from __future__ import annotations

import csv
import dataclasses
import functools
import hashlib
import io
import itertools
import signal
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
from code_jax.diffusion.schedule import NoiseSchedule
from code_jax.durable import write_durably
from code_jax.editing.inversion import decode
from code_jax.errors import UserError
from code_jax.models.config import UNet2DConfig
from code_jax.models.unet import UNet2DModel
from code_jax.pictures.arrays import picture_of, to_uint8
from code_jax.priors.hash import prior_hash
from code_jax.priors.prior import Prior
from code_jax.progress import clock
from code_jax.training.checkpoints import Checkpoints, check_description
from code_jax.training.data import batches, held_out, read_pictures
from code_jax.training.recipe import Recipe
from code_jax.training.step import init_state, loss, train_step

BINS = 10
_VALIDATED = 200
_COLUMNS = ("step", "pictures", "seconds", "train_loss", "validation_loss", *(f"bin_{i}" for i in range(BINS)))


@dataclasses.dataclass(frozen=True)
class Run:
    """How a training is run; none of it but the seed changes the weights.

    Attributes:
        seed: of weights, order, timesteps and noise.
        held_out: pictures kept out of the training, by the hash of their names.
        every: steps between checkpoints, each with a validation and a sample grid.
        keep: how many of the last checkpoints stay, beside the best.
        seconds: stop after so long and leave a checkpoint; None is never.
        precision: "float32" or "bfloat16", inside the network.
        resume: go on with the training in the folder.
    """

    seed: int = 0
    held_out: int = 1000
    every: int = 500
    keep: int = 2
    seconds: float | None = None
    precision: str = "float32"
    resume: bool = False


class Trained(NamedTuple):
    """Steps done, the step of lowest validation loss and its weights as a `Prior`, and the signal that ended the training."""

    steps: int
    best_step: int
    prior: Prior
    signal: int | None


class Data(NamedTuple):
    """Pictures uint8 [N, S, S, C] to train and to validate on, and a digest of their names and values."""

    train: np.ndarray
    validation: np.ndarray
    digest: str


def read_data(source: str | Path, size: int, held: int, channels: int = 3) -> Data:
    """The pictures of a folder or zip, `held` of them held out (at most a fifth).

    Raises:
        UserError: if there are fewer than two pictures.
    """
    names, pictures = read_pictures(source, size, channels)
    if len(names) < 2:
        raise UserError(f"{str(source)!r} holds 1 readable picture; a training needs at least 2, one of them to validate on")
    mask = held_out(names, min(held, max(len(names) // 5, 1)))
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape"))
    digest.update(pictures.tobytes())
    return Data(pictures[~mask], pictures[mask], digest.hexdigest())


def train(
    folder: Path, source: str | Path, network: UNet2DConfig, recipe: Recipe, run: Run, init: Prior | None = None
) -> Trained:
    """Trains a prior on the pictures of a folder or zip; writes checkpoints, ``losses.csv`` and ``samples/`` to `folder`.

    The weights are a function of data, network, recipe, seed, `init` and the number of devices: a training that was killed and
    resumed gives those of one that was not, bit for bit on CPU.

    Raises:
        UserError: for data, settings or a folder that do not fit.
    """
    schedule, model = _schedule_of(recipe, init), UNet2DModel(network)
    devices = jax.devices()
    if recipe.batch_size % len(devices):
        raise UserError(f"batch_size {recipe.batch_size} is not a multiple of the {len(devices)} devices")
    data = read_data(source, network.sample_size[0], run.held_out, network.in_channels)
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "network": network.to_diffusers(), "recipe": dataclasses.asdict(recipe), "seed": run.seed, "precision": run.precision,
        "data": data.digest, "init": None if init is None else prior_hash(init), "devices": len(devices),
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
    validate = Validation(prior, recipe, data.validation, fixed_key)

    with Checkpoints(folder, run.keep) as checkpoints, _signals() as caught:
        first = (checkpoints.latest() if run.resume else None) or 0
        if first:
            state = checkpoints.restore(first, state)
        print(
            f"{len(data.train)} pictures, {len(data.validation)} held out, from step {first} to {recipe.steps}", file=sys.stderr
        )
        log, pace = Log(folder / "losses.csv", first), Pace(recipe, first, run.seconds)
        values: list[jax.Array] = []
        order = batches(run.seed, len(data.train), recipe.batch_size, first)
        for step, indices in enumerate(itertools.islice(order, max(recipe.steps - first, 0)), first + 1):
            state, value = step_fn(step_key, state, schedule, jax.device_put(data.train[indices], shared))
            values.append(value)
            stop = step == recipe.steps or pace.over() or bool(caught)
            pace.tick(step, value)
            if stop or step % run.every == 0:
                bins, mean = validate.bins(state.ema), float(np.mean(jax.device_get(values)))
                checkpoints.save(state, float(bins.mean()))
                log.write(step, step * recipe.batch_size, pace.seconds(), mean, bins)
                validate.samples(state.ema, folder / "samples" / f"{step:07d}.png")
                values = []
                pace.say(f"step {step}: training loss {mean:.5f}, validation loss {bins.mean():.5f}")
            if stop:
                break
        best = checkpoints.best()
        prior = prior.replace(params=checkpoints.restore(best, state).ema).with_precision("float32")
        return Trained(int(state.step), best, prior, caught[0] if caught else None)


class Validation:
    """The loss on held-out pictures at fixed noise in ten bins of t, and a grid of samples from fixed latents."""

    def __init__(self, prior: Prior, recipe: Recipe, pictures: np.ndarray, key: jax.Array) -> None:
        noise_key, latent_key = jax.random.split(key)
        count = max(len(pictures[:_VALIDATED]), BINS)
        chosen = np.resize(pictures[:_VALIDATED], (count, *pictures.shape[1:]))
        self._prior, self._x0 = prior, jnp.asarray(chosen, jnp.float32) / 127.5 - 1
        self._schedule = timesteps_of(prior, "training", "a prior that has them")
        self._t = jnp.linspace(0, self._schedule.num_timesteps - 1, count).round()
        self._noise = jax.random.normal(noise_key, self._x0.shape)
        self._latents = jax.random.normal(latent_key, (16, *prior.image_shape))
        self._loss = jax.jit(functools.partial(loss, prior.function, recipe))

    def bins(self, params: object) -> np.ndarray:
        """Mean loss of each tenth of the timesteps, the cleanest first. [10]."""
        parts = [
            self._loss(params, self._schedule, self._x0[i : i + 50], self._t[i : i + 50], self._noise[i : i + 50])
            for i in range(0, len(self._x0), 50)
        ]
        return np.array([part.mean() for part in np.array_split(np.concatenate(parts), BINS)])

    def samples(self, params: object, path: Path) -> None:
        """Writes a grid of 4×4 samples, 25 DDIM steps from noise."""
        images = decode(self._prior.replace(params=params), self._latents, depth=1.0, solver="ddim", num_steps=25)
        grid = to_uint8(images).reshape(4, 4, *self._prior.image_shape)
        path.parent.mkdir(exist_ok=True)
        picture_of(np.concatenate([np.concatenate(row, axis=1) for row in grid])).save(path)


class Log:
    """``losses.csv``: a row a checkpoint. Rows after the step that the training goes on from are dropped."""

    def __init__(self, path: Path, first: int) -> None:
        rows: list[list[str]] = []
        if path.is_file():
            with open(path, newline="") as file:
                rows = [row for row in list(csv.reader(file))[1:] if len(row) == len(_COLUMNS) and int(row[0]) <= first]
        text = io.StringIO(newline="")
        csv.writer(text).writerows([_COLUMNS, *rows])
        write_durably(path, text.getvalue().encode())
        self._path, self._before = path, float(rows[-1][2]) if rows else 0.0

    def write(self, step: int, pictures: int, seconds: float, train_loss: float, bins: np.ndarray) -> None:
        """Adds a row; seconds go on from those of the runs before."""
        numbers = (f"{value:.6g}" for value in (train_loss, bins.mean(), *bins))
        with open(self._path, "a", newline="") as file:
            csv.writer(file).writerow([step, pictures, round(self._before + seconds, 1), *numbers])


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
    """SIGINT and SIGTERM, caught while the training runs: the step is finished and a checkpoint left; the second one ends it."""
    caught: list[int] = []

    def note(number: int, frame: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _schedule_of(recipe: Recipe, init: Prior | None) -> NoiseSchedule:
    return recipe.noise_schedule() if init is None else timesteps_of(init, "training", "a prior that has them")
