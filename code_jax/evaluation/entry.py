"""Entries of the tables: settings of a method and a grid of points to choose from, run by one compiled program."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.denoiser import Denoiser
from code_jax.editing import methods
from code_jax.editing.edit import number_of_moves
from code_jax.editing.keys import digest_of, fold_keys, image_key
from code_jax.editing.options import OPTIONS
from code_jax.editing.points import SweepGrid, SweepPoint, at_points
from code_jax.editing.settings import Settings, to_plain
from code_jax.editing.sweep import sweep
from code_jax.errors import UserError, choose
from code_jax.pictures.arrays import from_uint8, to_uint8

_AXES = ("sigma", "depth", "relative_step", "step_size", "eta", "anneal_rate")  # options that take several values to choose from
_COSTLY = 200  # evaluations an image from which on an entry may get fewer pictures


class Entry(NamedTuple):
    """A row of a table.

    Attributes:
        name: "clean" (the clean sources), "inputs", or a row's of a method (`code_jax.editing.methods.Method.rows`).
        settings: of everything that is no point's; None leaves the pictures as they are.
        points: to choose from.
        nfe: network evaluations of an image.
    """

    name: str
    settings: Settings | None
    points: tuple[SweepPoint, ...]
    nfe: int

    @property
    def clips(self) -> bool:
        """Whether it clips at any of its points."""
        if self.settings is None or "eta" not in self.settings.method.options:
            return False
        etas = [getattr(point.of(self.settings), "eta", None) for point in self.points]
        return any(eta is not None and math.isfinite(float(np.ravel(eta)[0])) for eta in etas)

    @property
    def costly(self) -> bool:
        """Whether an image takes very many evaluations."""
        return self.nfe > _COSTLY

    def at(self, *points: SweepPoint) -> Entry:
        """The same with these points alone."""
        return self._replace(points=points)

    def facts(self, denoiser: Denoiser) -> dict[str, Any]:
        """What a result depends on, beside prior, pictures, seed and micro-batch; as JSON."""
        if self.settings is None:
            return {"settings": None}
        return {"settings": [to_plain(point.of(self.settings), denoiser) for point in self.points]}


def names() -> list[str]:
    """Of all the entries that there are."""
    return ["inputs", *methods.rows()]


def entry_of(name: str, values: Mapping[str, Any], denoiser: Denoiser) -> Entry:
    """The entry of a name.

    Args:
        name: one of `names`, or "clean".
        values: by option, or by ``METHOD.OPTION`` for one method alone; lists of several numbers are a grid's axes. A method
            takes those of its own options, and what makes the row comes before them.
        denoiser: what it is for.

    Raises:
        UserError: for an unknown name, or values that cannot be.
    """
    if name in ("clean", "inputs"):
        return Entry(name, None, (SweepPoint((), 0),), 0)
    method, row = choose("row", name, methods.rows())
    own = {option: value for option, value in values.items() if option in method.options}
    own |= {key.partition(".")[2]: value for key, value in values.items() if key.partition(".")[0] == method.name}
    if unknown := [option for option in own if option not in method.options]:
        raise UserError(f"{unknown[0]} is no setting of the method {method.name}; its own are {', '.join(method.options)}")
    own |= row.values
    axes = {option: own.pop(option) for option in _AXES if isinstance(own.get(option), list) and len(own[option]) > 1}
    settings = method.configure(
        {option: value[0] if option in _AXES and isinstance(value, list) else value for option, value in own.items()}
    )
    points = tuple(SweepGrid(**axes).points())
    at_points(settings, points, denoiser)
    return Entry(name, settings, points, number_of_moves(denoiser, points[0].of(settings))[1])


def said(entry: Entry, point: SweepPoint, denoiser: Denoiser) -> str:
    """A point in words: the numbers that were to choose from, or the noise level and step."""
    if entry.settings is None:
        return ""
    plain = to_plain(point.of(entry.settings), denoiser)
    shown = dict(point.numbers) or {name: plain[name] for name in ("sigma", "relative_step", "eta") if name in plain}
    words = [f"{name.replace('_', ' ')} {'none' if value == math.inf else value}" for name, value in shown.items()]
    return ", ".join(words)


def restored(
    entry: Entry, denoiser: Denoiser, pixels: np.ndarray, seed: int, micro_batch: int, after: Callable[[float], None],
    label: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:  # fmt: skip
    """Pictures uint8 [P, B, H, W, 3] of pictures uint8 [B, H, W, 3] at each of the points.

    Beside them whether each is finite, bool [P, B], and which pixels were clipped, bool [P, B, H, W], None where the entry does
    not clip. An image's noise is that of ``code-jax restore`` with the seed. `after` is called with the share that is done.
    """
    if entry.settings is None:
        after(1.0)
        return pixels[None], np.ones((1, len(pixels)), bool), None
    keys = fold_keys(np.stack([image_key(seed, digest_of(picture), 0) for picture in pixels]))
    units = [0]

    def report(more: int, total: int) -> None:
        units[0] += more
        after(units[0] / total)

    result = sweep(
        keys[None], denoiser, jnp.asarray(from_uint8(pixels)), entry.points, entry.settings,
        condition=label, micro_batch=micro_batch, after=report,
    )  # fmt: skip
    finite, clipped = np.asarray(result.info.finite), np.asarray(result.info.clipped_pixels)
    factor = pixels.shape[1] // clipped.shape[2]  # of a latent prior, latents are clipped
    return to_uint8(result.images), finite, clipped.repeat(factor, 2).repeat(factor, 3) if entry.clips else None


def read_values(words: Sequence[str]) -> dict[str, Any]:
    """Values of ``OPTION=VALUE`` and ``METHOD.OPTION=VALUE``, as `entry_of` takes them; several numbers stand between commas.

    Raises:
        UserError: names the word.
    """
    values = {}
    for word in words:
        key, given, text = word.partition("=")
        option = choose("setting", key.rpartition(".")[2].replace("-", "_").replace("ode_steps", "num_steps"), OPTIONS)
        if not given or not text:
            raise UserError(f"{word!r} is no setting; write OPTION=VALUE or METHOD.OPTION=VALUE, such as sdedit.sigma=0.3,0.5")
        try:
            parts = text.split(",") if option.name in _AXES else [text]
            read = [option.check(option.read(part)) for part in parts]
        except ValueError as error:
            raise UserError(f"{word!r}: {error}") from error
        flat = [float(np.ravel(value)[0]) for value in read] if option.name in _AXES else read[0]
        values[".".join([*key.split(".")[:-1], option.name])] = flat
    return values
