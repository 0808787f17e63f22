"""What is computed for a page: an order as a stream of events, in segments that are short: others get their turn.

Nothing is kept between orders but compiled programs: an order's events go to the page that asked.
"""

from __future__ import annotations

import base64
import io
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from code_jax.demo.order import Offer, Order, command_line, python_of
from code_jax.demo.request import read_order
from code_jax.diffusion.codec import decoded
from code_jax.diffusion.denoiser import Denoiser
from code_jax.diffusion.tiling import tiled
from code_jax.editing.edit import number_of_moves, per_image, route_of, segments
from code_jax.editing.masks import region_of
from code_jax.editing.result import EditResult, finish
from code_jax.editing.route import State
from code_jax.editing.settings import Settings
from code_jax.errors import UserError
from code_jax.metrics import diversity
from code_jax.pictures.arrays import from_uint8, picture_of, to_uint8
from code_jax.pictures.encode import encode_picture
from code_jax.progress import Estimate
from code_jax.runs.canvas import canvas_side, laid, laid_mask, taken
from code_jax.runs.job import Job
from code_jax.runs.result import psnr_to

Event = dict[str, Any]

_FRAMES = 4  # latents shown of each stage
_FRAME = 192  # pixels of a latent's longer side, as it is shown
_TURN = 0.3  # seconds that a segment is meant to take
_MOST_CELLS = 100
_MOST_PROGRAMS = 16  # kept compiled
_programs: set[Any] = set()


def picture_events(order: Order) -> Iterator[Event | None]:
    """The picture as it will be worked on, and what an edit of it costs."""
    yield {"event": "input", "picture": data_url(order.input)} | _sources(order)
    yield from cost_events(order)


def cost_events(order: Order) -> Iterator[Event | None]:
    """``cost``: network evaluations, windows of each, seconds (None before any are measured), and warnings."""
    nfe, windows = number_of_moves(order.offer.prior, order.config)[1] * order.job.samples, windows_of(order)
    facts = {"event": "cost", "evaluations": nfe, "windows": windows, "size": order.size, "warnings": order.warnings}
    if order.offer.pace.seconds is None:
        yield facts | {"seconds": None}
        _, _, evaluations = itinerary(order.offer.prior, order.config)
        blank = _blank(order)
        for _ in itertools.islice(_states(blank, _placed(blank), evaluations), 4):  # one to compile, and some to measure
            yield None
    pace = order.offer.pace.seconds
    yield facts | {"seconds": None if pace is None else nfe * windows * pace}


def restore_events(order: Order) -> Iterator[Event | None]:
    """``input``; of each sample ``progress``, a ``latent`` now and then, and a ``result``; of several their ``diversity``."""
    yield {"event": "input", "picture": data_url(order.input)} | _sources(order)
    sigmas, stages, evaluations = itinerary(order.offer.prior, order.config)
    looks, count, each = frames(stages), order.job.samples, int(evaluations[-1])
    estimate = Estimate(count * each)
    results = []
    for sample in range(count):
        one = order._replace(sample=sample)
        denoiser, images, mask = placed = _placed(one)
        region = region_of(one.config, mask, images)
        for moves, state in _states(one, placed, evaluations, looks):
            done = sample * each + int(evaluations[moves])
            yield {"event": "progress", "done": done, "of": count * each, "seconds_left": estimate.left(done)}
            if moves in looks:
                sigma = float(sigmas[moves])
                picture = _shown(decoded(denoiser, state.z / np.float32(np.sqrt(1 + sigma**2))), one)
                event = {"event": "latent", "sample": sample, "stage": stages[max(moves - 1, 0)], "sigma": sigma}
                yield event | {"picture": data_url(_small(picture))}
        event, pixels = _result(one, finish(state, denoiser, region))
        results.append(pixels)
        yield event | {"sample": sample}
    if count > 1:
        yield {"event": "diversity", "value": float(diversity(jnp.stack([from_uint8(each[None]) for each in results]))[0])}


def sweep_events(order: Order, sigmas: Sequence[float], relative_steps: Sequence[float]) -> Iterator[Event | None]:
    """``input``, then a ``result`` for each cell of the grid, with its row (sigma) and column (step)."""
    if not 1 <= (count := len(sigmas) * len(relative_steps)) <= _MOST_CELLS:
        raise UserError(f"the grid has {count} cells; give 1 to {_MOST_CELLS}")
    cells = list(itertools.product(enumerate(sigmas), enumerate(relative_steps)))
    orders = [order.with_point(sigma, step) for (_, sigma), (_, step) in cells]
    yield {"event": "input", "picture": data_url(order.input)} | _sources(order)
    _, _, evaluations = itinerary(order.offer.prior, order.config)
    each = int(evaluations[-1])
    estimate = Estimate(len(cells) * each)
    for number, (((row, sigma), (column, step)), point) in enumerate(zip(cells, orders, strict=True)):
        denoiser, images, mask = placed = _placed(point)
        region = region_of(point.config, mask, images)
        for moves, state in _states(point, placed, evaluations):  # noqa: B007
            done = number * each + int(evaluations[moves])
            yield {"event": "progress", "done": done, "of": len(cells) * each, "seconds_left": estimate.left(done)}
        where = {"row": row, "column": column, "sigma": sigma, "relative_step": step}
        yield _result(point, finish(state, denoiser, region))[0] | where


def itinerary(denoiser: Denoiser, config: Settings) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Of a route of K moves: σ before each and after the last [K + 1], each move's stage, and evaluations so far [K + 1].

    A stage is "encoding", "correction" or "decoding".
    """
    route = route_of(denoiser, per_image(config, denoiser, 1))
    before, after = np.asarray(route.sigma)[0], np.asarray(route.sigma_next)[0]
    stages = np.where(after > before, "encoding", np.where(after == before, "correction", "decoding"))
    return np.append(before, after[-1]), stages.tolist(), np.append(0, np.cumsum(route.cost(denoiser)))


def frames(stages: Sequence[str]) -> np.ndarray:
    """Numbers of moves at which to look: the start, and up to `_FRAMES` even shares of each stage, its end included."""
    bounds, first = [0], 0
    for _, stage in itertools.groupby(stages):
        last = first + len(list(stage))
        bounds += np.linspace(first, last, _FRAMES + 1).astype(int).tolist()
        first = last
    return np.unique(bounds)


def windows_of(order: Order) -> int:
    """How many inputs of the network an evaluation has."""
    return int(_placed(order)[0].count) if order.job.fit == "tile" else 1


def data_url(pixels: np.ndarray) -> str:
    """A picture uint8 [H, W, C] as a PNG in a data URL, written fast rather than small."""
    file = io.BytesIO()
    picture_of(pixels).save(file, "PNG", compress_level=1)
    return _url(file.getvalue())


def _url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _small(pixels: np.ndarray) -> np.ndarray:
    """Every k-th pixel, so that the longer side is at most `_FRAME`."""
    every = -(-max(pixels.shape[:2]) // _FRAME)
    return pixels[::every, ::every]


def _sources(order: Order) -> Event:
    """The clean picture, where the input was damaged on purpose."""
    return {} if order.clean is None else {"clean": data_url(order.clean[: order.size[0], : order.size[1]])}


def _placed(order: Order) -> tuple[Any, jax.Array, Any]:
    """The denoiser, the images [1, H, W, C] that it takes, and their mask: of its own size, or on a canvas of windows."""
    prior = order.offer.prior
    if order.job.fit != "tile":
        return prior, from_uint8(order.pixels[None]), order.job.mask
    height, width, channels = order.pixels.shape
    side = canvas_side((height, width), prior.image_shape)
    mask = None if order.job.mask is None else laid_mask(order.job.mask, (height, width), side, prior.image_shape[0])
    images = jnp.asarray(laid(order.pixels, side, channels))
    return tiled(prior, (height, width), canvas=side, chunk=order.job.micro_batch), images, mask


def _shown(images: jax.Array, order: Order) -> np.ndarray:
    """The picture uint8 [H, W, C] of images as `_placed` has them."""
    values = taken(np.asarray(images[0]), order.pixels.shape[:2])
    return to_uint8(values[: order.size[0], : order.size[1]])


def _states(
    order: Order, placed: tuple[Any, jax.Array, Any], evaluations: np.ndarray, looks: Sequence[int] | np.ndarray = ()
) -> Iterator[tuple[int, State]]:
    """(moves made, state) at the start, at each of the `looks`, at the end, and in between at the end of every turn."""
    denoiser, images, mask = placed
    _bound_programs((order.offer.name, jax.tree.structure((denoiser, order.config)), images.shape, mask is None))
    count, windows = len(evaluations) - 1, windows_of(order)
    stops = sorted({0, count, *map(int, looks)})
    made, size = 0, 1

    def bounds() -> Iterator[int]:
        nonlocal made
        yield 0
        for stop in stops[1:]:
            while made < stop:
                made = min(made + size, stop)
                yield made

    before, began = 0, time.monotonic()
    for state in segments(order.key, denoiser, images, order.config, bounds(), mask):  # type: ignore[arg-type]
        jax.block_until_ready(state)
        took = time.monotonic() - began
        if before:  # the first segment is compiled
            order.offer.pace.note(float(evaluations[made] - evaluations[before]) * windows, took)
            size = max(size * 2 if took < _TURN / 2 else size // 2 if took > _TURN else size, 1)
        before = made
        yield made, state
        began = time.monotonic()


def _bound_programs(program: Any) -> None:
    """Forgets what was compiled, where this would be one too many."""
    if program not in _programs and len(_programs) >= _MOST_PROGRAMS:
        _programs.clear()
        jax.clear_caches()
    _programs.add(program)


def _blank(order: Order) -> Order:
    """The same settings on an empty picture of the prior's own size."""
    shape = order.offer.prior.image_shape
    return order._replace(pixels=np.zeros(shape, np.uint8), size=shape[:2], job=Job(micro_batch=1))


def _result(order: Order, result: EditResult) -> tuple[Event, np.ndarray]:
    """The event of a result, and its pixels."""
    if not bool(result.info.finite[0]):
        raise UserError("the result is not finite: the step size is likely too large")
    pixels = _shown(result.images, order)
    squared, spread = float(result.info.squared_score[0]), result.images[0].size / order.pixels.size  # a canvas is partly empty
    facts = {
        "network evaluations": int(result.info.nfe[0]),
        "values clipped": f"{float(result.info.clipped[0]) * spread:.2%}",
        "mean squared score (typical: 1)": None if np.isnan(squared) else f"{squared * spread:.3f}",
        "fidelity: PSNR to the input": _decibels(pixels, order.input),
    }
    if order.clean is not None:
        clean = order.clean[: order.size[0], : order.size[1]]
        facts["PSNR to the clean source"] = f"{_decibels(order.input, clean)} before, {_decibels(pixels, clean)} after"
    png, _ = encode_picture(pixels, order.alpha, "PNG", order.metadata, facts=order.facts)
    texts = {"command": command_line(order), "python": python_of(order)}
    return {"event": "result", "picture": _url(png), "facts": facts} | texts, pixels


def _decibels(pixels: np.ndarray, other: np.ndarray) -> str:
    return f"{psnr_to(other, pixels):.2f} dB"


def _numbers(form: Mapping[str, Any], name: str) -> list[float]:
    try:
        return [float(part) for part in str(form.get(name, "")).replace(",", " ").split()]
    except ValueError:
        raise UserError(f"{name} is {form[name]!r}; give numbers such as 0.5 1 2") from None


def _sweep(order: Order, form: Mapping[str, Any]) -> Iterator[Event | None]:
    return sweep_events(order, _numbers(form, "sigmas"), _numbers(form, "relative-steps"))


def _kind(
    events: Callable[[Order, Mapping[str, Any]], Iterator[Event | None]],
) -> Callable[[Mapping[str, Any], Mapping[str, Offer]], Iterator[Event | None]]:
    return lambda form, offers: events(read_order(form, offers), form)


KINDS = {
    "picture": _kind(lambda order, form: picture_events(order)),
    "cost": _kind(lambda order, form: cost_events(order)),
    "restore": _kind(lambda order, form: restore_events(order)),
    "sweep": _kind(_sweep),
}
"""What can be ordered: from a form and the offers to events; None is a turn without news."""
