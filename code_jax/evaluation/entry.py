"""Entries of the tables: settings of a method to choose from, those of each compiled program run together."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from code_jax.diffusion.denoiser import Denoiser
from code_jax.editing import methods
from code_jax.editing.edit import number_of_moves
from code_jax.editing.keys import digest_of, fold_keys, image_key
from code_jax.editing.operators import OPERATORS
from code_jax.editing.options import OPTIONS
from code_jax.editing.points import SweepGrid, SweepPoint, at_points
from code_jax.editing.settings import Settings, to_plain
from code_jax.editing.sweep import sweep
from code_jax.errors import UserError, choose
from code_jax.pictures.arrays import from_uint8, to_uint8

_AXES = ("sigma", "depth", "relative_step", "step_size", "eta", "anneal_rate")  # options that take several values to choose from
_COSTLY = 200  # evaluations an image from which on an entry may get fewer pictures


class Choice(NamedTuple):
    """A setting to choose.

    Attributes:
        settings: of everything that is no point's; None leaves the pictures as they are.
        point: the numbers of a grid.
        nfe: network evaluations of an image, at most.
    """

    settings: Settings | None
    point: SweepPoint
    nfe: int

    @property
    def whole(self) -> Settings | None:
        """The settings with the point's numbers."""
        return None if self.settings is None else self.point.of(self.settings)


AS_IT_IS = Choice(None, SweepPoint((), 0), 0)


class Entry(NamedTuple):
    """A row of a table.

    Attributes:
        name: "clean" (the clean sources), "inputs", or a row's of a method (`code_jax.editing.methods.Method.rows`).
        choices: the settings to choose from.
    """

    name: str
    choices: tuple[Choice, ...]

    @property
    def nfe(self) -> int:
        """Network evaluations of an image at the costliest setting."""
        return max(choice.nfe for choice in self.choices)

    @property
    def clips(self) -> bool:
        """Whether it clips at any of its settings."""
        etas = [
            getattr(choice.whole, "eta", None)
            for choice in self.choices
            if choice.settings is not None and "eta" in choice.settings.method.options
        ]
        return any(eta is not None and math.isfinite(float(np.ravel(eta)[0])) for eta in etas)

    @property
    def costly(self) -> bool:
        """Whether an image takes very many evaluations."""
        return self.nfe > _COSTLY

    def at(self, *choices: Choice) -> Entry:
        """The same with these choices alone."""
        return self._replace(choices=choices)

    def told(self, corruption: str) -> Entry:
        """The same, told the corruption where its method is told the damage.

        Raises:
            UserError: where there is no operator of that name.
        """

        def one(choice: Choice) -> Choice:
            if choice.settings is None or "operator" not in choice.settings.method.options:
                return choice
            choose(f"operator of {self.name}", corruption, OPERATORS)
            return choice._replace(settings=choice.settings.replace(operator=corruption))

        return self.at(*map(one, self.choices))

    def facts(self, denoiser: Denoiser) -> dict[str, Any]:
        """What a result depends on, beside prior, pictures, seed and micro-batch; as JSON."""
        plains = [None if choice.whole is None else to_plain(choice.whole, denoiser) for choice in self.choices]
        return {"settings": None if plains == [None] else plains}

    def said(self, number: int, denoiser: Denoiser) -> str:
        """A choice in words: what it has of its own among the choices, or its noise level and step; "" where it has nothing."""
        plains = [{} if choice.whole is None else to_plain(choice.whole) for choice in self.choices]
        if not plains[number]:
            return "left as it is" if any(plains) else ""
        names = {name for plain in plains if plain for name in plain}
        own = {name for name in names if len({str(plain.get(name)) for plain in plains if plain}) > 1}
        plain = plains[number]
        if not own:
            plain, own = to_plain(self.choices[number].whole, denoiser), {"sigma", "relative_step", "eta"}  # type: ignore[arg-type]
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in plain.items() if name in own)


def names() -> list[str]:
    """Of all the entries that there are."""
    return ["inputs", *methods.rows()]


def entry_of(
    name: str, values: Mapping[str, Any], denoiser: Denoiser, words: Sequence[str] = (), *, leave: bool = False
) -> Entry:  # fmt: skip
    """The entry of a name.

    Args:
        name: one of `names`, or "clean".
        values: by option, or by ``METHOD.OPTION`` for one method alone; lists of several numbers are a grid's axes. A method
            takes those of its own options, and what makes the row comes before them.
        denoiser: what it is for.
        words: programs to choose from, each as ``OPTION=V,V:OPTION=V``, in place of the one with these values.
        leave: whether leaving the pictures as they are is a choice too.

    Raises:
        UserError: for an unknown name, or values that cannot be.
    """
    if name in ("clean", "inputs"):
        return Entry(name, (AS_IT_IS,))
    method, row = choose("row", name, methods.rows())
    own: dict[str, Any] = {option: value for option, value in values.items() if option in method.options}
    own |= {key.partition(".")[2]: value for key, value in values.items() if key.partition(".")[0] == method.name}
    own |= row.values
    programs = [own | read_values(word.split(":")) for word in words] or [own]
    choices = [choice for program in programs for choice in _choices(method, program, denoiser)]
    return Entry(name, tuple(choices) + (AS_IT_IS,) * leave)


def _choices(method: methods.Method, values: dict[str, Any], denoiser: Denoiser) -> list[Choice]:
    """The points of one program."""
    if unknown := [option for option in values if option not in method.options]:
        raise UserError(f"{unknown[0]} is no setting of the method {method.name}; its own are {', '.join(method.options)}")
    axes = {option: values.pop(option) for option in _AXES if isinstance(values.get(option), list) and len(values[option]) > 1}
    settings = method.configure(
        {option: value[0] if option in _AXES and isinstance(value, list) else value for option, value in values.items()}
    )
    points = SweepGrid(**axes).points()
    at_points(settings, points, denoiser)
    evaluations = number_of_moves(denoiser, points[0].of(settings))[1]
    return [Choice(settings, point, evaluations) for point in points]


class Restored(NamedTuple):
    """Pictures at each of P choices.

    Attributes:
        pictures: uint8 [P, B, H, W, 3].
        finite: whether each is. bool [P, B].
        nfe: network evaluations that each took. int [P, B].
        seconds: that each took. float [P, B].
        clipped: the pixels that were clipped, bool [P, B, H, W]; None where the entry does not clip.
    """

    pictures: np.ndarray
    finite: np.ndarray
    nfe: np.ndarray
    seconds: np.ndarray
    clipped: np.ndarray | None


def restored(
    entry: Entry, denoiser: Denoiser, pixels: np.ndarray, seed: int, micro_batch: int, after: Callable[[float], None],
    label: int | None = None,
) -> Restored:  # fmt: skip
    """Pictures uint8 [B, H, W, 3] restored at each of the choices.

    An image's noise is that of ``code-jax restore`` with the seed. `after` is called with the share that is done.
    """
    keys = fold_keys(np.stack([image_key(seed, digest_of(picture), 0) for picture in pixels]))
    groups = [list(choices) for _, choices in itertools.groupby(entry.choices, lambda choice: choice.settings)]
    costs = [sum(max(choice.nfe, 1) for choice in choices) for choices in groups]
    parts = []
    for k, choices in enumerate(groups):
        begun, before, share = time.monotonic(), sum(costs[:k]) / sum(costs), costs[k] / sum(costs)
        if choices[0].settings is None:
            part = _as_they_are(pixels, len(choices))
        else:
            points, settings = [choice.point for choice in choices], choices[0].settings
            images = jnp.asarray(from_uint8(pixels))
            report = _portion(after, before, share)
            own: dict[str, Any] = {"condition": label, "micro_batch": micro_batch, "after": report}
            result = sweep(keys[None], denoiser, images, points, settings, **own)
            finite, nfe, clipped = map(np.asarray, (result.info.finite, result.info.nfe, result.info.clipped_pixels))
            factor = pixels.shape[1] // clipped.shape[2]  # of a latent prior, latents are clipped
            clipped = clipped.repeat(factor, 2).repeat(factor, 3)
            part = Restored(to_uint8(result.images), finite, nfe, np.zeros(finite.shape), clipped)
        seconds = np.full(part.finite.shape, (time.monotonic() - begun) / part.finite.size)
        parts.append(part._replace(seconds=seconds))
        after(before + share)
    joined = Restored(*map(np.concatenate, zip(*parts, strict=True)))
    return joined if entry.clips else joined._replace(clipped=None)


def _portion(after: Callable[[float], None], before: float, share: float) -> Callable[[int, int], None]:
    """What a sweep calls with the evaluations that are done, for the share of the whole that it is."""
    units = [0]

    def report(more: int, total: int) -> None:
        units[0] += more
        after(before + share * units[0] / total)

    return report


def _as_they_are(pixels: np.ndarray, count: int) -> Restored:
    shape = (count, len(pixels))
    nothing = np.zeros((*shape, *pixels.shape[1:3]), bool)
    return Restored(np.repeat(pixels[None], count, 0), np.ones(shape, bool), np.zeros(shape, int), np.zeros(shape), nothing)


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
