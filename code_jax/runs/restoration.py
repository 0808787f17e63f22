"""`restore`: pictures in, pictures out, in one call; what ``code-jax restore`` does with files."""

from __future__ import annotations

import dataclasses
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from PIL import Image

from code_jax.documents import is_whole
from code_jax.editing.presets import preset, usual
from code_jax.editing.settings import Settings, to_plain
from code_jax.errors import UserError, choose
from code_jax.pictures.arrays import picture_of, quantized
from code_jax.pictures.contact_sheet import contact_sheet
from code_jax.pictures.decode import Picture, from_pillow
from code_jax.pictures.files import fitted_mask, open_picture
from code_jax.pictures.fits import FITS
from code_jax.pictures.fitting import eight_bits, region
from code_jax.pictures.loading import PictureError, in_words
from code_jax.pictures.metadata import Metadata, upright
from code_jax.priors import DEFAULT
from code_jax.priors.load import load_prior
from code_jax.priors.prior import Prior
from code_jax.progress import Progress
from code_jax.runs.comparison import caption_of
from code_jax.runs.engine import Engine
from code_jax.runs.job import Job, check_fit, larger_fit
from code_jax.runs.listing import Source
from code_jax.runs.micro_batch import default_micro_batch
from code_jax.runs.result import Restored, brought_back, psnr_to_input, seen_pixels, why_not_finite
from code_jax.runs.slider_page import Slide, slide_html, styled
from code_jax.runs.sources import find_sources
from code_jax.runs.survey import Survey
from code_jax.runs.tasks import Work, work_of

_SHOWN = 20  # results that a notebook shows


@dataclasses.dataclass(frozen=True, repr=False)
class Restoration:
    """What `restore` gives; a notebook shows it as a slider for each result.

    Attributes:
        pictures: the results, PIL pictures; an input's samples in a row.
        inputs: PIL pictures, one for each result: as much of its input as the prior was shown.
        facts: of each result: ``name``, ``sample``, ``nfe``, ``psnr_input`` in dB as the prior saw both, ``clipped`` and
            ``squared_score`` as in `EditInfo`; of a latent prior ``psnr_codec`` in dB, of what its codec alone gives back.
    """

    pictures: tuple[Image.Image, ...]
    inputs: tuple[Image.Image, ...]
    facts: tuple[dict[str, Any], ...]

    def __repr__(self) -> str:
        said = [f"{facts['name']}: {caption_of(facts)}" for facts in self.facts[:3]]
        more = [f"{len(self.facts) - 3} more"] if len(self.facts) > 3 else []
        return f"Restoration({', '.join(said + more)})"

    def _repr_png_(self) -> bytes:
        lines = [
            (facts["name"], list(pair), ["", caption_of(facts)]) for facts, pair in zip(self.facts, self._pairs(), strict=False)
        ]
        file = io.BytesIO()
        contact_sheet(["input", "result"], lines).save(file, "PNG")
        return file.getvalue()

    def _repr_html_(self) -> str:
        slides = [
            slide_html(Slide(facts["name"], *pair, caption_of(facts)))
            for facts, pair in zip(self.facts, self._pairs(), strict=False)
        ]
        more = len(self.facts) - len(slides)
        return styled("".join(slides) + (f"<p>{more} more are in .pictures</p>" if more else ""))

    def _pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for before, after in zip(self.inputs[:_SHOWN], self.pictures, strict=False):
            yield eight_bits(from_pillow(before)[0], 3), eight_bits(from_pillow(after)[0], 3)


def restore(
    pictures: Any, prior: str | Path | Prior = DEFAULT, settings: Settings | str | None = None, *, mask: Any = None,
    fit: str = "auto", max_side: int | None = None, keep_size: bool = True, samples: int = 1, seed: int = 0,
    label: int | None = None,
) -> Restoration:  # fmt: skip
    """Restores pictures of any size, with progress on stderr: the short way for notebooks.

    The pixels are those that ``code-jax restore`` writes with the same settings, with --keep-size unless it is said otherwise.

    Args:
        pictures: a path of a picture or a folder of them, a PIL picture, an array [H, W], [H, W, C] or [B, H, W, C] (uint8, or
            floating in [−1, 1]), or a list of these.
        prior: a `Prior`, or what `load_prior` takes.
        settings: an `EditConfig` or another method's, or the name of a `preset`; None is "default", with a mask "fill".
        mask: a path, PIL picture or array [H, W], bright (or True) where the pictures may change; None is everywhere.
        fit: "auto" restores pictures larger than those of a prior of patches (`Prior.patches`) at their own size, coarse to fine,
            and resizes others; "resize", "crop", "tile" and "pyramid" are as on the command line.
        max_side: pictures with a longer side are reduced to it first, which bounds the cost.
        keep_size: results are brought to their inputs' sizes; else they are of the size that the prior saw.
        samples: results of each picture.
        seed: with a picture's pixels, what its noise comes from.
        label: the class of the pictures, of a prior with classes; None is no class.

    Returns:
        A `Restoration`.

    Raises:
        UserError: names the picture, the prior or the setting that cannot be used.

    Example:
        >>> import code_jax, jax.numpy as jnp
        >>> schedule = code_jax.linear_schedule()
        >>> eps = lambda params, x, t: x * jnp.sqrt(schedule.variance(t))[:, None, None, None]
        >>> prior = code_jax.Prior.from_function(eps, (), schedule, (8, 8, 3))
        >>> code_jax.restore(np.zeros((8, 8, 3), np.uint8), prior).pictures[0].size
        (8, 8)
    """
    chosen = prior if isinstance(prior, Prior) else load_prior(prior)
    named = usual(masked=mask is not None) if settings is None else settings
    wanted: Any = preset(named) if isinstance(named, str) else named
    config = wanted.method.canonical(wanted, chosen)
    choose("fit", fit, FITS)
    check_fit(fit, config.method)
    if max_side is not None and not is_whole(max_side, 1):
        raise UserError(f"max_side is {max_side!r}; it must be a whole number of at least 1, or None")
    if not is_whole(samples, 1):
        raise UserError(f"samples is {samples!r}; it must be a whole number of at least 1")
    if not 0 <= seed < 2**32:
        raise UserError(f"seed is {seed}; it must be from 0 to {2**32 - 1}")
    for text in config.method.warn(config, chosen):
        warnings.warn(text, stacklevel=2)
    read = [named for number, given in enumerate(_each(pictures), 1) for named in _read(given, f"picture {number}")]
    job = Job(
        samples, seed, default_micro_batch(), fit, larger_fit(chosen, config.method), max_side, settings=to_plain(config),
        mask=_mask(mask, chosen, fit), keep_size=keep_size, label=label,
    )  # fmt: skip
    works = [work for number, each in enumerate(read) for work in _works(number, *each, chosen, job)]
    losses = [work for work in works[::samples] if work.loss is not None]
    if losses:
        more = f"; so are {len(losses) - 1} more" if len(losses) > 1 else ""
        warnings.warn(f"{losses[0].source.path}: {losses[0].loss}{more}", stacklevel=2)
    survey = Survey.of(((picture.pixels.shape[:2], samples) for _, picture in read), chosen.image_shape, job)
    engine = Engine.on_devices(chosen, config, job, survey.inputs(chosen.image_shape))
    survey.tell(engine, "max_side={}")
    results, facts = zip(*_computed(engine, works, survey, config), strict=True)
    inputs = [_shown(picture, chosen, work.fit) for (_, picture), work in zip(read, works[::samples], strict=True)]
    return Restoration(results, tuple(each for each in inputs for _ in range(samples)), facts)


def _each(pictures: Any) -> Iterable[Any]:
    """The pictures given, a batch's one by one."""
    if isinstance(pictures, Sequence) and not isinstance(pictures, str):
        if not pictures:
            raise UserError("there is no picture in the list; give one or more")
        return pictures
    return pictures if getattr(pictures, "ndim", 0) == 4 else [pictures]


def _read(given: Any, name: str) -> Iterator[tuple[str, Picture]]:
    """Names and pictures of a path, a PIL picture or an array."""
    if isinstance(given, (str, Path)):
        for source in find_sources([given], Path(os.devnull)):
            yield str(source.path), _opened(source)
    elif isinstance(given, Image.Image):
        try:
            with in_words():
                given.load()
                pixels, alpha, more = from_pillow(upright(given))
        except PictureError as error:
            raise UserError(f"{name}, of mode {given.mode}, cannot be read: {error}") from error
        yield name, Picture(pixels, alpha, "PNG", Metadata(), tuple(more))
    else:
        pixels = _pixels(given, name)
        alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
        yield name, Picture(pixels[..., : pixels.shape[2] - (alpha is not None)], alpha, "PNG", Metadata(), ())


def _opened(source: Source) -> Picture:
    try:
        if source.problem is not None:
            raise PictureError(source.problem)
        return open_picture(source.path)
    except PictureError as error:
        raise UserError(f"{str(source.path)!r} cannot be read: {error}") from error


def _pixels(given: Any, name: str) -> np.ndarray:
    """An array as uint8 [H, W, 1, 3 or 4]."""
    if not hasattr(given, "dtype"):
        raise UserError(f"{name} is of type {type(given).__name__}; give a path, a PIL picture or an array [H, W, C]")
    array = np.asarray(given)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise UserError(f"{name} has shape {np.shape(given)}; it must be [H, W] or [H, W, C] with 1, 3 or 4 channels")
    if array.dtype == np.uint8:
        return array
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise UserError(f"{name} is {array.dtype}; it must be uint8, or floating in [-1, 1]")
    return quantized(array, np.uint8)


def _mask(mask: Any, prior: Prior, fit: str) -> np.ndarray | None:
    if mask is None:
        return None
    if getattr(mask, "dtype", None) == np.bool_:
        mask = np.asarray(mask).astype(np.uint8) * np.uint8(255)
    (_, picture), *more = _read(mask, "the mask")
    if more:
        raise UserError(f"the mask {str(mask)!r} is a folder of several pictures; give one of them")
    try:
        return fitted_mask(picture, prior.image_shape, fit)
    except PictureError as error:
        raise UserError(f"the mask cannot be used: {error}") from error


def _works(number: int, name: str, picture: Picture, prior: Prior, job: Job) -> list[Work]:
    """What there is to do of the picture of a number, which stands for its output's name."""
    try:
        work = work_of(picture, Source(Path(name), str(number), None), prior.image_shape, job)
    except PictureError as error:
        raise UserError(f"{name} cannot be restored: {error}") from error
    return [work._replace(sample=sample) for sample in range(job.samples)]


def _computed(engine: Engine, works: list[Work], survey: Survey, config: Settings) -> list[tuple[Image.Image, dict[str, Any]]]:
    """Results and facts of all works, in their order."""
    progress, done = Progress(survey.steps(engine), len(works)), {}
    for group in engine.groups(works):
        for work, restored in zip(group, engine.restore(group, _advancing(progress)), strict=True):
            if not restored.finite:
                reason = why_not_finite(engine.prior, config, engine.job.settings)
                raise UserError(f"the result of {work.source.path} is not finite: {reason}")
            done[int(work.source.name), work.sample] = _result(restored, work, engine)
    return [done[key] for key in sorted(done)]


def _advancing(progress: Progress) -> Callable[[int], None]:
    """What an engine calls with the moves that it has made of a group."""
    done = 0

    def after(moves: int) -> None:
        nonlocal done
        progress.advance(moves - done)
        done = moves

    return after


def _result(restored: Restored, work: Work, engine: Engine) -> tuple[Image.Image, dict[str, Any]]:
    pixels = seen_pixels(restored.image, work)
    facts = {"name": work.source.path.name, "sample": work.sample, **restored.facts}
    facts["psnr_input"] = psnr_to_input(pixels, work, engine.prior.image_shape[2])
    pixels = brought_back(pixels, work)
    if work.alpha is not None and pixels.shape[2] == 3:
        pixels = np.concatenate([pixels, work.alpha[..., None]], axis=2)
    return picture_of(pixels), facts


def _shown(picture: Picture, prior: Prior, fit: str) -> Image.Image:
    left, top, right, bottom = region(picture.pixels.shape, prior.image_shape, fit)
    return picture_of(picture.pixels[top:bottom, left:right])
